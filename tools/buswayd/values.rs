//! Values of options, as the command line and the configuration file write them.

use std::num::IntErrorKind;
use std::time::Duration;

use busway::Endpoint;

const ENDPOINT: &str = "must be a path with a / in it or .sock at its end, HOST:PORT, or fifo:PATH";

/// Where to listen. Whether a host has that name is found out when it is needed.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    if let Some(path) = text.strip_prefix("fifo:") {
        return if path.is_empty() { Err(ENDPOINT.to_owned()) } else { Ok(text.to_owned()) };
    }
    let endpoint = Endpoint::from(text);
    endpoint.check().map_err(|fault| fault.to_string())?;
    let is_one = match endpoint {
        Endpoint::Tcp(address) => {
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        }
        Endpoint::Unix(path) => !path.as_os_str().is_empty(),
    };
    if is_one { Ok(text.to_owned()) } else { Err(ENDPOINT.to_owned()) }
}

/// A switch.
pub(crate) fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("must be on or off".to_owned()),
    }
}

/// Seconds, whole or not.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration >= Duration::from_millis(10) && duration <= Duration::from_secs(86_400) => {
            Ok(duration)
        }
        _ => Err("must be between 0.01 and 86400 seconds".to_owned()),
    }
}

/// Seconds of a wait; none at all, too.
pub(crate) fn wait_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= Duration::from_secs(3600) => Ok(duration),
        _ => Err("must be between 0 and 3600 seconds".to_owned()),
    }
}

/// Microseconds that may be spent on looking; none at all, too.
pub(crate) fn spin_micros(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(micros @ 0..=10_000) => Ok(micros),
        _ => Err("must be a number of microseconds from 0 to 10000".to_owned()),
    }
}

/// Worker threads.
pub(crate) fn workers(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(number @ 1..=1024) => Ok(number),
        _ => Err("must be a number from 1 to 1024".to_owned()),
    }
}

/// A number of things.
pub(crate) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("must be a number of at least 1".to_owned()),
    }
}

/// Bytes, with a suffix or without.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    bytes_up_to(usize::MAX, &format!("{} bytes", usize::MAX), text)
}

/// Bytes of a payload.
pub(crate) fn payload_bytes(text: &str) -> Result<usize, String> {
    // The length field of a frame has 32 bits, and the names go along.
    bytes_up_to(2 << 30, "2G", text)
}

fn bytes_up_to(most: usize, most_in_words: &str, text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        _ => return Err("the suffixes are K, M and G".to_owned()),
    };
    let bytes = match digits.parse::<usize>() {
        Ok(number) => number.checked_mul(1 << shift).filter(|bytes| (1..=most).contains(bytes)),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => None,
        Err(_) => return Err("not a number of bytes".to_owned()),
    };
    bytes.ok_or_else(|| format!("must be from 1 byte to {most_in_words}"))
}

/// Permissions, octal.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) => Ok(mode),
        _ => Err("must be octal, 0000 to 0777".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_suffixes() {
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("1024"), Ok(1024));
        assert_eq!(bytes("2KiB"), Ok(2048));
        for wrong in ["", "0", "M", "-1", "1T", "99999999999999999999", "18014398509481984K"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert!(payload_bytes("3G").is_err());
    }

    #[test]
    fn endpoints_may_have_schemes() {
        for right in ["unix:/run/bus.sock", "unix:bus", "tcp://127.0.0.1:9924", "localhost:1", "a/b", "fifo:/run/f"] {
            assert_eq!(endpoint(right), Ok(right.to_owned()));
        }
        for wrong in ["http://localhost:80", "tcp://localhost", "unix:", "", "fifo:", "localhost"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn odd_timeouts_and_modes_are_refused() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "NaN", "inf", "1e30", "x"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(mode("0660"), Ok(0o660));
        assert!(mode("888").is_err() && mode("7777").is_err());
    }
}

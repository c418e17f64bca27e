//! The command line of `buswayd`.

use std::path::PathBuf;
use std::time::Duration;

use busway::broker::{Broker, Builder};
use busway::{Endpoint, ShmTrust};
use clap::Parser;

use crate::service_manager::Inherited;

/// Fast IPC broker that speaks the BUS/RT protocol.
///
/// Without options it listens on the default socket: /run/busway/busway.sock for root, otherwise
/// $XDG_RUNTIME_DIR/busway.sock, otherwise /tmp/busway-UID/busway.sock; in a service of systemd, busway.sock in its
/// runtime directory, or the sockets that systemd passes. RUST_LOG sets what is logged (for example RUST_LOG=debug).
#[derive(Debug, Parser)]
#[command(name = "buswayd", version)]
pub(crate) struct Options {
    /// Where to listen: a path (starts with / or ends in .sock, .socket or .ipc), HOST:PORT, or fifo:PATH; repeatable.
    ///
    /// A FIFO takes commands from shell scripts, one a line: TARGET TEXT, =TOPIC TEXT, TARGET .NOTIFICATION or
    /// TARGET :METHOD KEY=VALUE...
    #[arg(short = 'B', long = "bind", value_name = "ENDPOINT")]
    bind: Vec<String>,

    /// Write the process id to this file while running; one of a process that still runs is not taken from it
    #[arg(short = 'P', long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// Run in the background; returns when the broker listens, or says why it does not. Logs go to syslog
    #[arg(short = 'D', long)]
    pub(crate) daemonize: bool,

    /// The one in the background
    #[arg(long, hide = true)]
    pub(crate) detached: bool,

    /// Worker threads [default: half of the processors, at least 1 and at most 4]
    #[arg(short = 'w', long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,

    /// Seconds that a handshake may take and a frame may stand still; a client silent for 1.25 times as long is
    /// dropped
    #[arg(short = 't', long, default_value = "5", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// Accepted for compatibility, without effect: read buffers size themselves
    #[arg(long, default_value_t = 16384, value_name = "BYTES")]
    buf_size: usize,

    /// Upper bound for the time that a frame waits in a write buffer, in microseconds; never used up: buffers are
    /// written at the end of each batch
    #[arg(long, default_value_t = 10, value_name = "MICROSECONDS")]
    buf_ttl: u64,

    /// Frames that may wait for one client; one that is slower is dropped
    #[arg(long, default_value_t = 8192, value_name = "FRAMES", value_parser = positive)]
    queue_size: usize,

    /// Bytes that may wait for one client (suffixes K, M, G)
    #[arg(long, default_value = "64M", value_name = "BYTES", value_parser = bytes)]
    queue_bytes: usize,

    /// Longest payload (suffixes K, M, G; at most 2G)
    #[arg(long, default_value = "256M", value_name = "BYTES", value_parser = payload_bytes)]
    max_payload: usize,

    /// Clients at once
    #[arg(long, default_value_t = 10_000, value_name = "CLIENTS", value_parser = positive)]
    max_clients: usize,

    /// Mode of UNIX sockets, octal
    #[arg(long, default_value = "0660", value_name = "MODE", value_parser = mode)]
    socket_mode: u32,

    /// The shared-memory lane for local clients that know it: they exchange payloads without copying them
    #[arg(long, default_value = "on", value_name = "on|off", value_parser = on_or_off, action = clap::ArgAction::Set)]
    shm: bool,

    /// Whose payloads are read in place; others are copied
    #[arg(long, default_value = "same-user", value_name = "same-user|all|none")]
    shm_trust: ShmTrust,

    /// Shared memory for all clients together (suffixes K, M, G) [default: a quarter of the machine's memory]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    shm_bytes: Option<usize>,

    /// Shared memory for the payloads of one client (suffixes K, M, G)
    #[arg(long, default_value = "1G", value_name = "BYTES", value_parser = bytes)]
    shm_client_bytes: usize,

    /// A new client takes over the name of an older one, which is dropped
    #[arg(long)]
    force_register: bool,

    /// Log to syslog
    #[arg(long)]
    pub(crate) log_syslog: bool,

    /// Log every step
    #[arg(long)]
    pub(crate) verbose: bool,
}

impl Options {
    pub(crate) fn workers(&self) -> usize {
        // The other half is for the clients: on few processors a second worker mostly costs wake-ups.
        let half = || (std::thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, 4);
        self.workers.map_or_else(half, usize::from)
    }

    /// The broker that was asked for, on the sockets that were passed too.
    pub(crate) fn broker(&self, sockets: Vec<Inherited>) -> Result<Builder, Box<dyn std::error::Error>> {
        tracing::debug!(self.buf_size, self.buf_ttl, "accepted for compatibility, without effect");
        let mut builder = Broker::builder()
            .timeout(self.timeout)
            .queue(self.queue_size, self.queue_bytes)
            .max_payload(self.max_payload)
            .max_clients(self.max_clients)
            .socket_mode(self.socket_mode)
            .force_register(self.force_register)
            .shm(self.shm)
            .shm_trust(self.shm_trust)
            .shm_client_bytes(self.shm_client_bytes as u64);
        if let Some(bytes) = self.shm_bytes {
            builder = builder.shm_bytes(bytes as u64);
        }
        for endpoint in &self.bind {
            if let Some(path) = endpoint.strip_prefix("fifo:") {
                builder = builder.fifo(path);
            } else {
                builder = builder.endpoint(endpoint.as_str());
            }
        }
        let is_passed = !sockets.is_empty();
        for socket in sockets {
            builder = match socket {
                Inherited::Unix(listener) => builder.unix_listener(listener),
                Inherited::Tcp(listener) => builder.tcp_listener(listener),
            };
        }
        if self.bind.is_empty() && !is_passed {
            let path = default_socket()
                .map_err(|error| format!("no place for the default socket ({error}); choose one with -B"))?;
            builder = builder.endpoint(Endpoint::Unix(path));
        }
        Ok(builder)
    }
}

/// A service has a directory of its own, whoever its user is.
fn default_socket() -> std::io::Result<PathBuf> {
    let directories = std::env::var_os("RUNTIME_DIRECTORY").filter(|directories| !directories.is_empty());
    match directories.as_ref().and_then(|directories| std::env::split_paths(directories).next()) {
        Some(directory) => Ok(directory.join("busway.sock")),
        None => busway::default_socket(),
    }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("must be on or off".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration >= Duration::from_millis(10) && duration <= Duration::from_secs(86_400) => {
            Ok(duration)
        }
        _ => Err("must be between 0.01 and 86400 seconds".to_owned()),
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("must be a number of at least 1".to_owned()),
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        _ => return Err("the suffixes are K, M and G".to_owned()),
    };
    let number: usize = digits.parse().map_err(|_| "not a number of bytes".to_owned())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(|| "out of range".to_owned())
}

fn payload_bytes(text: &str) -> Result<usize, String> {
    // The length field of a frame has 32 bits, and the names go along.
    bytes(text).and_then(|bytes| if bytes <= 2 << 30 { Ok(bytes) } else { Err("at most 2G".to_owned()) })
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) => Ok(mode),
        _ => Err("must be octal, 0000 to 0777".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

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
    fn odd_timeouts_and_modes_are_refused() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "NaN", "inf", "1e30", "x"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(mode("0660"), Ok(0o660));
        assert!(mode("888").is_err() && mode("7777").is_err());
    }

    #[test]
    fn busrtd_s_own_options_are_taken_unchanged() {
        let line = "buswayd -B /tmp/a.sock -B 0.0.0.0:9924 -P /run/x.pid -D -w 4 -t 5 --buf-size 16384 --buf-ttl 10 \
                    --queue-size 8192 --force-register --log-syslog --verbose";
        let options = Options::try_parse_from(line.split_whitespace()).unwrap();
        assert_eq!(options.bind.len(), 2);
        assert_eq!(options.workers(), 4);
    }
}

//! Where a broker listens.

use std::fmt;
use std::path::{Path, PathBuf};

/// A UNIX socket's path, or a host and port.
///
/// The rule, which BUS/RT users know: what has a `/` in it or ends in `.sock`, `.socket` or `.ipc` is the path of a UNIX
/// socket, everything else is `host:port`. Who likes schemes writes `unix:PATH`, `unix://PATH` or `tcp://HOST:PORT`.
/// Text with any other scheme is no endpoint, see [`check`](Endpoint::check).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A UNIX socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

/// Why a text is no endpoint.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("endpoints have no scheme {scheme}: use HOST:PORT, tcp://HOST:PORT, a path or unix:PATH")]
pub struct EndpointFault {
    scheme: String,
}

crate::debug_as_display!(EndpointFault);

impl Endpoint {
    /// Whether it can be one. Whoever connects or listens is told, too; this tells before that.
    ///
    /// # Errors
    /// When it has a scheme that is not known.
    pub fn check(&self) -> Result<(), EndpointFault> {
        match self {
            Self::Tcp(address) => match scheme(address) {
                Some((scheme, _)) => Err(EndpointFault { scheme: scheme.to_owned() }),
                None => Ok(()),
            },
            Self::Unix(_) => Ok(()),
        }
    }
}

/// The scheme of a text, if it has one, and what follows.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let is_one = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    is_one.then_some((scheme, rest))
}

/// What stands behind `unix:`. A host of that name has a port.
fn path_behind_unix(text: &str) -> Option<&str> {
    let path = text.strip_prefix("unix:")?;
    let is_port = !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_digit());
    (!is_port).then(|| path.strip_prefix("//").unwrap_or(path))
}

impl From<&str> for Endpoint {
    fn from(text: &str) -> Self {
        if let Some(path) = path_behind_unix(text) {
            return Self::Unix(path.into());
        }
        match scheme(text) {
            Some(("tcp", address)) => return Self::Tcp(address.trim_end_matches('/').to_owned()),
            // Kept as it is, for `check` to find.
            Some(_) => return Self::Tcp(text.to_owned()),
            None => {}
        }
        let is_path = text.contains('/') || [".sock", ".socket", ".ipc"].iter().any(|ending| text.ends_with(ending));
        if is_path { Self::Unix(text.into()) } else { Self::Tcp(text.to_owned()) }
    }
}

impl From<String> for Endpoint {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Endpoint {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<&Path> for Endpoint {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

impl From<PathBuf> for Endpoint {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

impl From<&PathBuf> for Endpoint {
    fn from(path: &PathBuf) -> Self {
        Self::Unix(path.clone())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // So that a message about it does not end in nothing.
            Self::Unix(path) if path.as_os_str().is_empty() => formatter.write_str("\"\""),
            Self::Unix(path) => path.display().fmt(formatter),
            Self::Tcp(address) => address.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_or_a_slash_tells_a_path_from_an_address() {
        for path in ["/run/bus", "bus.sock", "a/b.socket", "x.ipc"] {
            assert_eq!(Endpoint::from(path), Endpoint::Unix(path.into()));
        }
        for address in ["localhost:9924", "127.0.0.1:1", "[::1]:5", "sock:80"] {
            assert_eq!(Endpoint::from(address), Endpoint::Tcp(address.into()));
        }
    }
    #[test]
    fn schemes_are_taken_and_taken_away() {
        for (text, path) in [
            ("unix:/run/bus", "/run/bus"),
            ("unix:///run/bus", "/run/bus"),
            ("unix:bus", "bus"),
            ("unix://a/b", "a/b"),
            ("unix:bus.sock", "bus.sock"),
        ] {
            assert_eq!(Endpoint::from(text), Endpoint::Unix(path.into()), "{text}");
        }
        for (text, address) in [
            ("tcp://localhost:9924", "localhost:9924"),
            ("tcp://[::1]:5/", "[::1]:5"),
            ("unix:80", "unix:80"),
            ("tcp:80", "tcp:80"),
        ] {
            assert_eq!(Endpoint::from(text), Endpoint::Tcp(address.into()), "{text}");
            assert_eq!(Endpoint::from(text).check(), Ok(()));
        }
    }

    #[test]
    fn other_schemes_are_none() {
        for text in ["http://localhost:80", "ws://a/b.sock", "UNIX:///run/bus", "git+ssh://a"] {
            let fault = Endpoint::from(text).check().unwrap_err().to_string();
            assert!(fault.contains(text.split(':').next().unwrap()) && fault.contains("unix:PATH"), "{fault}");
        }
        for path in ["/tmp/a://b", "://a", "a b://c"] {
            assert_eq!(Endpoint::from(path), Endpoint::Unix(path.into()));
        }
    }
}

//! Where a broker listens.

use std::fmt;
use std::path::{Path, PathBuf};

/// A UNIX socket's path, or a host and port.
///
/// The rule, which BUS/RT users know: what ends in `.sock`, `.socket` or `.ipc` or starts with `/` is a UNIX socket,
/// everything else is `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A UNIX socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl From<&str> for Endpoint {
    fn from(text: &str) -> Self {
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
            Self::Unix(path) => path.display().fmt(formatter),
            Self::Tcp(address) => address.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_or_a_leading_slash_tells_a_path_from_an_address() {
        for path in ["/run/bus", "bus.sock", "a/b.socket", "x.ipc"] {
            assert_eq!(Endpoint::from(path), Endpoint::Unix(path.into()));
        }
        for address in ["localhost:9924", "127.0.0.1:1", "[::1]:5", "sock:80"] {
            assert_eq!(Endpoint::from(address), Endpoint::Tcp(address.into()));
        }
    }
}

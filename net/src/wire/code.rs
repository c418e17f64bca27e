//! Result codes of the wire.

use std::fmt;

/// What a broker answers in a handshake or an acknowledgement.
///
/// A code that this version does not know is kept as it came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResultCode(pub u8);

impl ResultCode {
    /// Done.
    pub const OK: Self = Self(0x01);
    /// No such client (or, in a handshake, no such primary).
    pub const NOT_REGISTERED: Self = Self(0x71);
    /// The data is not acceptable: a bad name, a topic over the limits.
    pub const DATA: Self = Self(0x72);
    /// Input or output failed.
    pub const IO: Self = Self(0x73);
    /// Something else went wrong.
    pub const OTHER: Self = Self(0x74);
    /// The protocol or operation is not supported.
    pub const NOT_SUPPORTED: Self = Self(0x75);
    /// The name is taken, or there is no room for another client.
    pub const BUSY: Self = Self(0x76);
    /// The receiver's queue did not take the frame.
    pub const NOT_DELIVERED: Self = Self(0x77);
    /// It took too long.
    pub const TIMEOUT: Self = Self(0x78);
    /// The access rules forbid it.
    pub const ACCESS_DENIED: Self = Self(0x79);

    /// Whether this is [`ResultCode::OK`].
    pub fn is_ok(self) -> bool {
        self == Self::OK
    }

    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::OK => "ok",
            Self::NOT_REGISTERED => "no such client is registered",
            Self::DATA => "the data was refused",
            Self::IO => "input or output failed",
            Self::OTHER => "failed",
            Self::NOT_SUPPORTED => "not supported",
            Self::BUSY => "busy: the name is taken, or the broker has as many clients as it may",
            Self::NOT_DELIVERED => "not delivered: the receiver's queue is full",
            Self::TIMEOUT => "timed out",
            Self::ACCESS_DENIED => "access denied",
            _ => "unknown result code",
        }
    }
}

impl fmt::Debug for ResultCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ResultCode({:#04x})", self.0)
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (code {:#04x})", self.words(), self.0)
    }
}

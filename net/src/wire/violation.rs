//! Bytes that no correct peer sends.

/// Why a peer's bytes are not the protocol. The connection cannot go on after any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A client frame with an operation that does not exist.
    #[error("unknown operation {0:#04x}")]
    UnknownOperation(u8),
    /// A broker frame of a kind that does not exist.
    #[error("unknown frame kind {0:#04x}")]
    UnknownKind(u8),
    /// A target, topic or sender that no NUL ends.
    #[error("a name in the frame has no end")]
    MissingNul,
    /// A target, topic or sender that is not UTF-8.
    #[error("a name in the frame is not UTF-8")]
    NotUtf8,
    /// A payload, or the length field of a frame, beyond the limit.
    #[error("a payload of {length} bytes is over the limit of {limit}")]
    PayloadTooLong {
        /// What the frame claims.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
}

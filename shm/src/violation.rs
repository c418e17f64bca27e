//! What a peer may not do.

/// Something in memory that the peer writes is not what the rules of the lane allow. The lane and the connection of
/// that peer end; nobody else notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A position went backwards.
    #[error("a position on the lane went backwards")]
    Backwards,
    /// A position is beyond what can be.
    #[error("a position on the lane is farther than it can be")]
    TooFar,
    /// A position is not a multiple of what it must be.
    #[error("a position on the lane is not aligned")]
    Unaligned,
    /// A record is longer than allowed, or crosses the end of the ring or of what was written.
    #[error("a record on the lane has an impossible length")]
    Length,
    /// A descriptor has an unknown operation, an unknown flag, a wrong sequence or reserved bytes that are not zero.
    #[error("a descriptor on the lane is not valid")]
    Descriptor,
    /// A range is not within its segment, or the segment is not known.
    #[error("a payload on the lane lies outside of its segment")]
    Range,
    /// A slot is not out, or not in this generation.
    #[error("a slot on the lane was used that is not out")]
    Slot,
    /// No fault of the peer: the system has no memory for what is to be written to it.
    #[error("there is no memory for the ring of the lane")]
    Memory,
}

//! How payloads in shared memory are handed over.

use busway_shm::Violation;

/// Hands payloads over on one side of a lane.
pub(super) trait Placing: Send {
    /// A payload in shared memory.
    type Held: Send;

    /// Hands the payload over in place, or gives it back. `may_wait`: it may be put off.
    ///
    /// # Errors
    /// When the peer has broken the rules.
    fn place(&mut self, held: Self::Held, may_wait: bool) -> Result<Placed<Self::Held>, Violation>;

    /// Bytes of a payload.
    fn length(held: &Self::Held) -> usize;

    /// Copies a part of a payload.
    fn copy(held: &Self::Held, position: usize, bytes: &mut [u8]);

    /// A payload is copied because it could not be placed.
    fn count_copy(&mut self);
}

/// What became of a payload that was to be placed.
#[derive(Debug)]
pub(super) enum Placed<H> {
    There(Place),
    /// It is to be copied.
    Copy(H),
    /// It waits, and everything behind it, until the queue is pumped for a reason that is not room.
    Later(H),
}

/// Payloads that were written once for several receivers, and are handed over in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlacedRun {
    /// How many there are.
    pub(super) frames: usize,
    /// Bytes of them, and of their lengths.
    pub(super) bytes: usize,
    pub(super) place: Place,
}

/// Where a payload lies, as a descriptor says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) slot: u32,
    pub(super) generation: u32,
}

//! Memory for an assembler that keeps books and holds it to its promises.

use busway_net::wire::{BodyMemory, Limits, Received, ReceivedPayload};

/// What an assembler may take for a payload of which nothing has arrived.
pub(crate) const FIRST_STAGE: usize = 256 << 10;
/// What it may take for a payload, as a multiple of what has arrived.
pub(crate) const STAGE_FACTOR: usize = 16;
/// What it may take for reading.
pub(crate) const READ_BUFFER: usize = 256 << 10;

/// An announcement, as the memory saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) first: Vec<u8>,
    pub(crate) second: Vec<u8>,
    pub(crate) length: usize,
    pub(crate) capacity: usize,
}

/// Panics when more is asked for than what has arrived justifies.
#[derive(Debug)]
pub(crate) struct CountingMemory {
    limits: Limits,
    /// Room given beyond what was asked for.
    overshoot: usize,
    /// Bytes the assembler was fed: an upper bound for what it has of any payload.
    pub(crate) fed: usize,
    pub(crate) announcements: Vec<Announcement>,
    /// Bytes asked for and not yet returned.
    pub(crate) outstanding: usize,
    /// Pieces given and not yet returned.
    pub(crate) pieces: usize,
}

impl CountingMemory {
    pub(crate) fn new(limits: Limits, overshoot: usize) -> Self {
        Self { limits, overshoot, fed: 0, announcements: Vec::new(), outstanding: 0, pieces: 0 }
    }

    fn give(&mut self, capacity: usize) -> Vec<u8> {
        let memory = Vec::with_capacity(capacity + self.overshoot);
        self.outstanding += memory.capacity();
        self.pieces += 1;
        assert!(self.pieces <= 3, "a read buffer, a payload, and one of them growing");
        memory
    }
}

impl<M> BodyMemory<M> for CountingMemory {
    fn take(&mut self, frame: &Received<'_, M>, capacity: usize) -> Vec<u8> {
        let ReceivedPayload::Announced(length) = frame.payload else {
            panic!("memory is asked for announcements only");
        };
        let longest = self.limits.max_path.max(self.limits.max_name) + 1;
        assert!(frame.first.len() <= longest && frame.second.len() <= longest, "a name is cut one byte over its limit");
        assert!(length <= self.limits.max_payload, "{length} announced, over the limit");
        assert!(capacity <= length, "{capacity} asked for {length}");
        let justified = FIRST_STAGE.max(self.fed.saturating_mul(STAGE_FACTOR));
        assert!(capacity <= justified, "{capacity} asked for after {} bytes", self.fed);
        let (first, second) = (frame.first.to_vec(), frame.second.to_vec());
        self.announcements.push(Announcement { first, second, length, capacity });
        self.give(capacity)
    }

    fn take_buffer(&mut self, capacity: usize) -> Vec<u8> {
        assert!(capacity <= READ_BUFFER, "{capacity} asked for reading");
        self.give(capacity)
    }

    fn give_back(&mut self, memory: Vec<u8>) {
        assert!(memory.capacity() > 0, "nothing comes back");
        self.outstanding = self.outstanding.saturating_sub(memory.capacity());
        self.pieces = self.pieces.checked_sub(1).expect("only what was given comes back");
    }
}

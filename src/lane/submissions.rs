//! Payloads of a client that are out: what the broker has not given back.

use std::sync::Arc;

use busway_shm::{Arenas, Chunk, PeerSegment, ReturnReader, Slots, Violation};

use super::placing::{Place, Placed, Placing};

/// Chunks that are out.
pub(super) struct Submissions {
    pub(super) slots: Slots<Arc<Chunk>>,
    pub(super) returned: ReturnReader<Arc<PeerSegment>>,
    pub(super) arenas: Arc<Arenas>,
}

impl Submissions {
    /// Takes back what the broker has given back.
    pub(super) fn take_back(&mut self) -> Result<(), Violation> {
        while let Some((slot, generation)) = self.returned.next_returned()? {
            self.slots.take(slot, generation)?;
        }
        Ok(())
    }
}

impl Placing for Submissions {
    type Held = Arc<Chunk>;

    fn place(&mut self, chunk: Arc<Chunk>, _may_wait: bool) -> Result<Placed<Arc<Chunk>>, Violation> {
        if !self.slots.has_free() {
            self.take_back()?;
        }
        if !chunk.is_of(&self.arenas) {
            return Ok(Placed::Copy(chunk));
        }
        let (segment, offset) = (chunk.segment(), chunk.offset() as u64);
        Ok(match self.slots.put(chunk) {
            Ok((slot, generation)) => Placed::There(Place { segment, offset, slot, generation }),
            Err(chunk) => Placed::Copy(chunk),
        })
    }

    fn length(chunk: &Arc<Chunk>) -> usize {
        chunk.len()
    }

    fn copy(chunk: &Arc<Chunk>, position: usize, bytes: &mut [u8]) {
        bytes.copy_from_slice(&chunk.as_slice()[position..position + bytes.len()]);
    }

    fn count_copy(&mut self) {}
}

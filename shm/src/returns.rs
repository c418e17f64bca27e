//! Slots that come back: a ring of numbers, one producer, one consumer, which cannot overflow.
//!
//! A slot comes back at most once each time it was handed out, and is handed out again only after its return was
//! read; so a ring with an entry for each slot never has to wait for room. Nobody is woken by a return.

use crate::layout::{ControlLayout, SLOT_TAIL, WORD};
use crate::memory::{OwnMemory, PeerMemory};
use crate::sync::{Mutex, Ordering};
use crate::violation::Violation;

/// Takes slots back, from any thread.
pub trait GiveBack: Send + Sync {
    /// The slot, in this generation, is no longer used.
    fn give_back(&self, slot: u32, generation: u32);
}

/// The end that gives slots back, from any thread.
#[derive(Debug)]
pub struct Returns<O> {
    own: O,
    layout: ControlLayout,
    tail: Mutex<u64>,
}

impl<O: OwnMemory> Returns<O> {
    /// At the beginning of a segment of zeros.
    pub fn new(own: O, layout: ControlLayout) -> Self {
        Self { own, layout, tail: Mutex::new(0) }
    }

    /// Gives a slot back.
    pub fn push(&self, slot: u32, generation: u32) {
        let mut tail = self.tail.lock();
        let entry = u64::from(slot) | u64::from(generation) << 32;
        self.own.store(entry_offset(&self.layout, *tail), entry, Ordering::Relaxed);
        *tail += 1;
        // Release: pairs with the Acquire in `ReturnReader::next`.
        self.own.store(SLOT_TAIL, *tail, Ordering::Release);
    }
}

impl<O: OwnMemory + Send + Sync> GiveBack for Returns<O> {
    fn give_back(&self, slot: u32, generation: u32) {
        self.push(slot, generation);
    }
}

/// The end that reads what came back.
#[derive(Clone, Debug)]
pub struct ReturnReader<P> {
    peer: P,
    layout: ControlLayout,
    head: u64,
    tail: u64,
}

impl<P: PeerMemory> ReturnReader<P> {
    /// At the beginning of a segment of zeros.
    pub fn new(peer: P, layout: ControlLayout) -> Self {
        Self { peer, layout, head: 0, tail: 0 }
    }

    /// The next slot that came back, and its generation.
    ///
    /// # Errors
    /// When the peer's position is impossible.
    pub fn next_returned(&mut self) -> Result<Option<(u32, u32)>, Violation> {
        if self.head == self.tail {
            let tail = self.peer.load(SLOT_TAIL, Ordering::Acquire);
            if tail < self.tail {
                return Err(Violation::Backwards);
            }
            if tail - self.head > self.layout.slots as u64 {
                return Err(Violation::TooFar);
            }
            self.tail = tail;
            if self.head == tail {
                return Ok(None);
            }
        }
        let entry = self.peer.load(entry_offset(&self.layout, self.head), Ordering::Relaxed);
        self.head += 1;
        #[expect(clippy::cast_possible_truncation, reason = "an entry is two halves")]
        Ok(Some((entry as u32, (entry >> 32) as u32)))
    }
}

fn entry_offset(layout: &ControlLayout, position: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of the number of slots, which is a usize")]
    let index = (position % layout.slots as u64) as usize;
    layout.slots_offset() + index * WORD
}

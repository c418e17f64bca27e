//! This side's own memory, watched: nothing is written where it must not be, and positions only grow.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use busway_shm::layout::{EVENT, GRANULE, SPACE_EVENT};
use busway_shm::{HeapMemory, Ordering, OwnMemory};

/// Events may go back: they are not positions of anything.
const EVENTS: [usize; 2] = [EVENT, SPACE_EVENT];

#[derive(Debug)]
pub(crate) struct Watched {
    memory: Arc<HeapMemory>,
    cursors: Vec<usize>,
    bytes: Range<usize>,
    last: RefCell<HashMap<usize, u64>>,
}

impl Watched {
    /// `cursors` may be stored, `bytes` may be written.
    pub(crate) fn new(memory: Arc<HeapMemory>, cursors: Vec<usize>, bytes: Range<usize>) -> Self {
        Self { memory, cursors, bytes, last: RefCell::default() }
    }

    /// What was last stored.
    pub(crate) fn cursor(&self, at: usize) -> u64 {
        self.last.borrow().get(&at).copied().unwrap_or(0)
    }
}

impl OwnMemory for &Watched {
    fn store(&self, at: usize, value: u64, ordering: Ordering) {
        assert!(self.cursors.contains(&at), "{at} is not a cursor of this side");
        let before = self.last.borrow_mut().insert(at, value).unwrap_or(0);
        if !EVENTS.contains(&at) {
            assert!(value >= before && value.is_multiple_of(GRANULE as u64), "positions are aligned and only grow");
        }
        self.memory.store(at, value, ordering);
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        let is_allowed = bytes.is_empty() || (self.bytes.start <= at && at + bytes.len() <= self.bytes.end);
        assert!(is_allowed, "{at} and {} bytes from there are not to be written", bytes.len());
        self.memory.write(at, bytes);
    }
}

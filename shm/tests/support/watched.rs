//! This side's own memory, watched: nothing is written where it must not be, and positions only grow.

use std::cell::{Cell, RefCell};
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
    /// Up to where it was asked for pages.
    prepared: Cell<usize>,
}

impl Watched {
    /// `cursors` may be stored, `bytes` may be written.
    pub(crate) fn new(memory: Arc<HeapMemory>, cursors: Vec<usize>, bytes: Range<usize>) -> Self {
        let prepared = Cell::new(bytes.start);
        Self { memory, cursors, bytes, last: RefCell::default(), prepared }
    }

    /// Bytes for which it was asked for pages.
    pub(crate) fn prepared(&self) -> usize {
        self.prepared.get() - self.bytes.start
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
        let is_allowed = bytes.is_empty() || (self.bytes.start <= at && at + bytes.len() <= self.prepared.get());
        assert!(is_allowed, "{at} and {} bytes from there are not to be written", bytes.len());
        self.memory.write(at, bytes);
    }
    fn prepare(&self, range: Range<usize>) -> bool {
        let is_next = range.start == self.prepared.get() && range.start < range.end && range.end <= self.bytes.end;
        assert!(is_next, "{range:?} are not the next bytes to have pages");
        self.prepared.set(range.end);
        true
    }
}

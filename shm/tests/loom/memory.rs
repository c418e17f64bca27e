//! Control segments of a model: cursors are atomics, everything else is watched for races.

use busway_shm::layout::{ControlLayout, PAGE, RING, WORD};
use busway_shm::{Descriptor, Ordering, OwnMemory, PeerMemory};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;

/// One segment. Cursors are modelled atomics. The bytes of the rings are cells in which the model checker finds each
/// access that is not ordered behind the last one: what is stored before a cursor must be seen by whoever sees the
/// cursor, and nothing may be overwritten that is still being read.
pub(crate) struct ModelMemory {
    cursors: Vec<AtomicU64>,
    cells: Vec<UnsafeCell<u64>>,
}

/// Bytes between cursors.
const STRIDE: usize = busway_shm::layout::HEAD - busway_shm::layout::TAIL;
const CURSORS: usize = 5;

impl ModelMemory {
    pub(crate) fn new(layout: ControlLayout) -> Arc<Self> {
        let words = (layout.ring + layout.slots * WORD) / WORD;
        Arc::new(Self {
            cursors: (0..CURSORS).map(|_| AtomicU64::new(0)).collect(),
            cells: (0..words).map(|_| UnsafeCell::new(0)).collect(),
        })
    }

    fn cursor(&self, at: usize) -> &AtomicU64 {
        &self.cursors[(at - PAGE) / STRIDE]
    }

    fn put(&self, at: usize, value: u64) {
        // SAFETY: the models run one thread at a time, and loom panics when another one may be at the cell.
        self.cells[(at - RING) / WORD].with_mut(|cell| unsafe { *cell = value });
    }

    fn take(&self, at: usize) -> u64 {
        // SAFETY: as in `put`.
        self.cells[(at - RING) / WORD].with(|cell| unsafe { *cell })
    }
}

/// A handle to a segment, for either side.
#[derive(Clone)]
pub(crate) struct Handle(pub(crate) Arc<ModelMemory>);

impl OwnMemory for Handle {
    fn store(&self, at: usize, value: u64, ordering: Ordering) {
        if at < RING { self.0.cursor(at).store(value, ordering) } else { self.0.put(at, value) }
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        for (position, word) in bytes.chunks(WORD).enumerate() {
            let mut whole = [0; WORD];
            whole[..word.len()].copy_from_slice(word);
            self.0.put(at + position * WORD, u64::from_le_bytes(whole));
        }
    }
}

impl PeerMemory for Handle {
    fn load(&self, at: usize, ordering: Ordering) -> u64 {
        if at < RING { self.0.cursor(at).load(ordering) } else { self.0.take(at) }
    }

    fn read(&self, at: usize, bytes: &mut [u8]) {
        for (position, word) in bytes.chunks_mut(WORD).enumerate() {
            let whole = self.0.take(at + position * WORD).to_le_bytes();
            word.copy_from_slice(&whole[..word.len()]);
        }
    }
}

/// Both segments of a lane: the producer writes the first, the consumer the second.
pub(crate) fn segments(layout: ControlLayout) -> (Handle, Handle) {
    (Handle(ModelMemory::new(layout)), Handle(ModelMemory::new(layout)))
}

/// A record that is told from others by `number`.
pub(crate) fn descriptor(number: u32, payload: u32) -> Descriptor {
    Descriptor { operation: 1, op_id: number.into(), payload: payload.into(), ..Descriptor::default() }
}

//! What the lock-free parts ask of memory, so that they run on mapped pages, on the heap and in a model alike.

use std::ops::Range;
use std::sync::Arc;

use crate::layout::WORD;
use crate::sync::{AtomicU64, Ordering};

/// Memory that this process alone writes.
///
/// Offsets are bytes and multiples of 8. Each panics when a range is outside: callers compute offsets from their own
/// layout, never from what a peer wrote.
pub trait OwnMemory {
    /// Stores a cursor.
    fn store(&self, at: usize, value: u64, ordering: Ordering);

    /// Writes bytes; the last word is filled up with zeros.
    fn write(&self, at: usize, bytes: &[u8]);
}

/// Memory that another process writes, at any moment.
///
/// Offsets are bytes and multiples of 8. Each panics when a range is outside: callers have checked what a peer
/// claims.
pub trait PeerMemory {
    /// Loads a cursor.
    fn load(&self, at: usize, ordering: Ordering) -> u64;

    /// Copies bytes out; each byte is loaded once.
    fn read(&self, at: usize, bytes: &mut [u8]);
}

impl<M: OwnMemory> OwnMemory for Arc<M> {
    #[inline]
    fn store(&self, at: usize, value: u64, ordering: Ordering) {
        (**self).store(at, value, ordering);
    }

    #[inline]
    fn write(&self, at: usize, bytes: &[u8]) {
        (**self).write(at, bytes);
    }
}

impl<M: PeerMemory> PeerMemory for Arc<M> {
    #[inline]
    fn load(&self, at: usize, ordering: Ordering) -> u64 {
        (**self).load(at, ordering)
    }

    #[inline]
    fn read(&self, at: usize, bytes: &mut [u8]) {
        (**self).read(at, bytes);
    }
}

/// Writes bytes into the words at `at`. Word by word and relaxed: a reader elsewhere may look at any moment, and a
/// plain copy would be a data race by the rules of the language.
#[inline]
pub(crate) fn write_words(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<WORD>();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        words[whole.len()].store(u64::from_le_bytes(last), Ordering::Relaxed);
    }
}

/// Copies words out, each loaded once.
#[inline]
pub(crate) fn read_words(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut::<WORD>();
    let last = whole.len();
    for (word, bytes) in words.iter().zip(whole) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
    if !rest.is_empty() {
        let last = words[last].load(Ordering::Relaxed).to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// The indexes of the words that hold `length` bytes from `at` on.
#[inline]
pub(crate) fn words_of(at: usize, length: usize) -> Range<usize> {
    assert!(at.is_multiple_of(WORD), "parts are aligned");
    let first = at / WORD;
    first..first + length.div_ceil(WORD)
}

/// A segment on the heap, for tests, models and both ends in one process; both ends share it through an [`Arc`].
#[derive(Debug)]
pub struct HeapMemory {
    words: Box<[AtomicU64]>,
}

impl HeapMemory {
    /// Zeroed memory of this many bytes, rounded up to words.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { words: (0..bytes.div_ceil(WORD)).map(|_| AtomicU64::new(0)).collect() })
    }
}

impl OwnMemory for HeapMemory {
    #[inline]
    fn store(&self, at: usize, value: u64, ordering: Ordering) {
        self.words[at / WORD].store(value, ordering);
    }

    #[inline]
    fn write(&self, at: usize, bytes: &[u8]) {
        write_words(&self.words[words_of(at, bytes.len())], bytes);
    }
}

impl PeerMemory for HeapMemory {
    #[inline]
    fn load(&self, at: usize, ordering: Ordering) -> u64 {
        self.words[at / WORD].load(ordering)
    }

    #[inline]
    fn read(&self, at: usize, bytes: &mut [u8]) {
        read_words(&self.words[words_of(at, bytes.len())], bytes);
    }
}

//! What the lock-free parts ask of memory, so that they run on mapped pages, on the heap and in a model alike.

use std::ops::Range;
use std::sync::Arc;

use crate::layout::{GRANULE, WORD};
use crate::ring::{padded, run_length};
use crate::sync::{AtomicU64, Ordering};
use crate::words::{line_of, read_words, words_hold, words_of, write_record_words, write_run_words, write_words};

/// The words of a granule: what a descriptor is.
pub type Line = [u64; LINE_WORDS];

pub(crate) const LINE_WORDS: usize = GRANULE / WORD;

/// Memory that this process alone writes.
///
/// Offsets are bytes and multiples of 8. Each panics when a range is outside: callers compute offsets from their own
/// layout, never from what a peer wrote.
pub trait OwnMemory {
    /// Stores a cursor.
    fn store(&self, at: usize, value: u64, ordering: Ordering);

    /// Writes bytes; the last word is filled up with zeros.
    fn write(&self, at: usize, bytes: &[u8]);

    /// Writes a record into `length` bytes that are there for it: words, and behind them parts that each begin on a
    /// word. Implementations that find the place once for all of them are faster.
    fn write_record<const WORDS: usize, const PARTS: usize>(
        &self,
        at: usize,
        length: usize,
        words: &[u64; WORDS],
        parts: [&[u8]; PARTS],
    ) {
        let end = at + length;
        let mut at = at;
        self.write(at, words.map(u64::to_le_bytes).as_flattened());
        at += WORDS * WORD;
        for part in parts {
            self.write(at, part);
            at += part.len().next_multiple_of(WORD);
        }
        assert!(at <= end, "a record is written within its place");
    }

    /// Writes a record with several payloads into `length` bytes that are there for it: words, names, and behind them the
    /// payloads, before each a word that says how many bytes it has.
    fn write_run<'a, const WORDS: usize, const NAMES: usize>(
        &self,
        at: usize,
        length: usize,
        words: &[u64; WORDS],
        names: [&[u8]; NAMES],
        payloads: impl Iterator<Item = &'a [u8]>,
    ) {
        let end = at + length;
        self.write_record(at, length, words, names);
        let mut at = at + WORDS * WORD + names.map(|name| padded(name.len())).iter().sum::<usize>();
        for payload in payloads {
            self.write(at, &(payload.len() as u64).to_le_bytes());
            self.write(at + WORD, payload);
            at += run_length(payload.len());
        }
        assert!(at <= end, "a record is written within its place");
    }

    /// Gets pages for bytes that are about to be written for the first time. `false` when there is no memory for them:
    /// to write them would end the process.
    fn prepare(&self, _range: Range<usize>) -> bool {
        true
    }

    /// These bytes will be written soon: a hint.
    #[inline]
    fn expect_write(&self, _at: usize, _length: usize) {}
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

    /// Whether these bytes are there; each is loaded once.
    fn holds(&self, at: usize, bytes: &[u8]) -> bool {
        let mut copy = vec![0; bytes.len()];
        self.read(at, &mut copy);
        copy == bytes
    }

    /// Copies the words of a granule out; each is loaded once.
    fn read_line(&self, at: usize) -> Line {
        let mut bytes = [[0; WORD]; LINE_WORDS];
        self.read(at, bytes.as_flattened_mut());
        bytes.map(u64::from_le_bytes)
    }
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

    #[inline]
    fn write_record<const WORDS: usize, const PARTS: usize>(
        &self,
        at: usize,
        length: usize,
        words: &[u64; WORDS],
        parts: [&[u8]; PARTS],
    ) {
        (**self).write_record(at, length, words, parts);
    }

    #[inline]
    fn write_run<'a, const WORDS: usize, const NAMES: usize>(
        &self,
        at: usize,
        length: usize,
        words: &[u64; WORDS],
        names: [&[u8]; NAMES],
        payloads: impl Iterator<Item = &'a [u8]>,
    ) {
        (**self).write_run(at, length, words, names, payloads);
    }

    fn prepare(&self, range: Range<usize>) -> bool {
        (**self).prepare(range)
    }

    #[inline]
    fn expect_write(&self, at: usize, length: usize) {
        (**self).expect_write(at, length);
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

    #[inline]
    fn holds(&self, at: usize, bytes: &[u8]) -> bool {
        (**self).holds(at, bytes)
    }

    #[inline]
    fn read_line(&self, at: usize) -> Line {
        (**self).read_line(at)
    }
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

    #[inline]
    fn write_record<const WORDS: usize, const PARTS: usize>(
        &self,
        at: usize,
        length: usize,
        words: &[u64; WORDS],
        parts: [&[u8]; PARTS],
    ) {
        write_record_words(&self.words[words_of(at, length)], words, parts);
    }

    #[inline]
    fn write_run<'a, const WORDS: usize, const NAMES: usize>(
        &self,
        at: usize,
        length: usize,
        words: &[u64; WORDS],
        names: [&[u8]; NAMES],
        payloads: impl Iterator<Item = &'a [u8]>,
    ) {
        write_run_words(&self.words[words_of(at, length)], words, names, payloads);
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

    #[inline]
    fn holds(&self, at: usize, bytes: &[u8]) -> bool {
        words_hold(&self.words[words_of(at, bytes.len())], bytes)
    }

    #[inline]
    fn read_line(&self, at: usize) -> Line {
        line_of(&self.words[words_of(at, GRANULE)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_come_out_as_they_went_in_and_the_last_word_is_filled_with_zeros() {
        let bytes: Vec<u8> = (1..=200).collect();
        for length in 0..=bytes.len() {
            let memory = HeapMemory::new(256);
            memory.write(0, &[0xEE; 256]);
            memory.write(8, &bytes[..length]);
            let mut read = vec![0; length];
            memory.read(8, &mut read);
            assert_eq!(read, bytes[..length]);
            // Whatever is behind them in the last word.
            for behind in [0xEE; 8].iter().take(length.next_multiple_of(WORD) - length) {
                read.push(*behind);
            }
            memory.write(8, &read);
            assert!(memory.holds(8, &bytes[..length]));
            for index in 0..length {
                let mut other = bytes[..length].to_vec();
                other[index] ^= 1 << (index % 8);
                assert!(!memory.holds(8, &other), "byte {index} of {length}");
            }
            memory.write(8, &bytes[..length]);
            let mut around = [0; 256];
            memory.read(0, &mut around);
            let end = 8 + length.next_multiple_of(WORD);
            assert!(around[..8].iter().chain(&around[end..]).all(|byte| *byte == 0xEE), "nothing beside it changes");
            assert!(around[8 + length..end].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_record_is_written_as_its_parts_one_by_one_would_be() {
        /// Only what a memory has to have.
        struct Plain(Arc<HeapMemory>);
        impl OwnMemory for Plain {
            fn store(&self, at: usize, value: u64, ordering: Ordering) {
                self.0.store(at, value, ordering);
            }

            fn write(&self, at: usize, bytes: &[u8]) {
                self.0.write(at, bytes);
            }
        }
        impl PeerMemory for Plain {
            fn load(&self, at: usize, ordering: Ordering) -> u64 {
                self.0.load(at, ordering)
            }

            fn read(&self, at: usize, bytes: &mut [u8]) {
                self.0.read(at, bytes);
            }
        }
        let (fast, plain) = (HeapMemory::new(256), Plain(HeapMemory::new(256)));
        let line = std::array::from_fn(|index| 0x0123_4567_89AB_CDEF + index as u64);
        let parts: [&[u8]; 3] = [b"a name", b"", &[7; 71]];
        fast.write_record(GRANULE, 192, &line, parts);
        plain.write_record(GRANULE, 192, &line, parts);
        let (mut one, mut other) = ([0; 256], [0; 256]);
        fast.read(0, &mut one);
        plain.read(0, &mut other);
        assert_eq!(one, other);
        assert_eq!((fast.read_line(GRANULE), plain.read_line(GRANULE)), (line, line));
    }
}

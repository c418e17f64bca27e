//! Memory that another process writes at any moment: what is loaded is what an honest peer has written, or not.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use busway_shm::layout::{GRANULE, WORD};
use busway_shm::{Descriptor, HeapMemory, Ordering, PeerMemory};

use super::choices::Choices;

/// Fields of a descriptor, which lies like to be about: where, and how many bytes.
const FIELDS: [(usize, usize); 9] = [(0, 4), (4, 1), (5, 1), (7, 1), (12, 4), (16, 2), (18, 2), (24, 4), (48, 8)];
const SIZES: [u64; 12] = [0, 1, 63, 64, 65, 128, 4032, 4096, 4160, 16 << 10, u32::MAX as u64 - 63, u64::MAX];

/// A peer's segment as a hostile process would show it. Every load draws a new choice, so that two loads of the same
/// word may differ.
#[derive(Debug)]
pub(crate) struct Liar<'a> {
    honest: Arc<HeapMemory>,
    choices: &'a Choices<'a>,
    /// What the tested end may look at: words, and bytes.
    words: Vec<Range<usize>>,
    bytes: Range<usize>,
    has_lied: Cell<bool>,
    loads: Cell<usize>,
    reads: Cell<usize>,
}

impl<'a> Liar<'a> {
    /// `words` are the ranges of cursors that may be loaded, `bytes` the range that may be read.
    pub(crate) fn new(
        honest: Arc<HeapMemory>,
        choices: &'a Choices<'a>,
        words: Vec<Range<usize>>,
        bytes: Range<usize>,
    ) -> Self {
        let (has_lied, loads, reads) = Default::default();
        Self { honest, choices, words, bytes, has_lied, loads, reads }
    }

    pub(crate) fn has_lied(&self) -> bool {
        self.has_lied.get()
    }

    /// How many loads and reads there were since the last call.
    pub(crate) fn work(&self) -> (usize, usize) {
        (self.loads.take(), self.reads.take())
    }
}

impl PeerMemory for &Liar<'_> {
    fn load(&self, at: usize, ordering: Ordering) -> u64 {
        let is_allowed = self.words.iter().any(|words| words.contains(&at) && at + WORD <= words.end);
        assert!(is_allowed && at.is_multiple_of(WORD), "{at} is not a word to look at");
        self.loads.set(self.loads.get() + 1);
        let truth = self.honest.load(at, ordering);
        let shown = match self.choices.below(16) {
            10 => truth.wrapping_add(GRANULE as u64),
            11 => truth.wrapping_sub(GRANULE as u64),
            12 => truth.wrapping_add(16 << 10),
            13 => self.choices.number(),
            14 => u64::MAX - u64::from(self.choices.byte()),
            15 => truth ^ 1 << self.choices.below(64),
            _ => truth,
        };
        self.has_lied.set(self.has_lied.get() || shown != truth);
        shown
    }

    fn read(&self, at: usize, bytes: &mut [u8]) {
        // The last word is read as a whole.
        let end = at + bytes.len().next_multiple_of(WORD);
        let is_allowed = bytes.is_empty() || (self.bytes.start <= at && end <= self.bytes.end);
        assert!(is_allowed && at.is_multiple_of(WORD), "{at}..{end} are not bytes to read");
        self.reads.set(self.reads.get() + 1);
        self.honest.read(at, bytes);
        let truth = bytes.to_vec();
        match self.choices.below(8) {
            5 if bytes.len() == Descriptor::SIZE => {
                let (field, length) = FIELDS[self.choices.below(FIELDS.len())];
                let value = SIZES[self.choices.below(SIZES.len())].to_le_bytes();
                bytes[field..field + length].copy_from_slice(&value[..length]);
            }
            6 if !bytes.is_empty() => {
                for _ in 0..=self.choices.below(8) {
                    bytes[usize::from(self.choices.byte()) * 7 % truth.len()] = self.choices.byte();
                }
            }
            7 => bytes.fill(self.choices.byte()),
            _ => {}
        }
        self.has_lied.set(self.has_lied.get() || bytes != truth);
    }
}

//! A fuzzer's input, or a property test's, as a list of choices.

use std::cell::Cell;

/// Bytes that are taken one by one, by everybody who has something to decide. When they are used up each further one
/// is 0, which is always the harmless choice.
#[derive(Debug)]
pub(crate) struct Choices<'a> {
    bytes: &'a [u8],
    /// How many were taken.
    taken: Cell<usize>,
}

impl<'a> Choices<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { bytes: input, taken: Cell::new(0) }
    }

    pub(crate) fn byte(&self) -> u8 {
        let at = self.taken.replace(self.taken.get() + 1);
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// A number below `end`, which is at most 256.
    pub(crate) fn below(&self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub(crate) fn number(&self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    pub(crate) fn are_used_up(&self) -> bool {
        self.taken.get() >= self.bytes.len()
    }
}

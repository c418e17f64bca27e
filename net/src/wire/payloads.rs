//! Payloads of frames that are otherwise the same.

use std::ops::Range;

/// Payloads one behind the other in the same memory.
#[derive(Clone, Copy, Debug)]
pub struct Payloads<'a> {
    memory: &'a [u8],
    places: &'a [Range<usize>],
}

impl<'a> Payloads<'a> {
    /// Those at these places.
    ///
    /// # Panics
    /// Not here, but when one is asked for whose place is not in the memory.
    pub fn new(memory: &'a [u8], places: &'a [Range<usize>]) -> Self {
        Self { memory, places }
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.places.iter().map(Range::len).sum()
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.places.iter().map(move |place| &self.memory[place.clone()])
    }

    /// Those behind the first `count`.
    #[must_use]
    pub fn skip(self, count: usize) -> Self {
        Self { places: self.places.get(count..).unwrap_or_default(), ..self }
    }
}

//! A piece of an arena, as it is written and shared.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use crate::allocator::Block;
use crate::arena::Arenas;
use crate::segment::OwnSegment;

/// A piece of an arena.
pub struct Chunk {
    arenas: Arc<Arenas>,
    memory: Arc<OwnSegment>,
    segment: u32,
    range: Range<usize>,
    block: Option<Block>,
}

impl Chunk {
    /// The block of a segment, and the segment's number.
    pub(crate) fn new(arenas: &Arc<Arenas>, memory: &Arc<OwnSegment>, segment: u32, block: Block) -> Self {
        let (arenas, memory) = (Arc::clone(arenas), Arc::clone(memory));
        Self { arenas, memory, segment, range: block.range(), block: Some(block) }
    }

    /// The number of its segment.
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// Where in the segment it begins; a multiple of 64.
    pub fn offset(&self) -> usize {
        self.range.start
    }

    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Whether it is one of these arenas'.
    pub fn is_of(&self, arenas: &Arc<Arenas>) -> bool {
        Arc::ptr_eq(&self.arenas, arenas)
    }

    /// The bytes.
    ///
    /// # Panics
    /// In a forked child, where the memory is not mapped.
    pub fn as_slice(&self) -> &[u8] {
        self.assert_mapped();
        // SAFETY: the allocator has handed the range out to this chunk alone, this process alone writes the
        // segment, and the one writer (`Loan`) borrows the chunk exclusively.
        unsafe { self.memory.region().slice(self.range.clone()) }
    }

    fn assert_mapped(&self) {
        let is_here = self.memory.region().is_here();
        assert!(is_here, "a loan belongs to the process that took it, not to its forked child");
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // A forked child has no part in the arena, and nobody who would unlock a lock that was held as it was forked.
        if !self.memory.region().is_here() {
            return;
        }
        let Some(block) = self.block.take() else { return };
        self.arenas.take_back(&self.memory, block);
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Chunk({} bytes)", self.len())
    }
}

/// A chunk that is being written and that nobody else sees.
#[derive(Debug)]
pub struct Loan {
    pub(crate) chunk: Chunk,
}

impl Loan {
    pub(crate) fn new(chunk: Chunk) -> Self {
        Self { chunk }
    }

    /// The chunk can be shared now, and no longer written.
    pub fn freeze(self) -> Arc<Chunk> {
        Arc::new(self.chunk)
    }
}

impl Deref for Loan {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.chunk.as_slice()
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.chunk.assert_mapped();
        // SAFETY: as in `Chunk::as_slice`; the chunk was not shared yet, so that `&mut self` is the only way to it.
        unsafe { self.chunk.memory.region().slice_mut(self.chunk.range.clone()) }
    }
}

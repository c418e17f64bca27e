//! Which ranges of an arena are in use: numbers only, private to the process that writes the arena.
//!
//! A two-level segregated fit (M. Masmano et al., "TLSF: a New Dynamic Memory Allocator for Real-Time Systems", 2004):
//! free blocks hang in lists by size class, four classes to a power of two, and merge with free neighbours at once.
//! Allocating and freeing take constant time, and what was freed last is used first, while it is in the cache.

use std::ops::Range;

use crate::layout::GRANULE;

/// Size classes: four to each power of two of up to 2^32 granules.
const CLASSES: usize = 32 * SUBCLASSES;
const SUBCLASSES: usize = 4;
/// Blocks of the request's own class that are looked at: they may be too small by less than a quarter.
const LOOKS: usize = 8;
const NONE: u32 = u32::MAX;

/// The allocator of one arena.
#[derive(Debug)]
pub struct Allocator {
    nodes: Vec<Node>,
    /// Nodes that stand for no block.
    spare: Vec<u32>,
    /// The first free block of each class.
    first: [u32; CLASSES],
    /// Bit n set: class n has a free block.
    occupied: u128,
    used: usize,
}

/// A block, free or not; sizes and places in granules.
#[derive(Clone, Copy, Debug)]
struct Node {
    start: u32,
    size: u32,
    /// Neighbours in the arena.
    before: u32,
    after: u32,
    /// Neighbours in the list of the class, while it is free.
    previous: u32,
    next: u32,
    is_free: bool,
}

/// A block that is in use. It goes back by [`Allocator::free`], once.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    node: u32,
    start: usize,
    length: usize,
}

impl Block {
    /// Its bytes, offsets in the arena; it begins on a multiple of 64.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.length
    }
}

impl Allocator {
    /// An arena of `length` bytes, all free. What is left of the last 64 is not used.
    ///
    /// # Panics
    /// When it has more than 2^32 granules (256 GiB).
    pub fn new(length: usize) -> Self {
        let mut allocator = Self { nodes: Vec::new(), spare: Vec::new(), first: [NONE; CLASSES], occupied: 0, used: 0 };
        let size = u32::try_from(length / GRANULE).expect("an arena has at most 256 GiB");
        if size > 0 {
            let node = allocator.add(Node { start: 0, size, ..Node::EMPTY });
            allocator.put(node);
        }
        allocator
    }

    /// Bytes in use, rounded up to granules.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether there is room for so many bytes in one piece.
    pub fn has_room(&self, length: usize) -> bool {
        self.find(granules_of(length)).is_some()
    }

    /// A block of `length` bytes, or `None` when there is no room in one piece.
    pub fn allocate(&mut self, length: usize) -> Option<Block> {
        let wanted = granules_of(length);
        let node = self.find(wanted)?;
        self.take(node);
        let Node { start, size, after, .. } = self.nodes[node as usize];
        if size > wanted {
            let rest = Node { start: start + wanted, size: size - wanted, before: node, after, ..Node::EMPTY };
            let rest = self.add(rest);
            self.nodes[node as usize].size = wanted;
            self.nodes[node as usize].after = rest;
            if let Some(after) = self.node(after) {
                after.before = rest;
            }
            self.put(rest);
        }
        self.used += wanted as usize * GRANULE;
        Some(Block { node, start: start as usize * GRANULE, length })
    }

    /// Takes a block back.
    #[expect(clippy::needless_pass_by_value, reason = "a block goes back once")]
    pub fn free(&mut self, block: Block) {
        let mut node = block.node;
        self.used -= self.nodes[node as usize].size as usize * GRANULE;
        let Node { before, after, .. } = self.nodes[node as usize];
        if self.is_free(after) {
            self.take(after);
            self.merge(node, after);
        }
        if self.is_free(before) {
            self.take(before);
            self.merge(before, node);
            node = before;
        }
        self.put(node);
    }

    /// A free block of at least this size.
    fn find(&self, wanted: u32) -> Option<u32> {
        let class = class_of(wanted);
        let mut node = self.first[class];
        for _ in 0..LOOKS {
            if node == NONE {
                break;
            }
            if self.nodes[node as usize].size >= wanted {
                return Some(node);
            }
            node = self.nodes[node as usize].next;
        }
        // Every block of a higher class is large enough.
        let higher = self.occupied.checked_shr(u32::try_from(class).ok()? + 1)?;
        if higher == 0 {
            return None;
        }
        Some(self.first[class + 1 + higher.trailing_zeros() as usize])
    }

    /// Hangs a block into the list of its class.
    fn put(&mut self, node: u32) {
        let class = class_of(self.nodes[node as usize].size);
        let next = std::mem::replace(&mut self.first[class], node);
        let block = &mut self.nodes[node as usize];
        (block.is_free, block.previous, block.next) = (true, NONE, next);
        if let Some(next) = self.node(next) {
            next.previous = node;
        }
        self.occupied |= 1 << class;
    }

    /// Takes a free block out of its list.
    fn take(&mut self, node: u32) {
        let Node { size, previous, next, .. } = self.nodes[node as usize];
        let class = class_of(size);
        self.nodes[node as usize].is_free = false;
        if let Some(next) = self.node(next) {
            next.previous = previous;
        }
        match self.node(previous) {
            Some(previous) => previous.next = next,
            None => self.first[class] = next,
        }
        if self.first[class] == NONE {
            self.occupied &= !(1 << class);
        }
    }

    /// Makes one block of two neighbours that hang in no list.
    fn merge(&mut self, node: u32, after: u32) {
        let Node { size, after: beyond, .. } = self.nodes[after as usize];
        self.nodes[node as usize].size += size;
        self.nodes[node as usize].after = beyond;
        if let Some(beyond) = self.node(beyond) {
            beyond.before = node;
        }
        self.spare.push(after);
    }

    fn add(&mut self, node: Node) -> u32 {
        if let Some(number) = self.spare.pop() {
            self.nodes[number as usize] = node;
            return number;
        }
        self.nodes.push(node);
        // There are no more nodes than granules.
        u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
    }

    fn is_free(&self, node: u32) -> bool {
        self.nodes.get(node as usize).is_some_and(|node| node.is_free)
    }

    fn node(&mut self, node: u32) -> Option<&mut Node> {
        self.nodes.get_mut(node as usize)
    }
}

/// Granules that a block of so many bytes takes; what is too long for any arena is too long for this one.
fn granules_of(length: usize) -> u32 {
    u32::try_from(length.div_ceil(GRANULE).max(1)).unwrap_or(u32::MAX)
}

impl Node {
    const EMPTY: Self =
        Self { start: 0, size: 0, before: NONE, after: NONE, previous: NONE, next: NONE, is_free: false };
}

/// The class of a size: sizes of one class differ by less than a quarter.
fn class_of(size: u32) -> usize {
    let power = size.max(1).ilog2();
    let fraction = if power >= 2 { size >> (power - 2) } else { size << (2 - power) };
    power as usize * SUBCLASSES + (fraction as usize & (SUBCLASSES - 1))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Allocate(usize),
        Free(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let length = prop_oneof![1usize..300, 300usize..5_000, 5_000usize..70_000];
        let step = prop_oneof![3 => length.prop_map(Step::Allocate), 2 => any::<usize>().prop_map(Step::Free)];
        proptest::collection::vec(step, 1..400)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn blocks_never_overlap_and_everything_comes_back(steps in steps()) {
            const LENGTH: usize = 256 << 10;
            let mut allocator = Allocator::new(LENGTH);
            let mut out: Vec<Block> = Vec::new();
            for step in steps {
                match step {
                    Step::Allocate(length) => {
                        let Some(block) = allocator.allocate(length) else { continue };
                        let range = block.range();
                        prop_assert_eq!(range.len(), length);
                        prop_assert!(range.end <= LENGTH && range.start.is_multiple_of(GRANULE));
                        for other in &out {
                            let other = other.range();
                            prop_assert!(range.end <= other.start || other.end <= range.start);
                        }
                        out.push(block);
                    }
                    Step::Free(which) if !out.is_empty() => {
                        let block = out.swap_remove(which % out.len());
                        allocator.free(block);
                    }
                    Step::Free(_) => {}
                }
                let rounded: usize = out.iter().map(|block| block.length.next_multiple_of(GRANULE)).sum();
                prop_assert_eq!(allocator.used(), rounded);
            }
            out.into_iter().for_each(|block| allocator.free(block));
            prop_assert_eq!(allocator.used(), 0);
            let whole = allocator.allocate(LENGTH);
            prop_assert!(whole.is_some_and(|block| block.range() == (0..LENGTH)), "all pieces have merged");
        }
    }

    #[test]
    fn what_was_freed_last_is_used_first() {
        let mut allocator = Allocator::new(1 << 20);
        let first = allocator.allocate(1000).unwrap();
        let _second = allocator.allocate(1000).unwrap();
        let place = first.range();
        allocator.free(first);
        assert_eq!(allocator.allocate(1000).unwrap().range(), place);
    }

    #[test]
    fn an_arena_is_used_to_its_last_granule() {
        let mut allocator = Allocator::new(64 * 64);
        let blocks: Vec<_> = (0..64).map(|_| allocator.allocate(64).unwrap()).collect();
        assert!(allocator.allocate(1).is_none());
        assert_eq!(blocks.iter().map(|block| block.range().start).collect::<std::collections::HashSet<_>>().len(), 64);
    }

    #[test]
    fn an_empty_arena_has_no_room() {
        assert!(Allocator::new(63).allocate(0).is_none());
    }
}

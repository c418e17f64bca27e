//! Where a client's payloads are written: segments in which the sender alone allocates.

use std::sync::Arc;

use crate::allocator::{Allocator, Block};
use crate::chunk::{Chunk, Loan};
use crate::segment::OwnSegment;
use crate::sentinel::is_forked_child;
use crate::sync::Mutex;

/// Bytes of the first shared arena. (An interpreter would take minutes for that much memory, all of it the same.)
const ARENA: usize = if cfg!(miri) { 64 << 10 } else { 4 << 20 };
/// Sizes of the first shared arenas; later ones are as large as the last: who needs many soon has enough.
const SHARED: [usize; 3] = [ARENA, 4 * ARENA, 16 * ARENA];
/// A shared arena that is to be the rest of what a client may have is a multiple of this.
const SHARED_REST: usize = ARENA / 16;
/// Payloads up to this size share arenas; larger ones get segments of their own.
const SHARED_MAX: usize = ARENA / 2;
/// Segments for one payload are multiples of this.
const LARGE_STEP: usize = ARENA / 2;

/// All arenas of one lane.
#[derive(Debug, Default)]
pub struct Arenas {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    segments: Vec<Entry>,
    /// Pieces that were given back, in all.
    returned: u64,
    /// The lane has ended: nothing is handed out any more, because the broker can no longer say what is still read.
    abandoned: bool,
}

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArenaKind {
    /// Many payloads.
    Shared,
    /// One large payload at a time.
    Large,
}

#[derive(Debug)]
struct Entry {
    number: u32,
    kind: ArenaKind,
    memory: Arc<OwnSegment>,
    allocator: Allocator,
    /// Counts the calls since something of it was last in use.
    idle: u32,
}

impl ArenaKind {
    /// Whether a payload of `length` bytes belongs into a segment of this kind that has `whole`: a small one does not
    /// spoil the segment of a large one, nor a large one that of a much larger one.
    pub fn suits(self, whole: usize, length: usize) -> bool {
        match self {
            Self::Shared => length <= SHARED_MAX,
            Self::Large => length > SHARED_MAX && whole >= length && whole / 2 <= length,
        }
    }
}

impl Entry {
    fn suits(&self, length: usize) -> bool {
        self.kind.suits(self.memory.length(), length)
    }
}

/// Calls of [`Arenas::idle`] after which an unused segment is given up.
const IDLE_LOOKS: u32 = 10;

impl Arenas {
    /// No segment yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What to ask the broker for when there is no room for a payload of `length` bytes, of whose memory `left` bytes are
    /// left: bytes of the segment, and its kind. These may be more than are left.
    pub fn wanted(&self, length: usize, left: usize) -> (usize, ArenaKind) {
        if length > SHARED_MAX {
            return (length.next_multiple_of(LARGE_STEP), ArenaKind::Large);
        }
        let state = self.state.lock();
        let shared = state.segments.iter().filter(|entry| entry.kind == ArenaKind::Shared).count();
        let step = SHARED[shared.min(SHARED.len() - 1)];
        // The rest is better than none.
        let rest = left / SHARED_REST * SHARED_REST;
        (if rest >= length.max(SHARED_REST) { step.min(rest) } else { step }, ArenaKind::Shared)
    }

    /// Adds a segment under the number by which the broker knows it. After the end of the lane it is dropped.
    pub fn add(&self, number: u32, memory: OwnSegment, kind: ArenaKind) {
        let allocator = Allocator::new(memory.length());
        let mut state = self.state.lock();
        if !state.abandoned {
            state.segments.push(Entry { number, kind, memory: Arc::new(memory), allocator, idle: 0 });
        }
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> usize {
        self.state.lock().segments.iter().map(|entry| entry.memory.length()).sum()
    }

    /// Bytes that are in use, of all segments: loans, and payloads that have not come back.
    pub fn used(&self) -> usize {
        self.state.lock().segments.iter().map(|entry| entry.allocator.used()).sum()
    }

    /// Pieces that were given back so far: loans that were dropped, and payloads that nobody reads any more.
    pub fn returned(&self) -> u64 {
        self.state.lock().returned
    }

    /// Memory for a payload of `length` bytes, or `None` when there is no room.
    pub fn loan(self: &Arc<Self>, length: usize) -> Option<Loan> {
        // Before the lock, which another thread of the parent may have held as this process was forked.
        if is_forked_child() {
            return None;
        }
        let mut state = self.state.lock();
        if state.abandoned {
            return None;
        }
        let (entry, block) = state.segments.iter_mut().find_map(|entry| {
            let is_usable = entry.suits(length) && entry.memory.region().is_here();
            let block = if is_usable { entry.allocator.allocate(length) } else { None };
            Some((entry, block?))
        })?;
        entry.idle = 0;
        Some(Loan::new(Chunk::new(self, &entry.memory, entry.number, block)))
    }

    /// A piece is no longer used.
    pub(crate) fn take_back(&self, memory: &Arc<OwnSegment>, block: Block) {
        let mut state = self.state.lock();
        state.returned += 1;
        if let Some(entry) = state.segments.iter_mut().find(|entry| Arc::ptr_eq(&entry.memory, memory)) {
            entry.allocator.free(block);
        }
    }

    /// Whether the next payload of `length` bytes may find no room: then it is time to ask for another segment.
    pub fn is_short_of(&self, length: usize) -> bool {
        let state = self.state.lock();
        let (mut whole, mut used, mut has_room) = (0, 0, false);
        for entry in state.segments.iter().filter(|entry| entry.suits(length)) {
            whole += entry.memory.length();
            used += entry.allocator.used();
            // Rests of several segments are no room.
            has_room |= entry.allocator.has_room(length);
        }
        // A quarter, and one more of them.
        !has_room || whole - used < length.max(whole / 4)
    }

    /// Takes out segments of which nothing has been in use for a call of [`idle`](Self::idle) and that do not suit a payload
    /// of `length` bytes; the caller tells the broker.
    pub fn unsuitable(&self, length: usize) -> Vec<u32> {
        let mut state = self.state.lock();
        let mut given_up = Vec::new();
        state.segments.retain(|entry| {
            let stays = entry.allocator.used() > 0 || entry.idle == 0 || entry.suits(length);
            if !stays {
                given_up.push(entry.number);
            }
            stays
        });
        given_up
    }

    /// Takes out segments of which nothing has been in use for some calls; the caller tells the broker. The first two
    /// shared ones stay.
    pub fn idle(&self) -> Vec<u32> {
        let mut state = self.state.lock();
        let mut given_up = Vec::new();
        let mut shared = 0;
        state.segments.retain_mut(|entry| {
            // The first ones are the smallest.
            shared += usize::from(entry.kind == ArenaKind::Shared);
            let may_go = entry.kind == ArenaKind::Large || shared > 2;
            entry.idle = if entry.allocator.used() > 0 { 0 } else { entry.idle + 1 };
            let stays = !may_go || entry.idle <= IDLE_LOOKS;
            if !stays {
                given_up.push(entry.number);
            }
            stays
        });
        given_up
    }

    /// The lane has ended. Loans and payloads that are out stay valid; nothing is handed out any more.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        state.abandoned = true;
        state.segments.clear();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn arenas(lengths: &[usize]) -> Arc<Arenas> {
        let arenas = Arenas::new();
        for (number, length) in (0..).zip(lengths) {
            let kind = if *length == ARENA { ArenaKind::Shared } else { ArenaKind::Large };
            arenas.add(number, OwnSegment::on_heap(*length).0, kind);
        }
        arenas
    }

    #[test]
    fn a_loan_is_written_shared_and_given_back() {
        let arenas = arenas(&[ARENA]);
        let mut loan = arenas.loan(1000).unwrap();
        loan.copy_from_slice(&[7; 1000]);
        let chunk = loan.freeze();
        let place = chunk.offset();
        assert_eq!(chunk.as_slice(), [7; 1000]);
        let other = arenas.loan(1000).unwrap();
        assert_ne!(other.chunk.offset(), place);
        assert_eq!(arenas.returned(), 0);
        drop(chunk);
        assert_eq!(arenas.returned(), 1);
        assert_eq!(arenas.loan(1000).unwrap().chunk.offset(), place);
    }

    #[test]
    fn large_payloads_have_segments_of_their_own() {
        let arenas = arenas(&[ARENA, 2 * ARENA]);
        let large = arenas.loan(2 * ARENA).unwrap();
        assert_eq!(large.chunk.segment(), 1);
        assert!(arenas.loan(2 * ARENA).is_none());
        assert_eq!(arenas.loan(100).unwrap().chunk.segment(), 0);
        drop(large);
        assert!(arenas.loan(100).is_some_and(|small| small.chunk.segment() == 0));
        assert!(arenas.loan(ARENA + 1).is_some_and(|large| large.chunk.segment() == 1));
        assert_eq!(arenas.wanted(SHARED_MAX, usize::MAX), (SHARED[1], ArenaKind::Shared));
        assert_eq!(arenas.wanted(SHARED_MAX, 3 * ARENA + 1), (3 * ARENA, ArenaKind::Shared), "the rest");
        assert_eq!(arenas.wanted(SHARED_MAX, SHARED_MAX - 1), (SHARED[1], ArenaKind::Shared), "it would not fit");
        assert_eq!(arenas.wanted(SHARED_MAX + 1, usize::MAX), (SHARED_MAX + LARGE_STEP, ArenaKind::Large));
    }

    #[test]
    fn an_abandoned_arena_hands_out_nothing_and_keeps_what_is_out() {
        let arenas = arenas(&[ARENA]);
        let mut loan = arenas.loan(64).unwrap();
        arenas.abandon();
        assert!(arenas.loan(64).is_none());
        loan[0] = 5;
        assert_eq!(loan[0], 5);
    }

    #[test]
    fn another_segment_is_wanted_before_the_last_is_full() {
        let shared = arenas(&[ARENA]);
        let most = shared.loan(ARENA / 2).unwrap();
        assert!(!shared.is_short_of(ARENA / 4));
        let _rest = shared.loan(ARENA / 4 + 64).unwrap();
        assert!(shared.is_short_of(64));
        drop(most);
        assert!(!shared.is_short_of(64));
        let large = arenas(&[2 * ARENA, 2 * ARENA]);
        let _one = large.loan(2 * ARENA).unwrap();
        assert!(!large.is_short_of(2 * ARENA));
        let _other = large.loan(2 * ARENA).unwrap();
        assert!(large.is_short_of(2 * ARENA));
    }

    #[test]
    fn the_rests_of_several_segments_are_no_room() {
        let large = arenas(&[2 * ARENA, 2 * ARENA]);
        // Of each a third is left.
        let length = ARENA / 3 * 4;
        let _one = large.loan(length).unwrap();
        assert!(!large.is_short_of(length));
        let _other = large.loan(length).unwrap();
        assert!(large.is_short_of(length));
        assert!(large.loan(length).is_none());
    }

    #[test]
    fn segments_out_of_use_are_given_up_but_for_two_shared_ones() {
        let arenas = arenas(&[ARENA, 2 * ARENA, 2 * ARENA, ARENA, ARENA, ARENA]);
        let large = arenas.loan(2 * ARENA).unwrap();
        let mut given_up = Vec::new();
        for _ in 0..3 * IDLE_LOOKS {
            given_up.extend(arenas.idle());
        }
        assert_eq!(given_up, [2, 4, 5]);
        drop(large);
        assert_eq!(arenas.bytes(), 4 * ARENA);
    }

    #[test]
    fn what_payloads_of_another_size_have_left_behind_is_given_up_for_want_of_room() {
        let arenas = arenas(&[ARENA, 2 * ARENA, 2 * ARENA]);
        let large = arenas.loan(2 * ARENA).unwrap();
        assert_eq!(arenas.unsuitable(100), [], "it was in use just now");
        arenas.idle();
        assert_eq!(arenas.unsuitable(100), [2]);
        assert_eq!(arenas.unsuitable(2 * ARENA), [0]);
        drop(large);
        assert_eq!(arenas.bytes(), 2 * ARENA);
    }
}

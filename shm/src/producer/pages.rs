//! How much of its ring a producer uses.

use super::Producer;
use crate::layout::{GRANULE, PAGE, RING};
use crate::memory::{OwnMemory, PeerMemory};
use crate::violation::Violation;

/// A ring of which this fraction has pages may do without more.
const SMALLEST_FRACTION: u64 = 8;
/// A consumer that has more than this fraction of them to read is late.
const CLOSE_FRACTION: u64 = 2;

impl<O: OwnMemory, P: PeerMemory> Producer<O, P> {
    /// Looks for room that the consumer has made, and for pages that the ring has not got yet. Says how many bytes from
    /// the tail on the record needs.
    #[inline(never)]
    pub(super) fn make_room(&mut self, length: usize) -> Result<Option<u64>, Violation> {
        let need = self.need(length);
        let wants_pages = need == length as u64 && self.tail + need > self.pages_end();
        if wants_pages || !self.has_room(need) {
            self.look_at_head()?;
            if !self.has_room(need) {
                self.was_full = true;
                return Ok(None);
            }
        }
        if wants_pages {
            return self.find_pages(length).map(Some);
        }
        self.set_end();
        Ok(Some(need))
    }

    /// Begins again where the ring begins, if the consumer is close behind and always was, and what the ring carries are
    /// many frames in few bytes: it has as many pages as its consumer has been late, not as many as it could have, and
    /// there is room for more frames than in all of a ring that holds their payloads. Otherwise it gets more, in steps that
    /// double.
    #[cold]
    fn find_pages(&mut self, length: usize) -> Result<u64, Violation> {
        let again = self.capacity.to_end(self.tail) + length as u64;
        let most = self.capacity.bytes();
        let is_close = self.unread() <= self.prepared / CLOSE_FRACTION;
        let is_enough = self.prepared >= (most / SMALLEST_FRACTION).max((length + GRANULE) as u64);
        let is_dense = self.dense >= self.capacity.in_ring(self.tail) / 4 * 3;
        let may_begin_again = is_enough && self.has_room(again);
        if may_begin_again && is_close && is_dense && !self.was_full {
            return Ok(again);
        }
        let up_to = (self.capacity.in_ring(self.tail) + (length + GRANULE) as u64).max(2 * self.prepared);
        let up_to = up_to.next_multiple_of(PAGE as u64).min(most);
        let place = |offset: u64| usize::try_from(offset).map_or(usize::MAX, |offset| RING + offset);
        if !self.own.prepare(place(self.prepared)..place(up_to)) {
            // No more pages are no end of it while those that there are suffice.
            return if may_begin_again { Ok(again) } else { Err(Violation::Memory) };
        }
        self.prepared = up_to;
        self.set_end();
        Ok(length as u64)
    }

    #[inline]
    pub(super) fn set_end(&mut self) {
        self.end = self.pages_end().min(self.head + self.capacity.bytes());
    }

    /// Up to here there are pages in the lap that the tail is in, and room for a PAD behind that.
    #[inline]
    fn pages_end(&self) -> u64 {
        if self.prepared == self.capacity.bytes() {
            return u64::MAX;
        }
        let lap = self.tail - self.capacity.in_ring(self.tail);
        lap + self.prepared.saturating_sub(GRANULE as u64)
    }
}

//! What the broker writes once for several receivers: small frames that differ only in their payloads.
//!
//! Payloads that lie in their sender's arena are handed to all receivers in place. Small ones come through the sender's
//! ring, and would be copied into the ring of each receiver. The broker writes them into a segment of its own instead,
//! and each receiver's record says where; who has not mapped it, or holds much of it, gets copies.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use busway_shm::layout::{MAX_PLACED_RUN, PAGE};
use busway_shm::{OwnMemory, OwnSegment, fitting};
use parking_lot::Mutex;

use super::account::Segment;
use super::budget::Cost;
use super::host::LaneHost;

/// Runs that may be out at once.
const CHUNKS: u32 = 256;
/// Of these, runs that one receiver may hold.
pub(super) const CHUNKS_OF_ONE: u32 = CHUNKS / 2;
/// It is at most this fraction of the shared memory that its user may have.
const SHARE: u64 = 16;
/// Bytes of a run for which the way there and back is worth it.
const LEAST: usize = 512;

/// A segment in which the broker writes what senders of one user send.
pub(crate) struct CommonArena {
    segment: Arc<Segment>,
    memory: OwnSegment,
    free: Mutex<Free>,
}

/// Chunks that may be written.
#[derive(Debug, Default)]
struct Free {
    /// Those that have come back; the last has the best chance to be in a cache.
    chunks: Vec<u32>,
    /// Those from here on have never been used, and have no pages.
    unused: u32,
}

/// Payloads that were written once. Dropping the last share of them makes room for others.
pub(crate) struct CommonRun {
    arena: Arc<CommonArena>,
    chunk: u32,
    /// How many payloads there are.
    pub(super) frames: usize,
    /// Bytes of them, and of their lengths.
    pub(super) bytes: usize,
}

impl CommonArena {
    pub(super) fn new(host: &LaneHost, user: u32) -> Option<Arc<Self>> {
        let length = CHUNKS as usize * MAX_PLACED_RUN;
        // Where memory is scarce lanes go before.
        if host.budget.user_bytes() / SHARE < length as u64 || host.budget.is_scarce() {
            return None;
        }
        let cost = Cost { descriptors: 1, mappings: 1, bytes: length as u64 };
        let spent = host.budget.spend(user, cost).ok()?;
        let made = OwnSegment::create_sparse(c"busway-common", length, PAGE, length);
        let (memory, descriptor): (_, OwnedFd) =
            made.inspect_err(|error| tracing::debug!("no common arena: {error}")).ok()?;
        let number = host.next_segment();
        let segment = Arc::new(Segment { number, length, descriptor, owner: user, _spent: spent, _counted: None });
        Some(Arc::new(Self { segment, memory, free: Mutex::default() }))
    }

    /// For those who are to read it.
    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Writes the first of these payloads, as many as go together; `None` when that is not worth it, or there is no room.
    pub(super) fn write<'a>(
        self: &Arc<Self>,
        payloads: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<Arc<CommonRun>> {
        let (frames, bytes) = fitting(payloads.clone(), MAX_PLACED_RUN);
        if frames < 2 || bytes < LEAST {
            return None;
        }
        let chunk = self.take_chunk()?;
        self.memory.write_run(start_of(chunk), bytes, &[], [], payloads.take(frames));
        Some(Arc::new(CommonRun { arena: Arc::clone(self), chunk, frames, bytes }))
    }

    fn take_chunk(&self) -> Option<u32> {
        let mut free = self.free.lock();
        if let Some(chunk) = free.chunks.pop() {
            return Some(chunk);
        }
        let chunk = free.unused;
        if chunk == CHUNKS || !self.memory.prepare(start_of(chunk)..start_of(chunk + 1)) {
            return None;
        }
        free.unused += 1;
        Some(chunk)
    }
}

impl fmt::Debug for CommonArena {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CommonArena").field("segment", &self.segment.number).finish_non_exhaustive()
    }
}

impl CommonRun {
    /// Where in the segment it begins.
    pub(super) fn offset(&self) -> usize {
        start_of(self.chunk)
    }
}

impl Drop for CommonRun {
    fn drop(&mut self) {
        self.arena.free.lock().chunks.push(self.chunk);
    }
}

fn start_of(chunk: u32) -> usize {
    chunk as usize * MAX_PLACED_RUN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::BrokerOptions;

    const USER: u32 = 7;
    const PAYLOAD: [u8; 64] = [5; 64];

    fn arena() -> Arc<CommonArena> {
        LaneHost::new(BrokerOptions::default()).common_arena(USER).unwrap()
    }

    #[test]
    fn where_memory_is_scarce_there_is_none() {
        let arena_of = |mebibytes: u64| {
            let bytes = Some(mebibytes << 20);
            LaneHost::new(BrokerOptions { bytes, ..BrokerOptions::default() }).common_arena(USER)
        };
        assert!(arena_of(8).is_none());
        assert!(arena_of(128).is_some());
    }

    #[test]
    fn where_nobody_reads_what_others_write_there_is_none() {
        let options = BrokerOptions { trust: crate::ShmTrust::None, ..BrokerOptions::default() };
        assert!(LaneHost::new(options).common_arena(USER).is_none());
    }

    #[test]
    fn as_many_payloads_go_together_as_a_run_holds() {
        let arena = arena();
        let run = arena.write(std::iter::repeat_n(&PAYLOAD[..], 1000)).unwrap();
        assert_eq!((run.frames, run.bytes), (MAX_PLACED_RUN / 72, MAX_PLACED_RUN / 72 * 72));
        let few = arena.write(std::iter::repeat_n(&PAYLOAD[..], 8)).unwrap();
        assert_eq!((few.frames, few.bytes, few.offset() % PAGE), (8, 8 * 72, 0));
        assert_ne!(run.offset(), few.offset());
        assert!(arena.write(std::iter::repeat_n(&PAYLOAD[..], 7)).is_none(), "too few to be worth it");
        assert!(arena.write([&[0; LEAST][..]].into_iter()).is_none(), "one is no run");
        assert!(arena.write([&[0; MAX_PLACED_RUN][..], &[0; MAX_PLACED_RUN]].into_iter()).is_none());
    }

    #[test]
    fn what_is_out_is_not_written_again_and_what_came_back_is() {
        let arena = arena();
        let write = || arena.write(std::iter::repeat_n(&PAYLOAD[..], 32));
        let mut runs: Vec<_> = (0..CHUNKS).map(|_| write().unwrap()).collect();
        assert!(write().is_none());
        let mut places: Vec<_> = runs.iter().map(|run| run.offset()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), CHUNKS as usize);
        let (shared, place) = (Arc::clone(&runs[9]), runs.remove(9).offset());
        assert!(write().is_none(), "somebody else has it");
        drop(shared);
        assert_eq!(write().unwrap().offset(), place);
    }

    #[test]
    fn an_arena_lasts_as_long_as_somebody_has_it_and_is_one_for_each_user() {
        let host = LaneHost::new(BrokerOptions::default());
        let first = host.common_arena(USER).unwrap();
        assert!(Arc::ptr_eq(&first, &host.common_arena(USER).unwrap()));
        assert_ne!(first.segment().number, host.common_arena(USER + 1).unwrap().segment().number);
        let (number, before) = (first.segment().number, host.budget.used());
        let run = first.write(std::iter::repeat_n(&PAYLOAD[..], 32)).unwrap();
        drop(first);
        assert_eq!(host.common_arena(USER).unwrap().segment().number, number, "what is out keeps it");
        drop(run);
        assert_ne!(host.budget.used(), before);
        assert_ne!(host.common_arena(USER).unwrap().segment().number, number);
    }
}

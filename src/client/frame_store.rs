//! What waits in a receive queue.

use super::block_queue::BlockQueue;
use super::frame_batch::FrameBatch;
use crate::frame::Frame;
use crate::policy::{PolicyQueue, SlowPolicy};

/// Frames in the order of their arrival, each with what was dropped just before it. Where nobody has asked for a
/// policy, whole batches are taken as they come.
#[derive(Debug)]
pub(super) struct FrameStore {
    limits: (usize, usize),
    plain: BlockQueue<Frame>,
    plain_bytes: usize,
    /// Frames that were dropped behind the last one.
    last_gap: u64,
    /// Takes the place of the rest as soon as there is a policy.
    ruled: Option<Box<PolicyQueue<Frame>>>,
}

impl FrameStore {
    /// With room for `frames` frames and `bytes` bytes; an empty one takes any frame.
    pub(super) fn new(frames: usize, bytes: usize) -> Self {
        let limits = (frames.max(1), bytes.max(1));
        Self { limits, plain: BlockQueue::new(), plain_bytes: 0, last_gap: 0, ruled: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frames that wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.ruled.as_ref().map_or(self.plain.len(), |ruled| ruled.len())
    }

    /// Bytes that wait.
    #[inline]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.ruled.as_ref().map_or(self.plain_bytes, |ruled| ruled.waiting_bytes())
    }

    /// Whether a limit is reached.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.limits.0 || self.waiting_bytes() >= self.limits.1
    }

    /// For how many frames there is room, whatever their bytes.
    #[cfg(feature = "shm")]
    pub(super) fn room(&self) -> usize {
        self.limits.0.saturating_sub(self.len())
    }

    /// Whether there is room for a frame: a payload in shared memory needs none.
    #[inline]
    pub(super) fn has_room(&self, frame: &Frame) -> bool {
        self.len() < self.limits.0 && (self.waiting_bytes() < self.limits.1 || frame.payload.is_in_place())
    }

    /// Whether no frame of a batch would find a limit reached.
    pub(super) fn has_room_for(&self, batch: &FrameBatch) -> bool {
        self.len() + batch.frames.len() <= self.limits.0 && self.waiting_bytes() + batch.weight < self.limits.1
    }

    /// Takes all of a batch, limits or not.
    pub(super) fn append_batch(&mut self, batch: &mut FrameBatch) {
        if self.ruled.is_some() {
            batch.frames.drain(..).for_each(|frame| self.append(frame));
        } else if let Some(first) = batch.frames.front_mut() {
            first.lose_before(std::mem::take(&mut self.last_gap));
            self.plain_bytes += batch.weight;
            self.plain.append(&mut batch.frames);
        }
    }

    /// Takes a frame, limits or not, that is dropped for no other.
    #[inline]
    pub(super) fn append(&mut self, mut frame: Frame) {
        if let Some(ruled) = &mut self.ruled {
            ruled.add_gap(frame.take_lost_before());
            ruled.append(frame, SlowPolicy::DropNewest);
        } else {
            frame.lose_before(std::mem::take(&mut self.last_gap));
            self.plain_bytes += frame.payload.weight();
            self.plain.push(frame);
        }
    }

    /// All that waits, where policies can be applied to it.
    pub(super) fn ruled(&mut self) -> &mut PolicyQueue<Frame> {
        self.ruled.get_or_insert_with(|| {
            let mut ruled = PolicyQueue::new(self.limits.0, self.limits.1);
            while let Some(mut frame) = self.plain.pop() {
                ruled.add_gap(frame.take_lost_before());
                ruled.append(frame, SlowPolicy::DropNewest);
            }
            ruled.add_gap(std::mem::take(&mut self.last_gap));
            (self.plain, self.plain_bytes) = (BlockQueue::new(), 0);
            Box::new(ruled)
        })
    }

    /// Remembers frames that were dropped behind the last one.
    #[inline]
    pub(super) fn add_gap(&mut self, frames: u64) {
        match &mut self.ruled {
            None => self.last_gap += frames,
            Some(ruled) => ruled.add_gap(frames),
        }
    }

    /// The next frame.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Frame> {
        if self.ruled.is_some() {
            return self.pop_ruled();
        }
        let frame = self.plain.pop();
        if let Some(frame) = &frame {
            self.plain_bytes -= frame.payload.weight();
        }
        frame
    }

    #[cold]
    fn pop_ruled(&mut self) -> Option<Frame> {
        let (mut frame, gap) = self.ruled.as_mut()?.pop()?;
        frame.lose_before(gap);
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use busway_net::wire::FrameKind;

    use super::*;
    use crate::frame_names::FrameNames;

    fn frame(number: u8, lost_before: u64) -> Frame {
        let names = Arc::new(FrameNames { sender: "s".into(), topic: None });
        let payload = [number; 10].as_slice().into();
        let mut frame = Frame::new(FrameKind::Message, false, names, payload);
        frame.lose_before(lost_before);
        frame
    }

    fn batch(frames: impl IntoIterator<Item = Frame>) -> FrameBatch {
        let mut batch = FrameBatch::default();
        frames.into_iter().for_each(|frame| batch.push(frame));
        batch
    }

    fn drain(store: &mut FrameStore) -> Vec<(u8, u64)> {
        let taken = std::iter::from_fn(|| store.pop()).map(|frame| (frame.payload[0], frame.lost_before())).collect();
        assert_eq!((store.len(), store.waiting_bytes()), (0, 0));
        taken
    }

    #[test]
    fn gaps_stay_where_they_were_in_batches_and_when_a_policy_comes() {
        for is_ruled in [false, true] {
            let mut store = FrameStore::new(100, 1000);
            store.add_gap(2);
            store.append_batch(&mut batch([frame(0, 0), frame(1, 3)]));
            store.append(frame(2, 1));
            store.add_gap(4);
            if is_ruled {
                store.ruled();
            }
            store.append(frame(3, 0));
            store.append_batch(&mut batch([frame(4, 5), frame(5, 0)]));
            assert_eq!((store.len(), store.waiting_bytes()), (6, 60));
            assert_eq!(drain(&mut store), [(0, 2), (1, 3), (2, 1), (3, 4), (4, 5), (5, 0)], "ruled: {is_ruled}");
        }
    }

    #[test]
    fn a_batch_has_room_when_each_of_its_frames_has() {
        let mut store = FrameStore::new(3, 25);
        assert!(store.has_room_for(&batch([frame(0, 0), frame(1, 0)])));
        assert!(!store.has_room_for(&batch([frame(0, 0), frame(1, 0), frame(2, 0)])), "bytes");
        store.append(frame(0, 0));
        store.append(frame(1, 0));
        assert!(!store.is_full());
        store.append(frame(2, 0));
        assert!(store.is_full());
    }

    #[cfg(feature = "shm")]
    #[test]
    fn a_payload_in_shared_memory_has_room_as_long_as_there_is_any_for_frames() {
        struct Place;

        impl crate::payload::InPlace for Place {
            fn as_slice(&self) -> &[u8] {
                b"elsewhere"
            }
        }

        let in_place = || {
            let mut in_place = frame(0, 0);
            in_place.payload = crate::payload::Payload::in_place(Arc::new(Place));
            in_place
        };
        let mut empty = frame(0, 0);
        empty.payload = [].as_slice().into();
        let mut store = FrameStore::new(4, 10);
        store.append(frame(0, 0));
        assert!(store.is_full() && !store.has_room(&frame(1, 0)) && !store.has_room(&empty));
        for _ in 0..3 {
            assert!(store.has_room(&in_place()) && !store.has_room_for(&batch([in_place()])), "but not unseen");
            store.append(in_place());
        }
        assert!(!store.has_room(&in_place()));
    }
}

//! A bounded queue that knows what to drop.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::SlowPolicy;

/// What can wait in such a queue.
pub(crate) trait Queued {
    /// The topic of a publication.
    fn topic(&self) -> Option<&Arc<str>>;

    /// Bytes that it holds.
    fn weight(&self) -> usize;
}

/// A queue that takes frames while it is below both of its limits; an empty one takes any frame. What is dropped
/// leaves a gap, which is told to whoever takes the frame after it.
#[derive(Debug)]
pub(crate) struct PolicyQueue<T> {
    entries: VecDeque<Entry<T>>,
    frames: usize,
    bytes: usize,
    waiting_bytes: usize,
    /// Frames that were dropped behind the last one.
    last_gap: u64,
    next_number: u64,
    /// Entries that may be dropped for newer ones, and a number before which there is none: what must be kept is not
    /// looked through for each frame.
    droppable: usize,
    first_droppable: u64,
    /// The entries of which newer publications take the place.
    latest: HashMap<Arc<str>, u64, RandomState>,
}

#[derive(Debug)]
struct Entry<T> {
    /// In the order of the queue.
    number: u64,
    /// Frames that were dropped just before it.
    gap: u64,
    may_drop: bool,
    item: T,
}

/// What became of a frame.
#[derive(Debug)]
pub(crate) enum Pushed<T> {
    /// It waits; so many older ones were dropped for it.
    Taken { dropped: u64 },
    /// It was dropped, and before it so many older ones, which did not make enough room.
    Dropped { older: u64 },
    /// There is no room for it, and nothing was dropped.
    Full(T),
}

impl<T: Queued> PolicyQueue<T> {
    /// With room for `frames` frames and `bytes` bytes.
    pub(crate) fn new(frames: usize, bytes: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            frames: frames.max(1),
            bytes: bytes.max(1),
            waiting_bytes: 0,
            last_gap: 0,
            next_number: 0,
            droppable: 0,
            first_droppable: 0,
            latest: HashMap::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a limit is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.frames || self.waiting_bytes >= self.bytes
    }

    /// Whether a frame waits that may be dropped for another.
    pub(crate) fn has_droppable(&self) -> bool {
        self.droppable > 0
    }

    /// Frames that wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Takes a frame, or does with it and with what waits what the policy says.
    pub(crate) fn push(&mut self, item: T, policy: SlowPolicy) -> Pushed<T> {
        let mut dropped = 0;
        if policy == SlowPolicy::Latest
            && let Some(topic) = item.topic()
            && let Some(number) = self.latest.get(topic)
            && let Ok(index) = self.entries.binary_search_by_key(number, |entry| entry.number)
        {
            let entry = &mut self.entries[index];
            let before = entry.item.weight();
            let after = self.waiting_bytes - before + item.weight();
            if item.weight() <= before || after <= self.bytes {
                self.waiting_bytes = after;
                entry.item = item;
                entry.gap += 1;
                return Pushed::Taken { dropped: 1 };
            }
            // There is no room for it in this place: it waits at the end, where others make room.
            self.drop_at(index);
            dropped = 1;
        }
        while self.is_full() {
            match policy {
                SlowPolicy::Wait(_) => return Pushed::Full(item),
                SlowPolicy::Cut => {
                    // Who agreed to lose some is not cut for another while there are any.
                    let Some(index) = self.oldest_droppable() else {
                        return if dropped == 0 { Pushed::Full(item) } else { self.refuse(dropped) };
                    };
                    self.drop_at(index);
                    dropped += 1;
                }
                SlowPolicy::DropNewest => return self.refuse(dropped),
                SlowPolicy::DropOldest | SlowPolicy::Latest => {
                    // What others asked to be kept is.
                    let Some(index) = self.oldest_droppable() else {
                        return self.refuse(dropped);
                    };
                    self.drop_at(index);
                    dropped += 1;
                }
            }
        }
        self.append(item, policy);
        Pushed::Taken { dropped }
    }

    /// Takes a frame, limits or not.
    #[inline]
    pub(crate) fn append(&mut self, item: T, policy: SlowPolicy) {
        let number = self.next_number;
        self.next_number += 1;
        if policy == SlowPolicy::Latest
            && let Some(topic) = item.topic()
        {
            self.latest.insert(Arc::clone(topic), number);
        } else if !self.latest.is_empty()
            && let Some(topic) = item.topic()
        {
            // A later one must not take the place of one before this.
            self.latest.remove(topic);
        }
        self.waiting_bytes += item.weight();
        let gap = std::mem::take(&mut self.last_gap);
        if policy.may_drop_waiting() {
            self.droppable += 1;
        }
        self.entries.push_back(Entry { number, gap, may_drop: policy.may_drop_waiting(), item });
    }

    /// Remembers frames that were dropped behind the last one.
    pub(crate) fn add_gap(&mut self, frames: u64) {
        self.last_gap += frames;
    }

    /// Frames that were dropped behind the last one, for who has taken that.
    pub(crate) fn take_last_gap(&mut self) -> u64 {
        std::mem::take(&mut self.last_gap)
    }

    /// The next frame.
    pub(crate) fn front(&self) -> Option<&T> {
        self.entries.front().map(|entry| &entry.item)
    }

    /// How many were dropped just before the next frame; the answer is given once.
    pub(crate) fn take_gap(&mut self) -> u64 {
        self.entries.front_mut().map_or(0, |entry| std::mem::take(&mut entry.gap))
    }

    /// The next frame, and how many were dropped just before it.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(T, u64)> {
        let entry = self.entries.pop_front()?;
        self.forget(&entry);
        Some((entry.item, entry.gap))
    }

    /// Where the oldest entry is that may be dropped.
    fn oldest_droppable(&mut self) -> Option<usize> {
        if self.droppable == 0 {
            return None;
        }
        let begin = self.entries.partition_point(|entry| entry.number < self.first_droppable);
        let index = begin + self.entries.range(begin..).position(|entry| entry.may_drop)?;
        self.first_droppable = self.entries[index].number;
        Some(index)
    }

    fn refuse(&mut self, older: u64) -> Pushed<T> {
        self.last_gap += 1;
        Pushed::Dropped { older }
    }

    fn drop_at(&mut self, index: usize) {
        let Some(entry) = self.entries.remove(index) else { return };
        self.forget(&entry);
        let gap = self.entries.get_mut(index).map_or(&mut self.last_gap, |next| &mut next.gap);
        *gap += entry.gap + 1;
    }

    #[inline]
    fn forget(&mut self, entry: &Entry<T>) {
        self.waiting_bytes -= entry.item.weight();
        self.droppable -= usize::from(entry.may_drop);
        if entry.may_drop
            && let Some(topic) = entry.item.topic()
            && self.latest.get(topic) == Some(&entry.number)
        {
            self.latest.remove(topic);
        }
    }
}

#[cfg(test)]
mod tests;

//! Records that hold the payloads of several frames.

use super::{Producer, short_half};
use crate::layout::{Descriptor, GRANULE, Head, MAX_RUN, flag};
use crate::memory::{OwnMemory, PeerMemory};
use crate::ring::{Parts, padded, run_length};
use crate::run::fitting;
use crate::violation::Violation;

/// Bytes of a record that stays open for more: its reader does not begin before it is closed.
const OPEN_RUN: usize = 2 << 10;

/// The record at the tail that payloads are still written into. Nobody sees it yet.
#[derive(Debug, Default)]
pub(super) struct OpenRun {
    is_open: bool,
    start: u64,
    head: Head,
    /// Both names, ...
    names: Vec<u8>,
    /// ... and where the second begins.
    second: usize,
    /// Where in the record the payloads begin, ...
    payloads: usize,
    /// ... and where the next would.
    end: usize,
}

impl OpenRun {
    #[inline]
    fn is_of(&self, head: Head, parts: Parts<'_>) -> bool {
        let (name, second) = self.names.split_at(self.second);
        self.head == head && name == parts.name && second == parts.second
    }
}

impl<O: OwnMemory, P: PeerMemory> Producer<O, P> {
    /// As [`push_frame`](Self::push_frame) for the first of these payloads, as many as one record holds: at least two,
    /// and at most [`MAX_RUN`] bytes. Says how many; none when the ring is full, or the second does not fit.
    ///
    /// # Errors
    /// When the consumer's head is impossible, or there is no memory for the ring.
    #[inline]
    pub fn push_run<'a>(
        &mut self,
        head: Head,
        parts: Parts<'_>,
        payloads: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Result<usize, Violation> {
        let begin = begin_of(parts);
        let (count, bytes) = fitting(payloads.clone(), MAX_RUN.min(self.max_record).saturating_sub(begin));
        if count < 2 {
            return Ok(0);
        }
        let length = (begin + bytes).next_multiple_of(GRANULE);
        let Some(start) = self.claim(length)? else { return Ok(0) };
        if start != self.tail {
            self.fill_up_to(start);
        }
        let half = short_half(start, length, (head, flag::SHORT | flag::RUN), parts, bytes);
        let payloads = payloads.take(count);
        self.own.write_run(self.capacity.offset(start), length, &half, [parts.name, parts.second], payloads);
        self.advance(start, length);
        Ok(count)
    }

    /// Begins a record for frames that differ only in their payloads, with the payload of the first. Nobody sees it
    /// until it is closed, which whatever else is done here does; more come by [`extend_run`](Self::extend_run). `false`
    /// when there is no room, or the record would not be worth it.
    ///
    /// # Errors
    /// When the consumer's head is impossible, or there is no memory for the ring.
    #[inline]
    pub fn open_run(&mut self, head: Head, parts: Parts<'_>, payload: &[u8]) -> Result<bool, Violation> {
        let begin = begin_of(parts);
        let end = begin + run_length(payload.len());
        if end > OPEN_RUN / 2 {
            return Ok(false);
        }
        let Some(start) = self.claim(OPEN_RUN)? else { return Ok(false) };
        if start != self.tail {
            self.fill_up_to(start);
        }
        let open = &mut self.open;
        open.names.clear();
        open.names.extend_from_slice(parts.name);
        open.names.extend_from_slice(parts.second);
        (open.second, open.head, open.start) = (parts.name.len(), head, start);
        (open.payloads, open.end, open.is_open) = (begin, begin, true);
        let at = self.capacity.offset(start) + Descriptor::SHORT_SIZE;
        self.own.write(at, parts.name);
        self.own.write(at + padded(parts.name.len()), parts.second);
        self.append(payload);
        Ok(true)
    }

    /// Adds the payload of a frame to the record that is open, if there is one for frames with this head and these names
    /// and it has room.
    #[inline]
    pub fn extend_run(&mut self, head: Head, parts: Parts<'_>, payload: &[u8]) -> bool {
        let open = &self.open;
        let fits = open.is_open && open.end + run_length(payload.len()) <= OPEN_RUN && open.is_of(head, parts);
        if fits {
            self.append(payload);
        }
        fits
    }

    #[inline]
    fn append(&mut self, payload: &[u8]) {
        let at = self.capacity.offset(self.open.start) + self.open.end;
        let length = run_length(payload.len());
        self.own.write_record(at, length, &[payload.len() as u64], [payload]);
        self.expect(self.open.start + self.open.end as u64, length);
        self.open.end += length;
    }

    /// Makes the record that is open visible.
    #[inline]
    pub fn close_run(&mut self) {
        if self.open.is_open {
            self.publish_open_run();
        }
    }

    fn publish_open_run(&mut self) {
        let open = &mut self.open;
        open.is_open = false;
        let (start, payloads) = (open.start, open.end - open.payloads);
        let length = open.end.next_multiple_of(GRANULE);
        let (name, second) = open.names.split_at(open.second);
        let half = short_half(start, length, (open.head, flag::SHORT | flag::RUN), Parts { name, second }, payloads);
        self.own.write_record(self.capacity.offset(start), Descriptor::SHORT_SIZE, &half, []);
        self.advance(start, length);
    }
}

/// Where in a record the payloads begin.
#[inline]
fn begin_of(parts: Parts<'_>) -> usize {
    Descriptor::SHORT_SIZE + padded(parts.name.len()) + padded(parts.second.len())
}

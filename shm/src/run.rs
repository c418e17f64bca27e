//! Several payloads in one record.

use std::ops::Range;

use crate::consumer::Record;
use crate::layout::{MAX_PLACED_RUN, MAX_RUN, WORD, flag};
use crate::ring::{padded, run_length};
use crate::violation::Violation;

/// Where payloads are that share a record, in a copy of them: the lengths between them are looked at there, one after
/// the other.
#[derive(Clone, Debug, Default)]
pub struct Run {
    rest: Range<usize>,
}

impl Record {
    /// Whether it holds several payloads, each of a frame of its own.
    #[inline]
    pub fn is_run(&self) -> bool {
        self.descriptor.flags & flag::RUN != 0
    }
}

impl Run {
    /// The payloads of a record, which begin at `start` in the copy: at the record's
    /// [`payload_place`](Record::payload_place) in its [`body`](crate::Consumer::copy_body).
    ///
    /// # Errors
    /// When it has none, is longer than [`MAX_RUN`], or holds something else than payloads and their lengths.
    #[inline]
    pub fn of(record: &Record, start: usize) -> Result<Self, Violation> {
        Self::of_bytes(record, start, (record.inline_length(), MAX_RUN))
    }

    /// The payloads that a record names in place, which begin at `start` in the copy.
    ///
    /// # Errors
    /// When it names none, or more than [`MAX_PLACED_RUN`] bytes.
    #[inline]
    pub fn in_place(record: &Record, start: usize) -> Result<Self, Violation> {
        let is_in_place = record.descriptor.flags & flag::IN_PLACE != 0;
        let bytes = if is_in_place { record.descriptor.payload.get() as usize } else { 0 };
        Self::of_bytes(record, start, (bytes, MAX_PLACED_RUN))
    }

    #[inline]
    fn of_bytes(record: &Record, start: usize, (bytes, most): (usize, usize)) -> Result<Self, Violation> {
        let is_run = record.is_run() && bytes > 0 && bytes.is_multiple_of(WORD) && bytes <= most;
        if is_run { Ok(Self { rest: start..start + bytes }) } else { Err(Violation::Length) }
    }

    /// Whether there are no more.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// Where in the copy the next payload is; `None` when there are no more.
    ///
    /// # Errors
    /// When it does not end within the record.
    ///
    /// # Panics
    /// When the copy is shorter than the payloads.
    #[inline]
    pub fn next_place(&mut self, body: &[u8]) -> Result<Option<Range<usize>>, Violation> {
        let Some((length, rest)) = body[self.rest.clone()].split_first_chunk::<WORD>() else { return Ok(None) };
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| Violation::Length)?;
        // What is left is whole words: it has the padding, too.
        if length > rest.len() {
            return Err(Violation::Length);
        }
        debug_assert!(padded(length) <= rest.len());
        let start = self.rest.start + WORD;
        self.rest.start += run_length(length);
        Ok(Some(start..start + length))
    }
}

/// How many of these payloads fit into `room` bytes together, with their lengths between them, and the bytes that they
/// take.
pub fn fitting<'a>(payloads: impl Iterator<Item = &'a [u8]>, room: usize) -> (usize, usize) {
    let (mut count, mut end) = (0, 0);
    for payload in payloads {
        let next = end + run_length(payload.len());
        if next > room {
            break;
        }
        (count, end) = (count + 1, next);
    }
    (count, end)
}

//! What every payload begins with, and how it is written and checked: nothing may be lost.

use std::hint::black_box;

use crate::failure::{Failure, Result};

/// The number of a message, and what its receiver is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) sequence: u64,
    /// The receiver reports at once how far it is.
    pub(crate) report: bool,
    /// No more follow.
    pub(crate) last: bool,
    /// When it was sent, or by whom; what a role needs.
    pub(crate) extra: u64,
}

const LAST: u64 = 1 << 63;
const REPORT: u64 = 1 << 62;

impl Stamp {
    /// Bytes that it takes.
    pub(crate) const SIZE: usize = 16;

    pub(crate) fn numbered(sequence: u64) -> Self {
        Self { sequence, ..Self::default() }
    }

    pub(crate) fn words(self) -> [u64; 2] {
        let mark = |is_set: bool, bit| if is_set { bit } else { 0 };
        [self.sequence | mark(self.last, LAST) | mark(self.report, REPORT), self.extra]
    }

    pub(crate) fn from_words([first, extra]: [u64; 2]) -> Self {
        Self { sequence: first & !(LAST | REPORT), report: first & REPORT != 0, last: first & LAST != 0, extra }
    }

    /// Writes it to the beginning of a payload.
    pub(crate) fn write(self, payload: &mut [u8]) {
        let [first, extra] = self.words();
        payload[..8].copy_from_slice(&first.to_le_bytes());
        payload[8..Self::SIZE].copy_from_slice(&extra.to_le_bytes());
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (first, rest) = payload.split_first_chunk()?;
        let (extra, _) = rest.split_first_chunk()?;
        Some(Self::from_words([u64::from_le_bytes(*first), u64::from_le_bytes(*extra)]))
    }
}

/// A payload as a publisher makes it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    buffer: Vec<u8>,
    /// What the whole payload is written from, if it is.
    source: Option<Vec<u8>>,
}

impl Outgoing {
    /// Payloads of a length. `touched`: every byte is written anew for each message, not the stamp alone.
    pub(crate) fn new(length: usize, touched: bool) -> Self {
        Self { buffer: vec![0xEE; length], source: touched.then(|| vec![0xEE; length]) }
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Where touched payloads are copied from.
    #[cfg(feature = "iceoryx2")]
    pub(crate) fn source(&self) -> Option<&[u8]> {
        self.source.as_deref()
    }

    /// The next payload, for systems that are given bytes.
    pub(crate) fn stamped(&mut self, stamp: Stamp) -> &[u8] {
        if let Some(source) = &self.source {
            self.buffer.copy_from_slice(source);
        }
        stamp.write(&mut self.buffer);
        &self.buffer
    }

    /// The next payload, for systems that lend memory to write it to.
    pub(crate) fn write(&self, memory: &mut [u8], stamp: Stamp) {
        if let Some(source) = &self.source {
            memory.copy_from_slice(source);
        }
        stamp.write(memory);
    }
}

/// A payload as it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    pub(crate) stamp: Stamp,
    pub(crate) length: usize,
    /// The bytes, where they can be read at all without having been written.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Received<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        let stamp = Stamp::read(bytes).ok_or_else(|| Failure::from("a payload came that is shorter than its stamp"))?;
        Ok(Self { stamp, length: bytes.len(), bytes })
    }
}

/// Checks what one receiver gets from one sender.
#[derive(Debug)]
pub(crate) struct Tally {
    length: usize,
    touched: bool,
    next: u64,
}

impl Tally {
    /// Expects payloads of a length. `touched`: it reads every byte of them.
    pub(crate) fn new(length: usize, touched: bool) -> Self {
        Self { length, touched, next: 0 }
    }

    /// How many have come.
    pub(crate) fn count(&self) -> u64 {
        self.next
    }

    /// Takes the next.
    ///
    /// # Errors
    /// When it is not the one that should follow.
    pub(crate) fn take(&mut self, received: Received<'_>) -> Result<()> {
        if received.length != self.length {
            return Err(format!("a payload of {} bytes came instead of {}", received.length, self.length).into());
        }
        if received.stamp.sequence != self.next {
            return Err(format!("message {} came where {} was due", received.stamp.sequence, self.next).into());
        }
        if self.touched {
            black_box(sum(received.bytes));
        }
        self.next += 1;
        Ok(())
    }
}

/// Reads every byte, as fast as memory gives them.
#[inline(never)]
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<64>();
    let mut lanes = [0_u64; 8];
    for word in words {
        for (lane, part) in lanes.iter_mut().zip(word.as_chunks::<8>().0) {
            *lane = lane.wrapping_add(u64::from_ne_bytes(*part));
        }
    }
    let tail = rest.iter().map(|byte| u64::from(*byte));
    lanes.into_iter().chain(tail).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_as_it_was_written() {
        let stamp = Stamp { sequence: 77, report: true, last: true, extra: 5 };
        let mut payload = [0; 64];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(Stamp::read(&payload[..15]), None);
    }

    #[test]
    fn a_gap_and_a_wrong_length_are_seen() {
        let mut tally = Tally::new(64, true);
        let mut outgoing = Outgoing::new(64, true);
        assert!(tally.take(Received::new(outgoing.stamped(Stamp::numbered(0))).unwrap()).is_ok());
        assert!(tally.take(Received::new(outgoing.stamped(Stamp::numbered(2))).unwrap()).is_err());
        assert!(tally.take(Received::new(&outgoing.stamped(Stamp::numbered(1))[..63]).unwrap()).is_err());
        assert_eq!(tally.count(), 1);
    }

    #[test]
    fn the_sum_reads_what_does_not_fill_a_word() {
        assert_eq!(sum(&[1; 3]), 3);
        assert_ne!(sum(&[1; 67]), sum(&[1; 66]));
    }
}

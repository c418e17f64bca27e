//! Payloads that are read where their sender wrote them.

use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::layout::{GRANULE, WORD};
use crate::memory::PeerMemory;
use crate::returns::GiveBack;
use crate::segment::PeerSegment;
use crate::violation::Violation;

/// A range of another process's segment that was handed to this process under a slot. Dropping it gives the slot
/// back, from any thread, also after the lane has ended: it keeps the mapping, and what it returns through, alive.
///
/// # Contract
///
/// [`as_slice`](Self::as_slice) is a shared reference into memory that another process has mapped for writing, and this
/// crate alone cannot see to it that nobody writes there. Whoever makes samples does:
///
/// - the range was handed to this process under the slot, and its sender does not write there before the slot has come
///   back, whatever else becomes of the lane;
/// - the segment is of a sender that is trusted to keep to that. Of any other sender a sample may be made, and
///   [copied](Self::copy_to) and [sent](Self::send), as the broker does, but not be looked at in place.
///
/// `new` and `as_slice` are safe to call all the same, because the layer above is written without `unsafe`; who breaks the
/// contract has a reference to bytes that change.
pub struct Sample {
    segment: Arc<PeerSegment>,
    range: Range<usize>,
    slot: (u32, u32),
    returns: Arc<dyn GiveBack>,
}

impl Sample {
    /// A sample, if the range lies within the segment and begins on a granule; the rest of the [contract](Self#contract)
    /// is the caller's.
    ///
    /// # Errors
    /// When it does not; the slot is not given back then.
    pub fn new(
        segment: Arc<PeerSegment>,
        (offset, length): (u64, u32),
        slot: (u32, u32),
        returns: Arc<dyn GiveBack>,
    ) -> Result<Self, Violation> {
        let start = usize::try_from(offset).map_err(|_| Violation::Range)?;
        let end = start.checked_add(length as usize).ok_or(Violation::Range)?;
        if end > segment.length() || !start.is_multiple_of(GRANULE) {
            return Err(Violation::Range);
        }
        Ok(Self { segment, range: start..end, slot, returns })
    }

    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Where in its segment it lies.
    pub fn offset(&self) -> usize {
        self.range.start
    }

    /// The bytes, in place.
    ///
    /// The broker hands out samples only of processes that this one trusts (by default those of the same user). Such
    /// a process could, by breaking the rules of the library, change bytes that it has already sent; whoever must
    /// not see that takes a copy. See the [contract](Self#contract).
    ///
    /// # Panics
    /// In a forked child, where the memory is not mapped.
    pub fn as_slice(&self) -> &[u8] {
        self.assert_mapped();
        // SAFETY: the range was checked by `new`, and the mapping lives as long as `self`. Nobody writes it while it
        // is out: only its sender could, its library does not before the slot has come back, and of senders that are
        // not trusted to use the library nobody asks for the bytes in place (the contract of `Sample`).
        unsafe { self.segment.region().slice(self.range.clone()) }
    }

    /// Copies bytes out, beginning at `position`, without a reference to them: for senders that are not trusted.
    /// Returns how many were copied.
    ///
    /// # Panics
    /// In a forked child, where the memory is not mapped.
    pub fn copy_to(&self, position: usize, bytes: &mut [u8]) -> usize {
        self.assert_mapped();
        let count = bytes.len().min(self.len().saturating_sub(position));
        let bytes = &mut bytes[..count];
        if bytes.is_empty() {
            return 0;
        }
        // Memory is read in words; the first may begin before the position.
        let skew = position % WORD;
        let start = self.range.start + position - skew;
        if skew == 0 {
            self.segment.read(start, bytes);
            return count;
        }
        let mut word = [0; WORD];
        self.segment.read(start, &mut word);
        let (first, rest) = bytes.split_at_mut(count.min(WORD - skew));
        first.copy_from_slice(&word[skew..skew + first.len()]);
        self.segment.read(start + WORD, rest);
        count
    }

    /// Writes `heads` and then a range of its own bytes to a socket, as far as it has them; see [`PeerSegment::send`].
    ///
    /// # Errors
    /// As of a non-blocking `sendmsg`.
    pub fn send(&self, socket: BorrowedFd<'_>, heads: &[IoSlice<'_>], range: Range<usize>) -> io::Result<usize> {
        let place = |position: usize| self.range.end.min(self.range.start.saturating_add(position));
        self.segment.send(socket, heads, &(place(range.start)..place(range.end.max(range.start))))
    }

    /// Whether this process received it, and not the one that forked it.
    fn is_here(&self) -> bool {
        self.segment.region().is_here()
    }

    fn assert_mapped(&self) {
        assert!(
            self.is_here(),
            "a payload in shared memory belongs to the process that received it, not to its forked child"
        );
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // In a forked child nothing is mapped and nothing is owned.
        if self.is_here() {
            self.returns.give_back(self.slot.0, self.slot.1);
        }
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sample({} bytes)", self.len())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::layout::{ControlLayout, Descriptor, flag};
    use crate::{ArenaKind, Arenas, Consumer, OwnSegment, Parts, Producer, ReturnReader, Returns, Slots};

    const LAYOUT: ControlLayout = ControlLayout { ring: ControlLayout::MIN_RING, slots: 2 };
    const LENGTH: usize = 1000;
    const COUNT: u32 = if cfg!(miri) { 50 } else { 50_000 };

    /// Lets the other thread go on.
    fn wait(since: Instant) {
        assert!(since.elapsed() < Duration::from_secs(120), "watchdog: the other thread does not go on");
        thread::yield_now();
    }

    fn bytes(number: u32) -> [u8; LENGTH] {
        [number.to_le_bytes()[0]; LENGTH]
    }

    /// The bytes are no atomics: when an ordering is missing on their way out or back, miri sees two threads at them.
    #[test]
    fn a_payload_is_written_before_it_is_read_and_read_before_its_memory_is_written_again() {
        let ((up, up_peer), (down, down_peer)) =
            (OwnSegment::on_heap(LAYOUT.total()), OwnSegment::on_heap(LAYOUT.total()));
        let (arena, payloads) = OwnSegment::on_heap(4 << 10);
        let (down, up_peer, payloads) = (Arc::new(down), Arc::new(up_peer), Arc::new(payloads));
        let started = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                let returns = Arc::new(Returns::new(Arc::clone(&down), LAYOUT));
                let mut consumer = Consumer::new(Arc::clone(&down), Arc::clone(&up_peer), LAYOUT);
                for number in 0..COUNT {
                    let record = loop {
                        match consumer.next_record().unwrap() {
                            Some(record) => break record.descriptor,
                            None => wait(started),
                        }
                    };
                    let (range, slot) = ((record.offset.get(), record.payload.get()), (record.slot, record.generation));
                    let slot = (slot.0.get(), slot.1.get());
                    let sample = Sample::new(Arc::clone(&payloads), range, slot, returns.clone()).unwrap();
                    assert_eq!(sample.as_slice(), bytes(number));
                    drop(sample);
                    let _ = consumer.release();
                }
            });
            let arenas = Arenas::new();
            arenas.add(1, arena, ArenaKind::Shared);
            let down_peer = Arc::new(down_peer);
            let mut producer = Producer::new(up, Arc::clone(&down_peer), LAYOUT);
            let (mut slots, mut returned) = (Slots::new(2), ReturnReader::new(down_peer, LAYOUT));
            for number in 0..COUNT {
                while !slots.has_free() {
                    match returned.next_returned().unwrap() {
                        // What was used last is written next.
                        Some((slot, generation)) => drop(slots.take(slot, generation).unwrap()),
                        None => wait(started),
                    }
                }
                let mut loan = arenas.loan(LENGTH).unwrap();
                loan.copy_from_slice(&bytes(number));
                let chunk = loan.freeze();
                let offset = chunk.offset() as u64;
                let (slot, generation) = slots.put(chunk).unwrap();
                let descriptor = Descriptor {
                    operation: 1,
                    flags: flag::IN_PLACE,
                    payload: u32::try_from(LENGTH).unwrap().into(),
                    offset: offset.into(),
                    slot: slot.into(),
                    generation: generation.into(),
                    ..Descriptor::default()
                };
                let (descriptor, parts) = (&descriptor, Parts::default());
                let mut reservation = loop {
                    match producer.reserve(Descriptor::SIZE).unwrap() {
                        Some(reservation) => break reservation,
                        None => wait(started),
                    }
                };
                reservation.write_parts(parts);
                reservation.commit(descriptor);
            }
        });
    }
}

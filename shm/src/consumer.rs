//! The end of a ring that reads.

use std::ops::Range;

use zerocopy::IntoBytes;

use crate::layout::{ControlLayout, Descriptor, EVENT, GRANULE, HEAD, SPACE_EVENT, TAIL, flag, operation};
use crate::memory::{Line, OwnMemory, PeerMemory};
use crate::ring::{Capacity, crosses, padded, sequence};
use crate::sync::{Fence, Ordering, fence};
use crate::violation::Violation;

/// The reading end of a ring.
#[derive(Debug)]
pub struct Consumer<O, P> {
    own: O,
    peer: P,
    capacity: Capacity,
    max_record: usize,
    head: u64,
    /// The producer's tail as last seen.
    tail: u64,
    /// The head that the producer was last told.
    released: u64,
}

/// The combinations of flags that there are, a bit for each.
const LEGAL_FLAGS: u64 = {
    let (mut legal, mut flags) = (0, 0);
    while flags <= flag::ALL {
        let is_in_place = flags & flag::IN_PLACE != 0;
        let is_fragment = flags & flag::FRAGMENT != 0;
        let has_more = flags & flag::MORE != 0;
        let is_short = flags & flag::SHORT != 0;
        let is_run = flags & flag::RUN != 0;
        if !(is_in_place && is_fragment)
            && (is_fragment || !has_more)
            && !(is_short && (is_in_place || is_fragment))
            && (!is_run || is_short || is_in_place)
        {
            legal |= 1 << flags;
        }
        flags += 1;
    }
    legal
};

/// A record as it was copied and checked: descriptor, and where its parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The copied descriptor, also where the record holds half of it: then without [`flag::SHORT`].
    pub descriptor: Descriptor,
    /// Where in the segment the parts begin.
    start: usize,
}

/// Where the parts of a record are in its ring: what is needed of it to look at them, in few words.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordPlace {
    start: usize,
    name: usize,
    second: usize,
    payload: usize,
}

impl RecordPlace {
    /// Bytes of payload that are in the ring.
    #[inline]
    pub fn payload_length(&self) -> usize {
        self.payload
    }

    /// Where the second name begins.
    #[inline]
    fn second_start(&self) -> usize {
        self.start + padded(self.name)
    }

    /// Where the payload begins.
    #[inline]
    fn payload_start(&self) -> usize {
        self.second_start() + padded(self.second)
    }
}

impl From<&Record> for RecordPlace {
    #[inline]
    fn from(record: &Record) -> Self {
        let (name, second, payload) = (record.name(), record.second(), record.inline_length());
        Self { start: record.start, name, second, payload }
    }
}

impl Record {
    /// Bytes of payload that are in the ring.
    #[inline]
    pub fn inline_length(&self) -> usize {
        if self.descriptor.flags & flag::IN_PLACE == 0 { self.descriptor.payload.get() as usize } else { 0 }
    }

    /// Where the name is in the [`body`](Consumer::copy_body).
    #[inline]
    pub fn name_place(&self) -> Range<usize> {
        0..self.name()
    }

    /// Where the second name is.
    #[inline]
    pub fn second_place(&self) -> Range<usize> {
        let start = padded(self.name());
        start..start + self.second()
    }

    /// Where the payload is, if it is in the ring.
    #[inline]
    pub fn payload_place(&self) -> Range<usize> {
        let start = padded(self.name()) + padded(self.second());
        start..start + self.inline_length()
    }

    #[inline]
    fn name(&self) -> usize {
        usize::from(self.descriptor.name.get())
    }

    #[inline]
    fn second(&self) -> usize {
        usize::from(self.descriptor.second.get())
    }
}

impl<O: OwnMemory, P: PeerMemory> Consumer<O, P> {
    /// A consumer at the beginning of a ring of zeros. `own` holds this side's cursors, `peer` the ring.
    pub fn new(own: O, peer: P, layout: ControlLayout) -> Self {
        Self {
            own,
            peer,
            capacity: Capacity::of(layout),
            max_record: layout.max_record(),
            head: 0,
            tail: 0,
            released: 0,
        }
    }

    /// Whether there is a record.
    ///
    /// # Errors
    /// When the producer's tail is impossible.
    #[inline]
    pub fn poll(&mut self) -> Result<bool, Violation> {
        if self.head != self.tail {
            return Ok(true);
        }
        // Acquire: pairs with the Release of the tail in `Reservation::commit`.
        let tail = self.peer.load(TAIL, Ordering::Acquire);
        if tail < self.tail {
            return Err(Violation::Backwards);
        }
        // What was not given back cannot have been written again.
        if tail - self.released > self.capacity.bytes() {
            return Err(Violation::TooFar);
        }
        if !tail.is_multiple_of(GRANULE as u64) {
            return Err(Violation::Unaligned);
        }
        self.tail = tail;
        Ok(self.head != self.tail)
    }

    /// The next record. Its bytes can be copied until the next call of [`next_record`](Self::next_record) or
    /// [`release`](Self::release).
    ///
    /// A visit is bounded whatever the producer does: until [`release`](Self::release) there cannot be more bytes
    /// than the ring has.
    ///
    /// # Errors
    /// When the record is not one.
    // Always inlined, as what it calls: to return a record through memory takes longer than to read it, because it is
    // moved in other pieces than it was written in.
    #[inline(always)]
    pub fn next_record(&mut self) -> Result<Option<Record>, Violation> {
        self.next_record_if(|_, _| true)
    }

    /// As [`next_record`](Self::next_record), if it is one that `accept` takes, which may copy of it; otherwise it stays
    /// the next, and is looked at anew.
    ///
    /// # Errors
    /// When the record is not one.
    #[inline(always)]
    pub fn next_record_if(&mut self, accept: impl FnOnce(&Self, &Record) -> bool) -> Result<Option<Record>, Violation> {
        if !self.poll()? {
            return Ok(None);
        }
        let (mut descriptor, mut size) = self.look_at_descriptor()?;
        if descriptor.operation == operation::PAD {
            self.skip(&descriptor)?;
            (descriptor, size) = self.look_behind_pad()?;
        }
        let length = u64::from(descriptor.length.get());
        let record = Record { descriptor, start: self.capacity.offset(self.head) + size };
        // On their own first, so that the sum cannot overflow on any machine.
        let is_whole = length <= self.max_record as u64
            && record.inline_length() as u64 <= length
            && (size + record.payload_place().end) as u64 <= length;
        if !is_whole {
            return Err(Violation::Length);
        }
        if !accept(self, &record) {
            return Ok(None);
        }
        self.head += length;
        Ok(Some(record))
    }

    /// Passes a PAD: it fills the ring to its end, and became visible with the record behind it.
    #[cold]
    fn skip(&mut self, pad: &Descriptor) -> Result<(), Violation> {
        let length = u64::from(pad.length.get());
        if length != self.capacity.to_end(self.head) || length == self.capacity.bytes() {
            return Err(Violation::Length);
        }
        self.head += length;
        Ok(())
    }

    /// Not inlined, so that the other call is.
    #[inline(never)]
    fn look_behind_pad(&self) -> Result<(Descriptor, usize), Violation> {
        let (descriptor, size) = self.look_at_descriptor()?;
        if descriptor.operation == operation::PAD { Err(Violation::Descriptor) } else { Ok((descriptor, size)) }
    }

    /// Copies the descriptor at the head, and checks what holds for records and PADs alike. Says how many bytes the
    /// record has of it.
    #[inline(always)]
    fn look_at_descriptor(&self) -> Result<(Descriptor, usize), Violation> {
        let line = self.peer.read_line(self.capacity.offset(self.head)).map(u64::to_le_bytes);
        let mut descriptor: Descriptor = zerocopy::transmute!(line);
        let flags = descriptor.flags;
        let mut size = Descriptor::SIZE;
        if flags & flag::SHORT != 0 {
            // What lies there belongs to the parts.
            (descriptor.offset, descriptor.slot, descriptor.generation) = Default::default();
            descriptor.reserved_end = [0; 16];
            descriptor.flags &= !flag::SHORT;
            size = Descriptor::SHORT_SIZE;
        }
        let length = u64::from(descriptor.length.get());
        let fits = length >= GRANULE as u64
            && length.is_multiple_of(GRANULE as u64)
            && length <= self.capacity.to_end(self.head)
            && length <= self.tail - self.head;
        if !fits {
            return Err(Violation::Length);
        }
        let is_legal = descriptor.sequence.get() == sequence(self.head)
            && flags & !flag::ALL == 0
            && LEGAL_FLAGS >> flags & 1 != 0
            && descriptor.reserved == 0
            && descriptor.reserved_end == [0; 16];
        if is_legal { Ok((descriptor, size)) } else { Err(Violation::Descriptor) }
    }

    /// Copies the names of a record behind each other into `names`, and says where the second begins.
    #[inline]
    pub fn copy_names(&self, place: impl Into<RecordPlace>, names: &mut Vec<u8>) -> usize {
        let place = place.into();
        names.resize(place.name + place.second, 0);
        let (name, second) = names.split_at_mut(place.name);
        self.peer.read(place.start, name);
        self.peer.read(place.second_start(), second);
        place.name
    }

    /// Whether a record has this name, and this second one if that is asked for.
    #[inline]
    pub fn holds_names(&self, place: RecordPlace, name: &[u8], second: Option<&[u8]>) -> bool {
        place.name == name.len()
            && self.peer.holds(place.start, name)
            && second.is_none_or(|second| place.second == second.len() && self.peer.holds(place.second_start(), second))
    }

    /// Whether a record has this name and no second one.
    #[inline]
    pub fn has_name(&self, record: &Record, name: &[u8]) -> bool {
        record.name() == name.len() && record.second() == 0 && self.peer.holds(record.start, name)
    }

    /// Copies what is behind the descriptor to the beginning of `memory`, which becomes longer if it must; the record
    /// says where in it the [`name`](Record::name_place), the [`second name`](Record::second_place) and the
    /// [`payload`](Record::payload_place) are.
    #[inline]
    pub fn copy_body(&self, record: &Record, memory: &mut Vec<u8>) {
        let length = padded(record.payload_place().end);
        if memory.len() < length {
            lengthen(memory, length);
        }
        self.peer.read(record.start, &mut memory[..length]);
    }

    /// Copies the payload bytes that are in the ring to `memory` from `start` on, and says where they end. The memory
    /// becomes longer if it must.
    #[inline]
    pub fn copy_payload_to(&self, record: &Record, memory: &mut Vec<u8>, start: usize) -> usize {
        let end = start + record.inline_length();
        let padded_end = start + padded(record.inline_length());
        if memory.len() < padded_end {
            lengthen(memory, padded_end);
        }
        let names = padded(record.name()) + padded(record.second());
        self.peer.read(record.start + names, &mut memory[start..padded_end]);
        end
    }

    /// Copies the payload bytes that are in the ring to the end of `payload`.
    #[inline]
    pub fn copy_payload(&self, place: impl Into<RecordPlace>, payload: &mut Vec<u8>) {
        let place = place.into();
        let before = payload.len();
        payload.resize(before + place.payload, 0);
        self.peer.read(place.payload_start(), &mut payload[before..]);
    }

    /// The payload bytes that are in the ring as words in the order of memory, and zeros behind them.
    ///
    /// # Panics
    /// When there are more than 64.
    #[inline]
    pub fn short_payload(&self, place: RecordPlace) -> Line {
        if place.payload == GRANULE {
            return self.peer.read_line(place.payload_start()).map(u64::to_le);
        }
        let mut words = Line::default();
        self.peer.read(place.payload_start(), &mut words.as_mut_bytes()[..place.payload]);
        words
    }

    /// Gives the room of the records that were read back to the producer. Says whether the producer waits for it and
    /// has to be woken.
    #[must_use = "who waits for room is not woken by itself"]
    #[inline]
    pub fn release(&mut self) -> bool {
        if self.released == self.head {
            return false;
        }
        // Release: what lies before the head has been read (pairs with the Acquire in `Producer::look_at_head`).
        self.own.store(HEAD, self.head, Ordering::Release);
        fence(Fence::Head);
        let event = self.peer.load(SPACE_EVENT, Ordering::Relaxed);
        crosses(std::mem::replace(&mut self.released, self.head), event, self.head)
    }

    /// Bytes read and not yet given back.
    #[inline]
    pub fn unreleased(&self) -> u64 {
        self.head - self.released
    }

    /// Asks to be woken by the next record. Says whether there is nothing to read; only then may the caller sleep,
    /// and only after [`release`](Self::release): a producer that waits for room which nobody gives back sends no
    /// next record. Being woken needs no disarming: an event that was passed costs nothing.
    ///
    /// # Errors
    /// When the producer's tail is impossible.
    pub fn arm(&mut self) -> Result<bool, Violation> {
        self.own.store(EVENT, self.head, Ordering::Relaxed);
        fence(Fence::Event);
        Ok(!self.poll()?)
    }
}

/// Not shortened ever after: zeros would have to be written again before the next body.
#[cold]
fn lengthen(memory: &mut Vec<u8>, length: usize) {
    memory.resize(length.next_power_of_two(), 0);
}

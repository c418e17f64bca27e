//! The byte ring of a lane: records in one direction, one producer, one consumer.
//!
//! Positions are bytes that only grow; the byte at position `p` lies at `p % capacity`. The producer owns the tail,
//! the consumer the head, each in memory that only its process writes.
//!
//! Who sleeps says from which position on it wants to be woken (an event), and whoever passes that position rings
//! once: the "event index" of virtio (OASIS VIRTIO 1.2, section 2.7.10). A store of one's own cursor and a load of the
//! other's event stand on both sides; the sequentially consistent fence between them is what keeps a wake-up from
//! being lost: either the sleeper's last look sees the new cursor, or the other side's look sees the event.

use zerocopy::{FromBytes, IntoBytes};

use crate::layout::{ControlLayout, Descriptor, EVENT, GRANULE, HEAD, RING, SPACE_EVENT, TAIL, WORD, flag, operation};
use crate::memory::{OwnMemory, PeerMemory};
use crate::sync::{Fence, Ordering, fence};
use crate::violation::Violation;

/// The parts of a record behind its descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts<'a> {
    /// Topic, target or mask (up), sender (down).
    pub name: &'a [u8],
    /// Receiver (up), topic (down).
    pub second: &'a [u8],
}

/// Bytes of a record with these parts, a multiple of 64.
#[inline]
pub fn record_length(name: usize, second: usize, payload: usize) -> usize {
    let parts = [name, second, payload].map(|part| part.next_multiple_of(WORD));
    (Descriptor::SIZE + parts.iter().sum::<usize>()).next_multiple_of(GRANULE)
}

/// Whether the bell has to be rung: the cursor has come from `signaled` to `position`, and the sleeper wants to hear
/// of the position behind `event`.
#[inline]
fn crosses(signaled: u64, event: u64, position: u64) -> bool {
    signaled <= event && event < position
}

/// The writing end of a ring.
#[derive(Debug)]
pub struct Producer<O, P> {
    own: O,
    peer: P,
    capacity: u64,
    max_record: usize,
    tail: u64,
    /// The consumer's head as last seen.
    head: u64,
    /// The tail at the last look at the consumer's event.
    signaled: u64,
}

impl<O: OwnMemory, P: PeerMemory> Producer<O, P> {
    /// A producer at the beginning of a ring of zeros. `own` holds the ring, `peer` the consumer's cursors.
    pub fn new(own: O, peer: P, layout: ControlLayout) -> Self {
        Self { own, peer, capacity: layout.ring as u64, max_record: layout.max_record(), tail: 0, head: 0, signaled: 0 }
    }

    /// Bytes of the longest record.
    pub fn max_record(&self) -> usize {
        self.max_record
    }

    /// Room for a record of `length` bytes (a multiple of 64, at most [`max_record`](Self::max_record)), or `None`
    /// when the ring is full. Nothing changes until the reservation is committed; dropping it undoes it.
    ///
    /// # Errors
    /// When the consumer's head is impossible.
    ///
    /// # Panics
    /// When the length is neither; the consumer would take the record for an attack.
    #[inline]
    pub fn reserve(&mut self, length: usize) -> Result<Option<Reservation<'_, O, P>>, Violation> {
        assert!(
            length.is_multiple_of(GRANULE) && length <= self.max_record,
            "a record is whole granules and not too long"
        );
        let need = self.need(length);
        if !self.has_room(need) {
            self.look_at_head()?;
            if !self.has_room(need) {
                return Ok(None);
            }
        }
        let start = self.tail + (need - length as u64);
        Ok(Some(Reservation { producer: self, start, length }))
    }

    /// Appends a whole record. `false` when the ring is full. The lengths in the descriptor are the caller's.
    ///
    /// # Errors
    /// When the consumer's head is impossible.
    ///
    /// # Panics
    /// When the record is longer than [`max_record`](Self::max_record).
    #[inline]
    pub fn push(&mut self, descriptor: &Descriptor, parts: Parts<'_>, payload: &[u8]) -> Result<bool, Violation> {
        let length = record_length(parts.name.len(), parts.second.len(), payload.len());
        let Some(mut reservation) = self.reserve(length)? else { return Ok(false) };
        reservation.write_parts(parts);
        reservation.write_payload(parts, 0, payload);
        reservation.commit(descriptor);
        Ok(true)
    }

    /// Whether the consumer has to be woken for what was committed since the last call. Call it once a batch, under
    /// the lock under which the records were committed, and ring if it says so.
    #[must_use = "who sleeps is not woken by itself"]
    #[inline]
    pub fn must_ring(&mut self) -> bool {
        if self.signaled == self.tail {
            return false;
        }
        fence(Fence::Tail);
        let event = self.peer.load(EVENT, Ordering::Relaxed);
        crosses(std::mem::replace(&mut self.signaled, self.tail), event, self.tail)
    }

    /// Bytes committed since the last [`must_ring`](Self::must_ring).
    #[inline]
    pub fn unsignaled(&self) -> u64 {
        self.tail - self.signaled
    }

    /// Asks to be woken when the consumer has made room for a record of `length` bytes, and when at least half of
    /// the ring is free: a wake-up for each record would cost more than the records. Says whether there is room
    /// already; then nobody will ring.
    ///
    /// # Errors
    /// When the consumer's head is impossible.
    pub fn arm_space(&mut self, length: usize) -> Result<bool, Violation> {
        let need = self.need(length).max(self.capacity / 2);
        // The head at which there is room, and the position before it.
        let wanted = (self.tail + need).saturating_sub(self.capacity);
        self.own.store(SPACE_EVENT, wanted.saturating_sub(1), Ordering::Relaxed);
        fence(Fence::SpaceEvent);
        self.look_at_head()?;
        Ok(self.has_room(need))
    }

    /// Whether the consumer has read everything.
    ///
    /// # Errors
    /// When the consumer's head is impossible.
    pub fn is_drained(&mut self) -> Result<bool, Violation> {
        self.look_at_head()?;
        Ok(self.head == self.tail)
    }

    /// Position of the consumer, as last seen: it stands still as long as nothing is read.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Bytes that the consumer has not read, as last seen.
    pub fn unread(&self) -> u64 {
        self.tail - self.head
    }

    /// Bytes from the tail to the end of a record of `length` bytes, the PAD before it included.
    #[inline]
    fn need(&self, length: usize) -> u64 {
        let to_end = self.capacity - self.tail % self.capacity;
        let length = length as u64;
        if length > to_end { to_end + length } else { length }
    }

    #[inline]
    fn has_room(&self, need: u64) -> bool {
        self.tail - self.head + need <= self.capacity
    }

    #[inline]
    fn look_at_head(&mut self) -> Result<(), Violation> {
        // Acquire: the consumer has read what lies before its head (pairs with the Release in `Consumer::release`).
        let head = self.peer.load(HEAD, Ordering::Acquire);
        if head < self.head {
            return Err(Violation::Backwards);
        }
        if head > self.tail {
            return Err(Violation::TooFar);
        }
        if !head.is_multiple_of(GRANULE as u64) {
            return Err(Violation::Unaligned);
        }
        self.head = head;
        Ok(())
    }

    #[inline]
    fn offset(&self, position: u64) -> usize {
        offset_in_ring(position, self.capacity)
    }
}

/// Room in a ring that nobody sees yet.
#[derive(Debug)]
#[must_use = "nothing is sent before it is committed"]
pub struct Reservation<'a, O, P> {
    producer: &'a mut Producer<O, P>,
    start: u64,
    length: usize,
}

impl<O: OwnMemory, P: PeerMemory> Reservation<'_, O, P> {
    /// Writes the names.
    ///
    /// # Panics
    /// When they are longer than the reservation.
    #[inline]
    pub fn write_parts(&mut self, parts: Parts<'_>) {
        let end = record_length(parts.name.len(), parts.second.len(), 0);
        assert!(end <= self.length, "a record is written within its reservation");
        let at = self.producer.offset(self.start) + Descriptor::SIZE;
        self.producer.own.write(at, parts.name);
        self.producer.own.write(at + parts.name.len().next_multiple_of(WORD), parts.second);
    }

    /// Writes a part of the payload behind the names; `position` is a multiple of 8.
    ///
    /// # Panics
    /// When the part does not lie within the reservation.
    #[inline]
    pub fn write_payload(&mut self, parts: Parts<'_>, position: usize, bytes: &[u8]) {
        let names = parts.name.len().next_multiple_of(WORD) + parts.second.len().next_multiple_of(WORD);
        let at = Descriptor::SIZE + names + position;
        assert!(at + bytes.len() <= self.length, "a record is written within its reservation");
        self.producer.own.write(self.producer.offset(self.start) + at, bytes);
    }

    /// Makes the record visible. Its length and sequence are filled in; the rest of the descriptor is the caller's.
    #[inline]
    pub fn commit(self, descriptor: &Descriptor) {
        let Self { producer, start, length } = self;
        if start != producer.tail {
            #[expect(clippy::cast_possible_truncation, reason = "what is left of the ring, which came from a usize")]
            let rest = (start - producer.tail) as usize;
            let pad = Descriptor { operation: operation::PAD, ..Descriptor::default() };
            producer.write_descriptor(producer.tail, rest, &pad);
        }
        producer.write_descriptor(start, length, descriptor);
        producer.tail = start + length as u64;
        // Release: whoever sees the tail sees the records (pairs with the Acquire in `Consumer::poll`).
        producer.own.store(TAIL, producer.tail, Ordering::Release);
    }
}

impl<O: OwnMemory, P: PeerMemory> Producer<O, P> {
    #[inline]
    fn write_descriptor(&self, position: u64, length: usize, descriptor: &Descriptor) {
        #[expect(clippy::cast_possible_truncation, reason = "a ring has at most 16 MiB")]
        let length = (length as u32).into();
        let descriptor = Descriptor { length, sequence: sequence(position).into(), ..*descriptor };
        self.own.write(self.offset(position), descriptor.as_bytes());
    }
}

/// Where in the segment the byte at a position lies.
#[inline]
fn offset_in_ring(position: u64, capacity: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of the capacity, which came from a usize")]
    let offset = (position % capacity) as usize;
    RING + offset
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
#[inline]
fn sequence(position: u64) -> u32 {
    (position / GRANULE as u64) as u32
}

/// The reading end of a ring.
#[derive(Debug)]
pub struct Consumer<O, P> {
    own: O,
    peer: P,
    capacity: u64,
    max_record: usize,
    head: u64,
    /// The producer's tail as last seen.
    tail: u64,
    /// The head that the producer was last told.
    released: u64,
}

/// A record as it was copied and checked: descriptor, and where its parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The copied descriptor.
    pub descriptor: Descriptor,
    start: usize,
}

impl Record {
    /// Bytes of payload that are in the ring.
    #[inline]
    pub fn inline_length(&self) -> usize {
        if self.descriptor.flags & flag::IN_PLACE == 0 { self.descriptor.payload.get() as usize } else { 0 }
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
        Self { own, peer, capacity: layout.ring as u64, max_record: layout.max_record(), head: 0, tail: 0, released: 0 }
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
        if tail - self.released > self.capacity {
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
    #[inline]
    pub fn next_record(&mut self) -> Result<Option<Record>, Violation> {
        if !self.poll()? {
            return Ok(None);
        }
        let mut descriptor = self.look_at_descriptor()?;
        if descriptor.operation == operation::PAD {
            // It fills the ring to its end, is there because a record did not fit, and became visible with it.
            let length = u64::from(descriptor.length.get());
            let to_end = self.capacity - self.head % self.capacity;
            if length != to_end || length >= self.max_record as u64 {
                return Err(Violation::Length);
            }
            self.head += length;
            descriptor = self.look_at_descriptor()?;
            if descriptor.operation == operation::PAD {
                return Err(Violation::Descriptor);
            }
        }
        let length = u64::from(descriptor.length.get());
        let record = Record { descriptor, start: self.offset(self.head) + Descriptor::SIZE };
        // On their own first, so that the sum cannot overflow on any machine.
        let is_whole = length <= self.max_record as u64
            && record.inline_length() as u64 <= length
            && record_length(record.name(), record.second(), record.inline_length()) as u64 <= length;
        if !is_whole {
            return Err(Violation::Length);
        }
        self.head += length;
        Ok(Some(record))
    }

    /// Copies the descriptor at the head, and checks what holds for records and PADs alike.
    #[inline]
    fn look_at_descriptor(&self) -> Result<Descriptor, Violation> {
        let mut bytes = [0; Descriptor::SIZE];
        self.peer.read(self.offset(self.head), &mut bytes);
        let Ok(descriptor) = Descriptor::read_from_bytes(&bytes) else { return Err(Violation::Descriptor) };
        let length = u64::from(descriptor.length.get());
        let fits = length >= GRANULE as u64
            && length.is_multiple_of(GRANULE as u64)
            && length <= self.capacity - self.head % self.capacity
            && length <= self.tail - self.head;
        if !fits {
            return Err(Violation::Length);
        }
        let flags = descriptor.flags;
        let is_legal = descriptor.sequence.get() == sequence(self.head)
            && flags & !flag::ALL == 0
            && descriptor.reserved == 0
            && descriptor.reserved_end == [0; 16]
            && (flags & flag::IN_PLACE == 0 || flags & flag::FRAGMENT == 0)
            && (flags & flag::FRAGMENT != 0 || flags & flag::MORE == 0);
        if is_legal { Ok(descriptor) } else { Err(Violation::Descriptor) }
    }

    #[inline]
    fn offset(&self, position: u64) -> usize {
        offset_in_ring(position, self.capacity)
    }

    /// Copies the names of a record behind each other into `names`, and says where the second begins.
    #[inline]
    pub fn copy_names(&self, record: &Record, names: &mut Vec<u8>) -> usize {
        let (first, second) = (record.name(), record.second());
        names.resize(first + second, 0);
        let (name, rest) = names.split_at_mut(first);
        self.peer.read(record.start, name);
        self.peer.read(record.start + first.next_multiple_of(WORD), rest);
        first
    }

    /// Copies the payload bytes that are in the ring into memory of their length.
    ///
    /// # Panics
    /// When it is longer than the payload.
    #[inline]
    pub fn read_payload(&self, record: &Record, payload: &mut [u8]) {
        assert!(payload.len() <= record.inline_length(), "no more is read than there is");
        let names = record.name().next_multiple_of(WORD) + record.second().next_multiple_of(WORD);
        self.peer.read(record.start + names, payload);
    }

    /// Copies the payload bytes that are in the ring to the end of `payload`.
    #[inline]
    pub fn copy_payload(&self, record: &Record, payload: &mut Vec<u8>) {
        let names = record.name().next_multiple_of(WORD) + record.second().next_multiple_of(WORD);
        let before = payload.len();
        payload.resize(before + record.inline_length(), 0);
        self.peer.read(record.start + names, &mut payload[before..]);
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

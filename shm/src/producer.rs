//! The end of a ring that writes.

mod pages;
mod run;
mod words;

use crate::layout::{ControlLayout, Descriptor, EVENT, GRANULE, HEAD, Head, SPACE_EVENT, TAIL, flag, operation};
use crate::memory::{OwnMemory, PeerMemory};
use crate::producer::run::OpenRun;
use crate::producer::words::{LOW_HALF, NAMES_WORD, PAYLOAD_WORD, lengths_of, line, short_half};
use crate::ring::{Capacity, Parts, crosses, padded, record_length, short_record_length};
use crate::sync::{Fence, Ordering, fence};
use crate::violation::Violation;

/// How far ahead of the tail lines of the cache are asked for: about as far as a writer comes until they are there.
const AHEAD: u64 = 1 << 10;
/// Longer records take long enough.
const EXPECTED_AT_MOST: usize = 512;

/// The writing end of a ring.
#[derive(Debug)]
pub struct Producer<O, P> {
    own: O,
    peer: P,
    capacity: Capacity,
    max_record: usize,
    tail: u64,
    /// The consumer's head as last seen.
    head: u64,
    /// So many bytes of the ring, from its beginning on, have their pages.
    prepared: u64,
    /// There was no room at times.
    was_full: bool,
    /// Bytes of records in this lap that stand for many frames each.
    dense: u64,
    /// Up to here records may be written, as far as is known: what has been read by the consumer, and has its pages.
    end: u64,
    /// The tail at the last look at the consumer's event.
    signaled: u64,
    /// The record at the tail that payloads are still written into.
    open: OpenRun,
}

impl<O: OwnMemory, P: PeerMemory> Producer<O, P> {
    /// A producer at the beginning of a ring of zeros. `own` holds the ring, `peer` the consumer's cursors.
    pub fn new(own: O, peer: P, layout: ControlLayout) -> Self {
        Self {
            own,
            peer,
            capacity: Capacity::of(layout),
            max_record: layout.max_record(),
            tail: 0,
            head: 0,
            prepared: 0,
            was_full: false,
            dense: 0,
            end: 0,
            signaled: 0,
            open: OpenRun::default(),
        }
    }

    /// Bytes of the longest record.
    pub fn max_record(&self) -> usize {
        self.max_record
    }

    /// Room for a record of `length` bytes (a multiple of 64, at most [`max_record`](Self::max_record)), or `None`
    /// when the ring is full. Nothing changes until the reservation is committed; dropping it undoes it.
    ///
    /// # Errors
    /// When the consumer's head is impossible, or there is no memory for the ring.
    ///
    /// # Panics
    /// When the length is neither; the consumer would take the record for an attack.
    #[inline]
    pub fn reserve(&mut self, length: usize) -> Result<Option<Reservation<'_, O, P>>, Violation> {
        assert!(
            length.is_multiple_of(GRANULE) && length <= self.max_record,
            "a record is whole granules and not too long"
        );
        let start = self.claim(length)?;
        Ok(start.map(|start| Reservation { producer: self, start, length }))
    }

    /// The position of a record of `length` bytes, if there is room for it.
    #[inline]
    fn claim(&mut self, length: usize) -> Result<Option<u64>, Violation> {
        self.close_run();
        let mut need = self.need(length);
        if self.tail + need > self.end {
            match self.make_room(length)? {
                Some(needed) => need = needed,
                None => return Ok(None),
            }
        }
        Ok(Some(self.tail + (need - length as u64)))
    }

    /// Whether there is room for a record of `length` bytes, as of [`reserve`](Self::reserve).
    ///
    /// # Errors
    /// When the consumer's head is impossible, or there is no memory for the ring.
    #[inline]
    pub fn has_room_for(&mut self, length: usize) -> Result<bool, Violation> {
        Ok(self.claim(length)?.is_some())
    }

    /// Appends a whole record. `false` when the ring is full. All lengths in the descriptor are filled in.
    ///
    /// # Errors
    /// When the consumer's head is impossible, or there is no memory for the ring.
    ///
    /// # Panics
    /// When the record is longer than [`max_record`](Self::max_record).
    #[inline]
    pub fn push(&mut self, descriptor: &Descriptor, parts: Parts<'_>, payload: &[u8]) -> Result<bool, Violation> {
        let length = record_length(parts.name.len(), parts.second.len(), payload.len());
        self.push_whole(length, parts, payload, |start| {
            let mut line = line(start, length, descriptor);
            line[NAMES_WORD] = line[NAMES_WORD] & !LOW_HALF | lengths_of(parts);
            line[PAYLOAD_WORD] = line[PAYLOAD_WORD] & !LOW_HALF | payload.len() as u64;
            line
        })
    }

    /// As [`push`](Self::push), for a frame of which there is no more to say than its head: a short record.
    ///
    /// # Errors
    /// When the consumer's head is impossible, or there is no memory for the ring.
    ///
    /// # Panics
    /// When the record is longer than [`max_record`](Self::max_record).
    #[inline]
    pub fn push_frame(&mut self, head: Head, parts: Parts<'_>, payload: &[u8]) -> Result<bool, Violation> {
        let length = short_record_length(parts.name.len(), parts.second.len(), payload.len());
        self.push_whole(length, parts, payload, |start| {
            short_half(start, length, (head, flag::SHORT), parts, payload.len())
        })
    }

    /// A payload in a record is shorter than the ring, which `words` may rely on.
    #[inline(always)]
    fn push_whole<const WORDS: usize>(
        &mut self,
        length: usize,
        parts: Parts<'_>,
        payload: &[u8],
        words: impl FnOnce(u64) -> [u64; WORDS],
    ) -> Result<bool, Violation> {
        assert!(length <= self.max_record, "a record is not too long");
        let Some(start) = self.claim(length)? else { return Ok(false) };
        let words = words(start);
        self.publish(start, length, &words, [parts.name, parts.second, payload]);
        Ok(true)
    }

    /// Whether the consumer has to be woken for what was committed since the last call. Call it once a batch, under
    /// the lock under which the records were committed, and ring if it says so. A run that is open is closed.
    #[must_use = "who sleeps is not woken by itself"]
    #[inline]
    pub fn must_ring(&mut self) -> bool {
        self.close_run();
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
        self.close_run();
        let need = self.need(length).max(self.capacity.bytes() / 2);
        // The head at which there is room, and the position before it.
        let wanted = (self.tail + need).saturating_sub(self.capacity.bytes());
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
        self.close_run();
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
        let to_end = self.capacity.to_end(self.tail);
        let length = length as u64;
        if length > to_end { to_end + length } else { length }
    }

    /// Whether the consumer has left so much of the ring.
    #[inline]
    fn has_room(&self, need: u64) -> bool {
        self.tail - self.head + need <= self.capacity.bytes()
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
        self.set_end();
        Ok(())
    }

    /// Makes a record visible whose parts are written here, or have been written.
    #[inline]
    fn publish<const WORDS: usize, const PARTS: usize>(
        &mut self,
        start: u64,
        length: usize,
        words: &[u64; WORDS],
        parts: [&[u8]; PARTS],
    ) {
        if start != self.tail {
            self.fill_up_to(start);
        }
        self.own.write_record(self.capacity.offset(start), length, words, parts);
        self.advance(start, length);
    }

    /// Makes the record that was written there visible.
    #[inline]
    fn advance(&mut self, start: u64, length: usize) {
        self.tail = start + length as u64;
        self.expect(self.tail, length);
        // Release: whoever sees the tail sees the records (pairs with the Acquire in `Consumer::poll`).
        self.own.store(TAIL, self.tail, Ordering::Release);
    }

    /// Prepares for what will be written a while after this position, of about this length, where the consumer is known
    /// to have left.
    #[inline]
    fn expect(&self, position: u64, length: usize) {
        let ahead = position + AHEAD;
        let is_free = ahead + length as u64 <= self.end;
        if is_free && length as u64 <= self.capacity.to_end(ahead) && length <= EXPECTED_AT_MOST {
            self.own.expect_write(self.capacity.offset(ahead), length);
        }
    }

    /// A PAD fills the rest of the ring.
    #[cold]
    fn fill_up_to(&mut self, end: u64) {
        self.dense = 0;
        #[expect(clippy::cast_possible_truncation, reason = "what is left of the ring, which came from a usize")]
        let rest = (end - self.tail) as usize;
        let pad = Descriptor { operation: operation::PAD, ..Descriptor::default() };
        self.own.write_record(self.capacity.offset(self.tail), rest, &line(self.tail, rest, &pad), []);
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

impl<'a, O: OwnMemory, P: PeerMemory> Reservation<'a, O, P> {
    /// Writes the names.
    ///
    /// # Panics
    /// When they are longer than the reservation.
    #[inline]
    pub fn write_parts(&mut self, parts: Parts<'_>) {
        let end = record_length(parts.name.len(), parts.second.len(), 0);
        assert!(end <= self.length, "a record is written within its reservation");
        let at = self.producer.capacity.offset(self.start) + Descriptor::SIZE;
        self.producer.own.write(at, parts.name);
        self.producer.own.write(at + padded(parts.name.len()), parts.second);
    }

    /// Writes a part of the payload behind the names; `position` is a multiple of 8.
    ///
    /// # Panics
    /// When the part does not lie within the reservation.
    #[inline]
    pub fn write_payload(&mut self, parts: Parts<'_>, position: usize, bytes: &[u8]) {
        let names = padded(parts.name.len()) + padded(parts.second.len());
        let at = Descriptor::SIZE + names + position;
        assert!(at + bytes.len() <= self.length, "a record is written within its reservation");
        self.producer.own.write(self.producer.capacity.offset(self.start) + at, bytes);
    }

    /// As [`commit`](Self::commit), for a record that stands for many frames. Where most do, a ring needs fewer pages.
    #[inline]
    pub fn commit_dense(self, descriptor: &Descriptor) {
        let length = self.length as u64;
        self.publish(descriptor).dense += length;
    }

    /// Makes the record visible. Its length and sequence are filled in; the rest of the descriptor is the caller's.
    #[inline]
    pub fn commit(self, descriptor: &Descriptor) {
        self.publish(descriptor);
    }

    #[inline]
    fn publish(self, descriptor: &Descriptor) -> &'a mut Producer<O, P> {
        let Self { producer, start, length } = self;
        producer.publish(start, length, &line(start, length, descriptor), []);
        producer
    }
}

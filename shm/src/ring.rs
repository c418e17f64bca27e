//! The byte ring of a lane: records in one direction, one producer, one consumer.
//!
//! Positions are bytes that only grow; the byte at position `p` lies at `p % capacity`. The producer owns the tail,
//! the consumer the head, each in memory that only its process writes.
//!
//! Who sleeps says from which position on it wants to be woken (an event), and whoever passes that position rings
//! once: the "event index" of virtio (OASIS VIRTIO 1.2, section 2.7.10). A store of one's own cursor and a load of the
//! other's event stand on both sides; the sequentially consistent fence between them is what keeps a wake-up from
//! being lost: either the sleeper's last look sees the new cursor, or the other side's look sees the event.

use crate::layout::{ControlLayout, Descriptor, GRANULE, RING, WORD};

/// The parts of a record behind its descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts<'a> {
    /// Topic, target or mask (up), sender (down).
    pub name: &'a [u8],
    /// Receiver (up), topic (down).
    pub second: &'a [u8],
}

/// Bytes that a part takes.
#[inline]
pub(crate) fn padded(part: usize) -> usize {
    part.next_multiple_of(WORD)
}

/// Bytes of a record with these parts, a multiple of 64.
#[inline]
pub fn record_length(name: usize, second: usize, payload: usize) -> usize {
    let parts = padded(name) + padded(second) + padded(payload);
    (Descriptor::SIZE + parts).next_multiple_of(GRANULE)
}

/// Bytes of a record with these parts whose descriptor is short, a multiple of 64.
#[inline]
pub fn short_record_length(name: usize, second: usize, payload: usize) -> usize {
    let parts = padded(name) + padded(second) + padded(payload);
    (Descriptor::SHORT_SIZE + parts).next_multiple_of(GRANULE)
}

/// Bytes that a payload takes in a record that holds several.
#[inline]
pub(crate) fn run_length(payload: usize) -> usize {
    WORD + padded(payload)
}

/// Whether the bell has to be rung: the cursor has come from `signaled` to `position`, and the sleeper wants to hear
/// of the position behind `event`.
#[inline]
pub(crate) fn crosses(signaled: u64, event: u64, position: u64) -> bool {
    signaled <= event && event < position
}

/// Bytes of a ring, a power of two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity(u64);

impl Capacity {
    pub(crate) fn of(layout: ControlLayout) -> Self {
        assert!(layout.ring.is_power_of_two(), "a ring has a power of two of bytes");
        Self(layout.ring as u64)
    }

    #[inline]
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }

    /// Bytes from a position to the end of the ring.
    #[inline]
    pub(crate) fn to_end(self, position: u64) -> u64 {
        self.0 - self.in_ring(position)
    }

    /// Where in the segment the byte at a position lies.
    #[inline]
    pub(crate) fn offset(self, position: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "less than the capacity, which came from a usize")]
        let offset = self.in_ring(position) as usize;
        RING + offset
    }

    /// The remainder, without a division.
    #[inline]
    pub(crate) fn in_ring(self, position: u64) -> u64 {
        position & (self.0 - 1)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
#[inline]
pub(crate) fn sequence(position: u64) -> u32 {
    (position / GRANULE as u64) as u32
}

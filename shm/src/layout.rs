//! What lies where in shared memory: offsets, sizes, and nothing else.
//!
//! Both control segments of a lane have the same form. The client writes one ("up"), the broker the other ("down").
//!
//! ```text
//! 0      4096            8192                8192 + ring
//! | page | cursors       | ring of records   | ring of returned slots |
//!  header  one every 128 B  power of two        8 bytes an entry
//! ```
//!
//! The header (down segment only) is what the broker grants, see [`Header`]. Cursors are positions in bytes that only
//! grow, one to a pair of cache lines, because processors fetch lines in pairs:
//!
//! ```text
//! 4096 TAIL         records are written up to here
//! 4224 HEAD         the other segment's records are read up to here
//! 4352 EVENT        "ring my bell when your TAIL passes this"
//! 4480 SPACE_EVENT  "ring my bell when your HEAD passes this"
//! 4608 SLOT_TAIL    slots are returned up to here (counted in entries)
//! ```
//!
//! A record begins on a multiple of 64 and never crosses the end of the ring: a PAD record fills the rest. There may be
//! one long before it: a producer whose consumer is close behind may use the beginning of its ring again and again.
//!
//! ```text
//! 0            64        64 + name         + second          + payload
//! | descriptor | name .. | second name ..  | payload bytes .. |
//!                each part begins on a multiple of 8, the record ends on a multiple of 64
//! ```
//!
//! A frame whose payload is whole and in the ring says nothing in the second half of its descriptor, and leaves it out
//! ([`flag::SHORT`]): its parts begin at 32. With names and payload of 96 bytes together that is a cache line less.
//!
//! Frames that differ only in their payloads may share a record ([`flag::RUN`], always short): the payloads stand one
//! behind the other, each begins on a multiple of 8, and a word before it says how many bytes it has.
//!
//! ```text
//! 0                 32       32 + name         + second
//! | half descriptor | name .. | second name .. | bytes | payload .. | bytes | payload .. | ...
//! ```
//!
//! What goes to several receivers the broker may write once, in a segment of its own; their records are then whole
//! descriptors that say where the payloads are ([`flag::RUN`] and [`flag::IN_PLACE`]).

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Records and chunks begin on multiples of this.
pub const GRANULE: usize = 64;
/// The parts of a record begin on multiples of this.
pub const WORD: usize = 8;
/// Bytes of a page, the unit of segments.
pub const PAGE: usize = 4096;

/// Where the header is.
pub const HEADER: usize = 0;
/// Position up to which records are written.
pub const TAIL: usize = PAGE;
/// Position up to which the other segment's records are read.
pub const HEAD: usize = TAIL + CURSOR_STRIDE;
/// The bell is wanted when the other segment's [`TAIL`] passes this.
pub const EVENT: usize = HEAD + CURSOR_STRIDE;
/// The bell is wanted when the other segment's [`HEAD`] passes this.
pub const SPACE_EVENT: usize = EVENT + CURSOR_STRIDE;
/// Entries written to the ring of returned slots.
pub const SLOT_TAIL: usize = SPACE_EVENT + CURSOR_STRIDE;
/// Where the ring of records begins.
pub const RING: usize = 2 * PAGE;

/// Distance between cursors: a pair of cache lines. The same for every processor, because it is part of what both ends
/// agree on.
const CURSOR_STRIDE: usize = 128;

/// Bytes of the longest record with several payloads: its reader begins when all of it is written, and reads all of it.
pub const MAX_RUN: usize = 4 << 10;
/// Bytes of the payloads that one record names in place, and their lengths.
pub const MAX_PLACED_RUN: usize = 8 << 10;

/// A record is at most this fraction of its ring.
pub const RECORD_FRACTION: usize = 4;

/// What opens a lane: `BUSWAYL1`, little endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"BUSWAYL1");
/// The version of everything in this file.
pub const VERSION: u16 = 5;

/// Sizes of one control segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlLayout {
    /// Bytes of the ring of records: a power of two, at least [`MIN_RING`](Self::MIN_RING).
    pub ring: usize,
    /// Entries of the ring of returned slots: a power of two.
    pub slots: usize,
}

impl ControlLayout {
    /// The smallest ring: a quarter of it holds a descriptor and the longest names.
    pub const MIN_RING: usize = 16 << 10;
    /// The largest ring.
    pub const MAX_RING: usize = 16 << 20;
    /// The most slots.
    pub const MAX_SLOTS: usize = 1 << 16;

    /// Sizes that fit together, or `None`.
    pub fn new(ring: usize, slots: usize) -> Option<Self> {
        let fits = ring.is_power_of_two()
            && (Self::MIN_RING..=Self::MAX_RING).contains(&ring)
            && slots.is_power_of_two()
            && slots <= Self::MAX_SLOTS;
        fits.then_some(Self { ring, slots })
    }

    /// Where the ring of returned slots begins.
    pub fn slots_offset(&self) -> usize {
        RING + self.ring
    }

    /// Bytes of the segment, whole pages.
    pub fn total(&self) -> usize {
        (self.slots_offset() + self.slots * WORD).next_multiple_of(PAGE)
    }

    /// Bytes of the longest record.
    pub fn max_record(&self) -> usize {
        self.ring / RECORD_FRACTION
    }
}

/// What the broker grants, at the start of its segment; the client copies it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: U64,
    /// [`VERSION`].
    pub version: U16,
    /// Features that are on; none is defined yet.
    pub features: U16,
    /// Bytes of the ring in the client's segment.
    pub up_ring: U32,
    /// Bytes of the ring in the broker's segment.
    pub down_ring: U32,
    /// Payloads that the client may hold in place at once: entries of its ring of returned slots.
    pub leases: U32,
    /// Payloads of the client that may be out at once: entries of the broker's ring of returned slots.
    pub submissions: U32,
    /// Payloads up to this many bytes travel in the ring.
    pub inline_max: U32,
    /// Bytes of all arenas that the client may have.
    pub arena_bytes: U64,
    /// The longest payload.
    pub max_payload: U64,
    /// Must be zero.
    pub reserved: [u8; 16],
}

/// The fixed part of a record.
///
/// | bytes | field | |
/// |---|---|---|
/// | 0 | length | of the record, a multiple of 64 |
/// | 4 | operation | what it is: [`PAD`](operation::PAD), a wire operation or kind, or a lane operation |
/// | 5 | flags | [`flag`] |
/// | 6 | code | result code of an acknowledgement, QoS of an operation |
/// | 7 | reserved | 0 |
/// | 8 | op id | chosen by the client, echoed in the acknowledgement |
/// | 12 | sequence | low 32 bits of position / 64: tells a stale or foreign record |
/// | 16 | name, second name | bytes of each |
/// | 20 | stream | to which unfinished payload a fragment belongs |
/// | 24 | payload | bytes in this record; in place, bytes of the payload; in a run, of all payloads and their lengths |
/// | 28 | segment | in place: where the payload is |
/// | 32 | offset | in place: where in the segment; in a fragment: bytes of the whole payload |
/// | 40 | slot, generation | in place: submission (up) or lease (down) |
/// | 48 | reserved | 0 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Descriptor {
    /// Bytes of the record.
    pub length: U32,
    /// What it is.
    pub operation: u8,
    /// See [`flag`].
    pub flags: u8,
    /// Result code or QoS.
    pub code: u8,
    /// 0.
    pub reserved: u8,
    /// The client's number for the operation.
    pub op_id: U32,
    /// Low 32 bits of position / 64.
    pub sequence: U32,
    /// Bytes of the first name.
    pub name: U16,
    /// Bytes of the second name.
    pub second: U16,
    /// Which unfinished payload a fragment belongs to.
    pub stream: U32,
    /// Bytes of payload.
    pub payload: U32,
    /// Which segment.
    pub segment: U32,
    /// Offset in the segment, or bytes of the whole payload.
    pub offset: U64,
    /// Which slot.
    pub slot: U32,
    /// Which use of the slot.
    pub generation: U32,
    /// 0.
    pub reserved_end: [u8; 16],
}

/// What a descriptor says of most frames, packed as it lies in a record: all of it is moved at once.
///
/// Bits 0 to 7 operation, 8 to 15 flags, 16 to 23 code, 24 to 31 zero, 32 to 63 op id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head(u64);

impl Head {
    /// The head of a frame; see the [`Descriptor`] for its parts.
    #[inline]
    pub const fn new(operation: u8, flags: u8, code: u8, op_id: u32) -> Self {
        Self(operation as u64 | (flags as u64) << 8 | (code as u64) << 16 | (op_id as u64) << 32)
    }

    /// The same with another op id.
    #[inline]
    #[must_use]
    pub const fn with_op_id(self, op_id: u32) -> Self {
        Self(self.0 & u32::MAX as u64 | (op_id as u64) << 32)
    }

    /// Operation, flags and code in the upper half, as in the first word of a record.
    #[inline]
    pub(crate) const fn first_word(self) -> u64 {
        self.0 << 32
    }

    /// The op id in the lower half, as in the second word of a record.
    #[inline]
    pub(crate) const fn second_word(self) -> u64 {
        self.0 >> 32
    }
}

impl From<Head> for Descriptor {
    fn from(Head(head): Head) -> Self {
        let [operation, flags, code, ..] = head.to_le_bytes();
        Self { operation, flags, code, op_id: U32::new((head >> 32) as u32), ..Self::default() }
    }
}

impl From<&Descriptor> for Head {
    fn from(descriptor: &Descriptor) -> Self {
        Self::new(descriptor.operation, descriptor.flags, descriptor.code, descriptor.op_id.get())
    }
}

/// Bits of a descriptor's flags.
pub mod flag {
    /// Sent with a real-time QoS.
    pub const REALTIME: u8 = 1;
    /// The payload lies in a segment.
    pub const IN_PLACE: u8 = 1 << 1;
    /// The payload is a part of a longer one.
    pub const FRAGMENT: u8 = 1 << 2;
    /// More fragments of this payload follow.
    pub const MORE: u8 = 1 << 3;
    /// The record holds only the first half of its descriptor; the second is zero. Neither in place nor a fragment.
    pub const SHORT: u8 = 1 << 4;
    /// Payloads, each of a frame of its own: in the record, which is short and has at most [`MAX_RUN`](super::MAX_RUN)
    /// bytes, or in place, at most [`MAX_PLACED_RUN`](super::MAX_PLACED_RUN) bytes.
    pub const RUN: u8 = 1 << 5;
    /// All that have a meaning.
    pub const ALL: u8 = REALTIME | IN_PLACE | FRAGMENT | MORE | SHORT | RUN;
}

/// Operations of the lane itself; those of the wire keep their numbers.
pub mod operation {
    /// Fills the end of a ring.
    pub const PAD: u8 = 0;
    /// Client: the segment named is mapped and may be used.
    pub const SEGMENT_OK: u8 = 0xE1;
    /// Client: the segment named cannot be mapped, payloads in it must be copied.
    pub const SEGMENT_FAILED: u8 = 0xE2;
    /// Broker: no payload will name this segment any more.
    pub const SEGMENT_GONE: u8 = 0xE3;
    /// Client: asks for an arena of `offset` bytes.
    pub const ARENA_WANTED: u8 = 0xE4;
    /// Broker: the arena named may be used.
    pub const ARENA_READY: u8 = 0xE5;
    /// Broker: there is no arena of `offset` bytes for this client.
    pub const ARENA_REFUSED: u8 = 0xE6;
    /// Client: the arena named is no longer used and nothing of it is out.
    pub const ARENA_DROPPED: u8 = 0xE7;
    /// Broker: `op_id` frames were dropped before the next one.
    pub const GAP: u8 = 0xE8;
}

impl Descriptor {
    /// Bytes of a descriptor.
    pub const SIZE: usize = 64;
    /// Bytes of the half that a [`SHORT`](flag::SHORT) record holds.
    pub const SHORT_SIZE: usize = 32;
}

const _: () = assert!(size_of::<Descriptor>() == Descriptor::SIZE && Descriptor::SIZE == GRANULE);
const _: () = assert!(std::mem::offset_of!(Descriptor, offset) == Descriptor::SHORT_SIZE);
const _: () = assert!(std::mem::offset_of!(Descriptor, reserved_end) == 48);
const _: () = assert!(size_of::<Header>() == 64 && size_of::<Header>() <= PAGE);
const _: () = assert!(TAIL == 4096 && HEAD == 4224 && EVENT == 4352 && SPACE_EVENT == 4480 && SLOT_TAIL == 4608);
// What keeps two cursors from sharing what a processor fetches at once.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const _: () = assert!(CURSOR_STRIDE == size_of::<crossbeam_utils::CachePadded<u64>>());
const _: () = assert!(SLOT_TAIL + WORD <= RING);
const _: () = assert!(ControlLayout::MIN_RING / RECORD_FRACTION >= Descriptor::SIZE + 2 * 1032);

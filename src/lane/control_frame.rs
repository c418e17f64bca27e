//! What a broker sends beside a lane: segments, whose descriptors only a socket can carry.

use busway_net::wire::BrokerHeader;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The kind of these frames: unknown to BUS/RT, sent only to who has taken a lane over.
pub(crate) const SEGMENT_KIND: u8 = 0x30;

/// For its client to write.
const ARENA: u8 = 1;
/// For its client to read.
const INTRODUCTION: u8 = 2;

/// A segment that comes with this frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct SegmentFrame {
    pub(crate) number: U32,
    pub(crate) length: U64,
    /// The user whose process writes it.
    pub(crate) owner: U32,
    purpose: u8,
}

impl SegmentFrame {
    #[cfg(feature = "broker")]
    pub(super) fn arena(number: u32, length: usize, owner: u32) -> Self {
        Self { number: number.into(), length: (length as u64).into(), owner: owner.into(), purpose: ARENA }
    }

    #[cfg(feature = "broker")]
    pub(super) fn introduction(number: u32, length: usize, owner: u32) -> Self {
        Self { purpose: INTRODUCTION, ..Self::arena(number, length, owner) }
    }

    /// Appends the whole frame.
    #[cfg(feature = "broker")]
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        #[expect(clippy::cast_possible_truncation, reason = "17 bytes")]
        let length = U32::new(size_of::<Self>() as u32);
        let header = BrokerHeader { kind: SEGMENT_KIND, length, trailer: 0 };
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(self.as_bytes());
    }

    /// What is in the body of a frame.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let frame = Self::read_from_bytes(body).ok()?;
        matches!(frame.purpose, ARENA | INTRODUCTION).then_some(frame)
    }

    pub(super) fn is_arena(&self) -> bool {
        self.purpose == ARENA
    }
}

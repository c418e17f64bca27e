//! What a broker sends beside a lane: segments, whose descriptors only a socket can carry.

#[cfg(feature = "broker")]
use std::hash::{BuildHasher, RandomState};

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
    /// The answer repeats it: who has not read the frame cannot answer, so that descriptors which nobody takes never
    /// pile up.
    pub(crate) token: U64,
}

impl SegmentFrame {
    #[cfg(feature = "broker")]
    pub(super) fn arena(number: u32, length: usize, owner: u32, token: u64) -> Self {
        let length = (length as u64).into();
        Self { number: number.into(), length, owner: owner.into(), purpose: ARENA, token: token.into() }
    }

    #[cfg(feature = "broker")]
    pub(super) fn introduction(number: u32, length: usize, owner: u32, token: u64) -> Self {
        Self { purpose: INTRODUCTION, ..Self::arena(number, length, owner, token) }
    }

    /// Appends the whole frame.
    #[cfg(feature = "broker")]
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let length = U32::new(u32::try_from(size_of::<Self>()).unwrap_or(u32::MAX));
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

/// Numbers for questions to a client, which it cannot guess.
#[cfg(feature = "broker")]
#[derive(Debug, Default)]
pub(super) struct Questions {
    key: RandomState,
    asked: u64,
}

#[cfg(feature = "broker")]
impl Questions {
    /// The number of the next question.
    pub(super) fn next(&mut self) -> u64 {
        self.asked += 1;
        self.key.hash_one(self.asked)
    }
}

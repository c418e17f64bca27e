//! The fixed parts of a frame, byte by byte.

use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What opens every frame from a client.
///
/// ```text
/// 0        4     5        9
/// | op id  |flags| length | body ...
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ClientHeader {
    /// Chosen by the client, echoed in the acknowledgement.
    pub op_id: U32,
    /// Operation in bits 0 to 5, QoS in bits 6 and 7; 0 is a ping.
    pub flags: u8,
    /// Bytes that follow the header.
    pub length: U32,
}

impl ClientHeader {
    /// Bytes of the header on the wire.
    pub const SIZE: usize = 9;
}

/// What opens every frame from a broker.
///
/// ```text
/// 0     1        5         6
/// |kind | length | realtime| body ...
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BrokerHeader {
    /// A [`FrameKind`](super::FrameKind) code, or nop or acknowledgement.
    pub kind: u8,
    /// Bytes that follow the header; in an acknowledgement the op id.
    pub length: U32,
    /// 1 if the frame was sent with a real-time QoS; in an acknowledgement the result code.
    pub trailer: u8,
}

impl BrokerHeader {
    /// Bytes of the header on the wire.
    pub const SIZE: usize = 6;
}

const _: () = assert!(size_of::<ClientHeader>() == ClientHeader::SIZE);
const _: () = assert!(size_of::<BrokerHeader>() == BrokerHeader::SIZE);

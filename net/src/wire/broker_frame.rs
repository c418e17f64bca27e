//! Frames from a broker: what the client decodes and the broker encodes.

use zerocopy::{FromBytes, IntoBytes};

use super::assembler::{Announced, Grammar, Parsed};
use super::{BrokerHeader, FrameKind, Limits, ResultCode, Violation};

/// The fixed part of a broker frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerFrame {
    /// A keep-alive. Clients ignore all of it; it is kept for peers that agree on more.
    Ping {
        /// The six bytes as they came.
        raw: [u8; BrokerHeader::SIZE],
    },
    /// The answer to an operation that asked for one.
    Acknowledgement {
        /// The operation's.
        op_id: u32,
        /// What became of it.
        code: ResultCode,
    },
    /// Something for the application. Its first name is the sender, its second the topic of a publication.
    Delivery {
        /// How it was addressed.
        kind: FrameKind,
        /// Whether it was sent with a real-time QoS.
        realtime: bool,
    },
    /// A frame of a kind outside of BUS/RT that this connection has enabled; the body is the payload.
    Extra {
        /// The kind byte.
        kind: u8,
        /// The last byte of the header.
        trailer: u8,
    },
}

/// How broker frames are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct BrokerFrames {
    /// Checked before memory is taken.
    pub limits: Limits,
    /// Bit n set: kind n (below 64), unknown to BUS/RT, is delivered as [`BrokerFrame::Extra`] on this connection.
    pub extra_kinds: u64,
}

impl Grammar for BrokerFrames {
    type Meta = BrokerFrame;

    #[inline(always)]
    fn parse(&self, input: &[u8], inline: usize) -> Result<Parsed<BrokerFrame>, Violation> {
        let Ok((header, body)) = BrokerHeader::ref_from_prefix(input) else {
            return Ok(Parsed::Incomplete);
        };
        let length = header.length.get();
        let (meta, names) = match header.kind {
            FrameKind::NOP => {
                let mut raw = [0; BrokerHeader::SIZE];
                raw.copy_from_slice(header.as_bytes());
                return Ok(Parsed::short(BrokerHeader::SIZE, BrokerFrame::Ping { raw }));
            }
            FrameKind::ACKNOWLEDGEMENT => {
                let meta = BrokerFrame::Acknowledgement { op_id: length, code: ResultCode(header.trailer) };
                return Ok(Parsed::short(BrokerHeader::SIZE, meta));
            }
            byte => match FrameKind::from_byte(byte) {
                Some(kind) => {
                    let names = if kind == FrameKind::Publication { 2 } else { 1 };
                    (BrokerFrame::Delivery { kind, realtime: header.trailer != 0 }, names)
                }
                None if byte < 64 && self.extra_kinds & (1 << byte) != 0 => {
                    (BrokerFrame::Extra { kind: byte, trailer: header.trailer }, 0)
                }
                None => return Err(Violation::UnknownKind(byte)),
            },
        };
        let length = length as usize;
        if length > self.limits.max_body() {
            return Err(Violation::PayloadTooLong { length, limit: self.limits.max_payload });
        }
        Announced { meta, header: BrokerHeader::SIZE, length, names }.parse(body, inline, &self.limits)
    }
}

/// Appends what stands before a payload: header, sender and, for a publication, topic.
///
/// `payload_length` is what follows the head on the wire.
pub fn encode_broker_head(
    out: &mut Vec<u8>,
    (kind, realtime): (FrameKind, bool),
    (sender, topic): (&[u8], Option<&[u8]>),
    payload_length: usize,
) {
    let names = sender.len() + 1 + topic.map_or(0, |topic| topic.len() + 1);
    let length = names + payload_length;
    debug_assert!(u32::try_from(length).is_ok(), "the payload limit keeps lengths within 32 bits");
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let header = BrokerHeader { kind: kind as u8, length: length.into(), trailer: u8::from(realtime) };
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(sender);
    out.push(0);
    if let Some(topic) = topic {
        out.extend_from_slice(topic);
        out.push(0);
    }
}

/// An acknowledgement, whole.
pub fn encode_acknowledgement(op_id: u32, code: ResultCode) -> [u8; BrokerHeader::SIZE] {
    let [a, b, c, d] = op_id.to_le_bytes();
    [FrameKind::ACKNOWLEDGEMENT, a, b, c, d, code.0]
}

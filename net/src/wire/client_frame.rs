//! Frames from a client: what the broker decodes and the client encodes.

use zerocopy::{FromBytes, IntoBytes};

use super::assembler::{Announced, Grammar, Parsed};
use super::{ClientHeader, Limits, Operation, QoS, Violation};

/// The fixed part of a client frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// A keep-alive. Brokers ignore all of it but the flags byte; the rest is kept for peers that agree on more.
    Ping {
        /// The nine bytes as they came.
        raw: [u8; ClientHeader::SIZE],
    },
    /// An operation. Its first name is the topic, target or mask (empty when it takes topics: they are the
    /// payload), its second the receiver of a publish-for.
    Operation {
        /// Echoed in the acknowledgement.
        op_id: u32,
        /// What is asked for.
        operation: Operation,
        /// How surely.
        qos: QoS,
    },
    /// An operation outside of BUS/RT that this connection has enabled; the body is the payload.
    Extra {
        /// Echoed in the acknowledgement.
        op_id: u32,
        /// Bits 0 to 5 of the flags.
        code: u8,
        /// How surely.
        qos: QoS,
    },
}

/// How client frames are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientFrames {
    /// Checked before memory is taken.
    pub limits: Limits,
    /// Bit n set: operation n, unknown to BUS/RT, is delivered as [`ClientFrame::Extra`] on this connection.
    pub extra_operations: u64,
}

impl Grammar for ClientFrames {
    type Meta = ClientFrame;

    #[inline(always)]
    fn parse(&self, input: &[u8], inline: usize) -> Result<Parsed<ClientFrame>, Violation> {
        let Ok((header, body)) = ClientHeader::ref_from_prefix(input) else {
            return Ok(Parsed::Incomplete);
        };
        if header.flags == 0 {
            let mut raw = [0; ClientHeader::SIZE];
            raw.copy_from_slice(header.as_bytes());
            return Ok(Parsed::short(ClientHeader::SIZE, ClientFrame::Ping { raw }));
        }
        let length = header.length.get() as usize;
        if length > self.limits.max_body() {
            return Err(Violation::PayloadTooLong { length, limit: self.limits.max_payload });
        }
        let (op_id, qos) = (header.op_id.get(), QoS::from_flags(header.flags));
        let (meta, names) = match Operation::from_flags(header.flags) {
            Some(operation) => {
                let names = match operation {
                    _ if operation.takes_topics() => 0,
                    Operation::PublishFor => 2,
                    _ => 1,
                };
                (ClientFrame::Operation { op_id, operation, qos }, names)
            }
            None => {
                let code = header.flags & 0b0011_1111;
                if self.extra_operations & (1 << code) == 0 {
                    return Err(Violation::UnknownOperation(code));
                }
                (ClientFrame::Extra { op_id, code, qos }, 0)
            }
        };
        Announced { meta, header: ClientHeader::SIZE, length, names }.parse(body, inline, &self.limits)
    }
}

/// Appends what stands before a payload: header, address and, for a publish-for, receiver.
///
/// The caller has checked that `address` and `receiver` hold no NUL (see [`Limits::check_path`]) and that the payload
/// is within [`Limits::max_payload`].
pub fn encode_client_head(
    out: &mut Vec<u8>,
    op_id: u32,
    (operation, qos): (Operation, QoS),
    (address, receiver): (&[u8], Option<&[u8]>),
    payload_length: usize,
) {
    let names = address.len() + 1 + receiver.map_or(0, |receiver| receiver.len() + 1);
    encode_header(out, op_id, operation.flags(qos), names + payload_length);
    out.extend_from_slice(address);
    out.push(0);
    if let Some(receiver) = receiver {
        out.extend_from_slice(receiver);
        out.push(0);
    }
}

/// Appends a whole frame of an operation that takes topics.
pub fn encode_topics_head<'a>(
    out: &mut Vec<u8>,
    op_id: u32,
    (operation, qos): (Operation, QoS),
    topics: impl Iterator<Item = &'a str> + Clone,
) {
    let length = topics.clone().map(|topic| topic.len() + 1).sum::<usize>().saturating_sub(1);
    encode_header(out, op_id, operation.flags(qos), length);
    for (position, topic) in topics.enumerate() {
        if position > 0 {
            out.push(0);
        }
        out.extend_from_slice(topic.as_bytes());
    }
}

fn encode_header(out: &mut Vec<u8>, op_id: u32, flags: u8, length: usize) {
    debug_assert!(u32::try_from(length).is_ok(), "the payload limit keeps lengths within 32 bits");
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let header = ClientHeader { op_id: op_id.into(), flags, length: length.into() };
    out.extend_from_slice(header.as_bytes());
}

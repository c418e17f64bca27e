//! The BUS/RT protocol, version 1, without I/O: bytes in, frames out, and back.
//!
//! Nothing here reads a socket, a clock or a task. The broker's end decodes [`ClientFrames`] and encodes with
//! [`encode_broker_head`]; the application's end does the opposite. Both feed an [`Assembler`], which takes bytes in
//! any split and never takes memory on the strength of a length field alone.

mod assembler;
mod broker_frame;
mod client_frame;
mod code;
pub mod fifo;
mod handshake;
mod header;
mod limits;
mod operation;
mod payloads;
pub mod rpc;
mod tag;
mod violation;
mod words;

pub use assembler::{Assembler, BodyMemory, Event, Grammar, Parsed, Received, ReceivedPayload};
pub use broker_frame::{BrokerFrame, BrokerFrames, encode_acknowledgement, encode_broker_head};
pub use client_frame::{ClientFrame, ClientFrames, encode_client_head, encode_topics_head};
pub use code::ResultCode;
pub use handshake::{BrokerHandshake, BrokerStep, ClientHandshake, ClientStep, Refusal, encode_name};
pub use header::{BrokerHeader, ClientHeader};
pub use limits::{Limits, NameFault, PathFault};
pub use operation::{FrameKind, Operation, QoS};
pub use payloads::Payloads;
pub use tag::{BrokerTag, ClientTag};
pub use violation::Violation;
pub use words::{has_nul, is_same};

/// The first byte either side sends.
pub const GREETING: u8 = 0xEB;
/// The protocol version that this crate speaks.
pub const PROTOCOL_VERSION: u16 = 1;
/// Greeting and version as they stand on the wire; the client repeats what the broker sent.
pub const HELLO: [u8; 3] = [GREETING, 1, 0];
/// A client's keep-alive: nine bytes, all ignored by the broker but the flags byte, which is 0.
pub const CLIENT_PING: [u8; ClientHeader::SIZE] = [0; ClientHeader::SIZE];
/// The broker's keep-alive.
pub const BROKER_PING: [u8; BrokerHeader::SIZE] = [0; BrokerHeader::SIZE];
/// What separates a primary name from the rest of a secondary's name.
pub const SECONDARY_SEPARATOR: &str = "%%";

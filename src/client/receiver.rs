//! Frames from the broker, on their way to the application.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use busway_net::Pool;
use busway_net::link::{Chunk, Readiness};
use busway_net::wire::{BrokerFrame, ReceivedPayload, ResultCode, Violation};
use foldhash::fast::RandomState;

use super::handshake::Reader;
use crate::frame::Frame;
use crate::payload::Payload;

/// Decodes what a connection brings.
#[derive(Debug)]
pub(super) struct Receiver {
    reader: Reader,
    pool: Pool,
    names: NameCache,
    /// Frames of the read at hand.
    pub(super) frames: Vec<Frame>,
    /// Confirmations of the read at hand.
    pub(super) codes: Vec<Acknowledgement>,
}

/// A confirmation, and how many frames of the same read came before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgement {
    pub(super) op_id: u32,
    pub(super) code: ResultCode,
    pub(super) frames_before: usize,
}

impl Receiver {
    pub(super) fn new(reader: Reader) -> Self {
        let pool = reader.pool().clone();
        Self { reader, pool, names: NameCache::default(), frames: Vec::new(), codes: Vec::new() }
    }

    /// Reads once; the frames are then decoded by [`decode`](Receiver::decode).
    pub(super) fn read(&mut self, readiness: &mut Readiness<'_>) -> io::Result<Chunk> {
        self.reader.read(readiness)
    }

    /// Decodes every whole frame that has arrived.
    pub(super) fn decode(&mut self) -> Result<(), Violation> {
        while let Some(received) = self.reader.next_frame()? {
            match received.meta {
                BrokerFrame::Acknowledgement { op_id, code } => {
                    self.codes.push(Acknowledgement { op_id, code, frames_before: self.frames.len() });
                }
                BrokerFrame::Delivery { kind, realtime } => {
                    let payload = match received.payload {
                        ReceivedPayload::Owned(memory) => self.pool.share(memory).into(),
                        ReceivedPayload::Borrowed(bytes) => self.pool.share_copy(bytes).into(),
                        ReceivedPayload::Announced(_) => Payload::new(),
                    };
                    let is_publication = kind == busway_net::wire::FrameKind::Publication;
                    let topic = is_publication.then_some(received.second);
                    self.frames.push(Frame {
                        kind,
                        realtime,
                        sender: self.names.get(received.first)?,
                        topic: topic.map(|topic| self.names.get(topic)).transpose()?,
                        payload,
                        lost_before: 0,
                    });
                }
                BrokerFrame::Ping { .. } | BrokerFrame::Extra { .. } => {}
            }
        }
        Ok(())
    }

    /// Gives the read buffer back when nothing is in it.
    pub(super) fn release(&mut self) {
        self.reader.release();
    }
}

/// Names that have come before: most frames name the same few senders and topics.
#[derive(Debug, Default)]
struct NameCache {
    names: HashMap<Box<[u8]>, Arc<str>, RandomState>,
}

/// Names that are kept at most.
const MAX_NAMES: usize = 1024;

impl NameCache {
    fn get(&mut self, bytes: &[u8]) -> Result<Arc<str>, Violation> {
        if let Some(name) = self.names.get(bytes) {
            return Ok(Arc::clone(name));
        }
        let name: Arc<str> = std::str::from_utf8(bytes).map_err(|_| Violation::NotUtf8)?.into();
        if self.names.len() >= MAX_NAMES {
            self.names.clear();
        }
        self.names.insert(bytes.into(), Arc::clone(&name));
        Ok(name)
    }
}

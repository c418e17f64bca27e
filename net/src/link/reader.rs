//! Frames from a socket, a whole read at a time.

use std::io;
use std::os::fd::OwnedFd;

use super::socket::{Chunk, Readiness};
use crate::Pool;
use crate::wire::{Assembler, Event, Grammar, Violation};

/// Descriptors that may wait for [`take_descriptors`](FrameReader::take_descriptors): a peer must not use up those of
/// the process.
const MAX_WAITING: usize = 64;

/// An [`Assembler`] that is fed from a socket and takes its memory from a [`Pool`].
#[derive(Debug)]
pub struct FrameReader<G: Grammar> {
    assembler: Assembler<G>,
    pool: Pool,
    /// `Some` once this connection has agreed to receive descriptors.
    descriptors: Option<Vec<OwnedFd>>,
}

impl<G: Grammar> FrameReader<G> {
    /// A reader without memory.
    pub fn new(grammar: G, pool: Pool) -> Self {
        Self { assembler: Assembler::new(grammar), pool, descriptors: None }
    }

    /// From now on descriptors that arrive are kept for [`take_descriptors`](FrameReader::take_descriptors); before,
    /// the kernel closes them.
    pub fn accept_descriptors(&mut self) {
        self.descriptors.get_or_insert_default();
    }

    /// The descriptors that have arrived, in order.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        self.descriptors.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Reads once.
    ///
    /// # Errors
    /// When the connection is gone, or more descriptors have come than any frame needs.
    pub fn read(&mut self, readiness: &mut Readiness<'_>) -> io::Result<Chunk> {
        let room = self.assembler.room(&mut self.pool);
        match &mut self.descriptors {
            None => readiness.read(room),
            Some(descriptors) => {
                let chunk = readiness.read_with(room, descriptors)?;
                if descriptors.len() > MAX_WAITING {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors pile up that no frame needs"));
                }
                Ok(chunk)
            }
        }
    }

    /// The next frame of what has been read.
    ///
    /// # Errors
    /// When the peer's bytes are not the protocol.
    pub fn next_frame(&mut self) -> Result<Option<Event<'_, G>>, Violation> {
        self.assembler.next(&mut self.pool)
    }

    /// Gives the read buffer back when nothing is in it.
    pub fn release(&mut self) {
        self.assembler.release(&mut self.pool);
    }

    /// Whether a frame has begun to arrive and is not complete.
    pub fn is_amid(&self) -> bool {
        self.assembler.is_amid()
    }

    /// The assembler, for a handshake that precedes the frames.
    pub fn assembler_mut(&mut self) -> &mut Assembler<G> {
        &mut self.assembler
    }

    /// Where large payloads go back to.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

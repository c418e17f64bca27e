//! Frames from a socket, a whole read at a time.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use super::pipes::Pipes;
use super::readiness::{Chunk, Readiness};
use crate::Pool;
use crate::wire::{Assembler, Event, Grammar, Payloads, Violation};

/// Descriptors that may wait for [`take_descriptors`](FrameReader::take_descriptors): a peer must not use up those of
/// the process.
const MAX_WAITING: usize = 64;

/// An [`Assembler`] that is fed from a socket and takes its memory from a [`Pool`].
#[derive(Debug)]
pub struct FrameReader<G: Grammar> {
    assembler: Assembler<G>,
    pool: Pool,
    beside: Beside,
    /// What passes on its way when more than bytes is expected.
    buffer: Vec<u8>,
}

/// What is taken of what comes beside the bytes.
#[derive(Debug)]
enum Beside {
    Nothing,
    Descriptors(Vec<OwnedFd>),
    Sender(Option<i32>),
}

/// Bytes that are read at once when more than bytes is expected.
const BUFFER: usize = 64 << 10;

impl<G: Grammar> FrameReader<G> {
    /// A reader without memory.
    pub fn new(grammar: G, pool: Pool) -> Self {
        Self { assembler: Assembler::new(grammar), pool, beside: Beside::Nothing, buffer: Vec::new() }
    }

    /// From now on descriptors that arrive are kept for [`take_descriptors`](FrameReader::take_descriptors); before,
    /// the kernel closes them.
    pub fn accept_descriptors(&mut self) {
        self.beside = Beside::Descriptors(Vec::new());
    }

    /// From now on each read says who sent it, see [`Socket::attest_senders`](super::Socket::attest_senders).
    pub fn attest_senders(&mut self) {
        self.beside = Beside::Sender(None);
    }

    /// Nothing but bytes is expected any more.
    pub fn accept_bytes_alone(&mut self) {
        (self.beside, self.buffer) = (Beside::Nothing, Vec::new());
    }

    /// The descriptors that have arrived, in order.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        match &mut self.beside {
            Beside::Descriptors(descriptors) => std::mem::take(descriptors),
            _ => Vec::new(),
        }
    }

    /// The process that sent the bytes of the last read, if that was asked for.
    pub fn last_sender(&self) -> Option<i32> {
        match self.beside {
            Beside::Sender(sender) => sender,
            _ => None,
        }
    }

    /// Reads once.
    ///
    /// # Errors
    /// When the connection is gone, or more descriptors have come than any frame needs.
    pub fn read(&mut self, readiness: &mut Readiness<'_>) -> io::Result<Chunk> {
        let room = self.assembler.room(&mut self.pool);
        if !matches!(self.beside, Beside::Nothing) {
            self.buffer.resize(BUFFER, 0);
        }
        match &mut self.beside {
            Beside::Nothing => readiness.read(room),
            Beside::Sender(sender) => {
                *sender = None;
                readiness.read_attested(room, &mut self.buffer, sender)
            }
            Beside::Descriptors(descriptors) => {
                let chunk = readiness.read_with(room, &mut self.buffer, descriptors)?;
                if descriptors.len() > MAX_WAITING {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors pile up that no frame needs"));
                }
                Ok(chunk)
            }
        }
    }

    /// The large frame that has begun to arrive, once, see [`Assembler::take_announced`]; not while more than bytes is
    /// expected.
    pub fn take_announced(&mut self) -> Option<Event<'_, G>> {
        match self.beside {
            Beside::Nothing => self.assembler.take_announced(),
            _ => None,
        }
    }

    /// Bytes that are missing of the payload of a large frame.
    pub fn missing(&self) -> usize {
        self.assembler.missing()
    }

    /// Gives memory back that a payload does not need that goes into pipes.
    pub fn slim(&mut self) {
        self.assembler.slim(&mut self.pool);
    }

    /// Reads the rest of a large frame's payload into pipes, without copying it. `None` when these take no more: what they
    /// have taken is in memory then, and the frame is read on as all others.
    pub fn read_into_pipes(&mut self, readiness: &mut Readiness<'_>, pipes: &mut Pipes) -> Option<Chunk> {
        let chunk = readiness.read_into_pipes(pipes, self.assembler.missing());
        match chunk {
            Some(Chunk::Full(count) | Chunk::Last(count)) => self.assembler.pass(count),
            Some(Chunk::Empty | Chunk::End) => {}
            None => self.assembler.bring(&mut self.pool, |memory| pipes.read_into(memory)),
        }
        chunk
    }

    /// The next frame of what has been read.
    ///
    /// # Errors
    /// When the peer's bytes are not the protocol.
    #[inline(always)]
    pub fn next_frame(&mut self) -> Result<Option<Event<'_, G>>, Violation> {
        self.assembler.next(&mut self.pool)
    }

    /// See [`Assembler::next_run`].
    #[inline]
    pub fn next_run<'a>(
        &'a mut self,
        places: (usize, &'a mut Vec<Range<usize>>),
        is_next: impl Fn(&G::Meta, &[u8], usize) -> bool,
    ) -> Payloads<'a> {
        self.assembler.next_run(places, is_next)
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

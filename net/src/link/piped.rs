//! A payload of which all but the beginning waits in pipes.

use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::batch::BodyObject;
use super::pipes::Pipes;
use crate::Pool;

/// Shorter payloads are copied: that costs less than the calls.
pub const SHORTEST_PIPED: usize = 512 << 10;

/// A payload for one receiver, whole, on its way from socket to socket. Whoever wants to look at it copies it to memory.
pub struct Piped {
    front: Bytes,
    length: usize,
    rest: Mutex<Pipes>,
    copied: OnceLock<Bytes>,
    pool: Pool,
}

impl Piped {
    /// A payload that begins with `front` and goes on in pipes.
    pub fn new(front: Vec<u8>, mut rest: Pipes, pool: &Pool) -> Self {
        rest.finish();
        let (length, pool) = (front.len() + rest.held(), pool.clone());
        Self { front: pool.share(front), length, rest: Mutex::new(rest), copied: OnceLock::new(), pool }
    }

    /// Copies it to memory, once. Not for a payload that is being written.
    pub fn copy(&self) -> &Bytes {
        self.copied.get_or_init(|| {
            let mut memory = self.pool.take(self.length);
            memory.extend_from_slice(&self.front);
            self.rest.lock().read_into(&mut memory);
            if memory.len() != self.length {
                debug_assert_eq!(memory.len(), self.length, "nobody looks at what is being written");
                tracing::error!("{} of {} bytes of a payload are missing", self.length - memory.len(), self.length);
                // The stream stays in step.
                memory.resize(self.length, 0);
            }
            self.pool.share(memory)
        })
    }

    /// The copy, if there is one.
    pub fn copied(&self) -> Option<&Bytes> {
        self.copied.get()
    }
}

impl fmt::Debug for Piped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Piped({} bytes)", self.length)
    }
}

impl BodyObject for Piped {
    fn len(&self) -> usize {
        self.length
    }

    fn write_to(&self, socket: BorrowedFd<'_>, heads: &[IoSlice<'_>], range: Range<usize>) -> io::Result<usize> {
        let front = &self.front[range.start.min(self.front.len())..range.end.min(self.front.len())];
        let before = heads.iter().map(|head| head.len()).sum::<usize>() + front.len();
        if before > 0 {
            let slices: Vec<IoSlice<'_>> = heads.iter().copied().chain([IoSlice::new(front)]).collect();
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let sent = rustix::net::sendmsg(socket, &slices, &mut SendAncillaryBuffer::default(), flags)?;
            if sent < before {
                return Ok(sent);
            }
        }
        let rest = range.len() - front.len();
        match self.rest.lock().send(socket, rest) {
            Err(_) if before > 0 => Ok(before),
            // There is something left to write, so there is something to write.
            Ok(0) if rest > 0 && before == 0 => Err(Errno::IO.into()),
            sent => Ok(before + sent?),
        }
    }
}

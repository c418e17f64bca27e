//! What is to be written, in order, and how far the writing has come.

use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;

use super::Socket;

/// A body that is written from where it lies, without an [`IoSlice`] over its memory.
pub trait BodyObject: Send + Sync {
    /// Bytes of it.
    fn len(&self) -> usize;

    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes `heads`, then these of its own bytes, without blocking; returns how many bytes were written, those of the
    /// heads included.
    ///
    /// # Errors
    /// As of a non-blocking write: never 0 where there is something to write.
    fn write_to(&self, socket: BorrowedFd<'_>, heads: &[IoSlice<'_>], range: Range<usize>) -> io::Result<usize>;
}

/// What stands between the bytes that were copied in.
pub enum Body {
    /// Shared bytes.
    Bytes(Bytes),
    /// Memory of another kind.
    Object(Arc<dyn BodyObject>),
    /// Descriptors that ride on the next byte: a byte of the same frame, not one of an object.
    Descriptors(Vec<OwnedFd>),
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Object(object) => object.len(),
            Self::Descriptors(_) => 0,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Body({})", self.len())
    }
}

/// Frames in the order of writing: small ones copied one behind the other, large bodies by reference between them.
///
/// ```text
/// inline  | head head body head | head ...
///                               ^ position
/// bodies                        (position, body)
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    inline: Vec<u8>,
    bodies: Vec<(usize, Body)>,
    frames: usize,
    bytes: usize,
    /// Batches in a row for which the inline buffer was far too large.
    small: u8,
}

/// An inline buffer that grew beyond this in a burst is shrunk afterwards ...
const SHRINK_ABOVE: usize = 256 << 10;
/// ... to this ...
const SHRINK_TO: usize = 64 << 10;
/// ... and freed after so many batches in a row ...
const SMALL_BATCHES: u8 = 8;
/// ... that have used less than this part of it, ...
const SMALL_PART: usize = 8;
/// ... unless it is not larger than this. A connection that has fallen silent has a ping now and then.
const SHRINK_NOT: usize = 4 << 10;
/// Places for bodies that a batch keeps: each of more is little beside the body that it was for.
const BODIES_KEPT: usize = 64;
/// Slices of one gathering write.
const MAX_SLICES: usize = 64;

impl Batch {
    /// Where small things are appended.
    pub fn inline(&mut self) -> &mut Vec<u8> {
        &mut self.inline
    }

    /// Appends a body by reference.
    pub fn push_body(&mut self, body: Body) {
        self.bodies.push((self.inline.len(), body));
    }

    /// Frames in it.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Bytes in it, bodies included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes of the first body in it.
    pub(super) fn first_body(&self) -> usize {
        self.bodies.iter().map(|(_, body)| body.len()).find(|length| *length > 0).unwrap_or(0)
    }

    /// Runs `write`, which appends one frame, and counts what it appended.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Self)) -> usize {
        let (inline, bodies) = (self.inline.len(), self.bodies.len());
        write(self);
        let shared: usize = self.bodies[bodies..].iter().map(|(_, body)| body.len()).sum();
        let added = self.inline.len() - inline + shared;
        self.frames += 1;
        self.bytes += added;
        added
    }

    fn clear(&mut self) {
        let capacity = self.inline.capacity();
        let is_small = capacity > SHRINK_NOT && self.inline.len() < capacity / SMALL_PART;
        self.small = if is_small { self.small + 1 } else { 0 };
        self.inline.clear();
        if self.small >= SMALL_BATCHES {
            (self.inline, self.small) = (Vec::new(), 0);
        } else if capacity > SHRINK_ABOVE {
            self.inline.shrink_to(SHRINK_TO);
        }
        self.bodies.clear();
        self.bodies.shrink_to(BODIES_KEPT);
        self.frames = 0;
        self.bytes = 0;
    }
}

/// A batch on its way out.
#[derive(Debug, Default)]
pub(super) struct Writing {
    batch: Batch,
    inline: usize,
    next_body: usize,
    in_body: usize,
    written: usize,
}

impl Writing {
    pub(super) fn is_done(&self) -> bool {
        self.written == self.batch.bytes
    }

    /// Takes what is queued; the memory of what was written is used for the next.
    pub(super) fn swap(&mut self, queue: &mut Batch) {
        self.batch.clear();
        std::mem::swap(&mut self.batch, queue);
        (self.inline, self.next_body, self.in_body, self.written) = (0, 0, 0, 0);
    }

    pub(super) fn bytes_left(&self) -> usize {
        self.batch.bytes - self.written
    }

    /// Bytes that are left of the first body that is not written yet.
    pub(super) fn first_body_left(&self) -> usize {
        let left = self.batch.bodies[self.next_body..].iter().map(|(_, body)| body.len());
        left.enumerate()
            .map(|(number, length)| length - if number == 0 { self.in_body } else { 0 })
            .find(|left| *left > 0)
            .unwrap_or(0)
    }

    /// Frames not yet written, as good as the bytes tell.
    pub(super) fn frames_left(&self) -> usize {
        if self.is_done() {
            return 0;
        }
        let part = self.batch.frames as u128 * self.bytes_left() as u128;
        part.div_ceil(self.batch.bytes as u128).try_into().unwrap_or(self.batch.frames)
    }

    /// One system call, of `most` bytes at most. Says whether the socket took all that it was offered.
    pub(super) fn write_once(&mut self, socket: &Socket, most: usize) -> io::Result<bool> {
        if self.next_body < self.batch.bodies.len() {
            return self.write_with_bodies(socket, most);
        }
        let rest = &self.batch.inline[self.inline..];
        let rest = &rest[..rest.len().min(most)];
        let offered = rest.len();
        let sent = socket.try_write(&[IoSlice::new(rest)]);
        self.account(sent, offered)
    }

    fn write_with_bodies(&mut self, socket: &Socket, most: usize) -> io::Result<bool> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let (mut count, mut offered) = (0, 0);
        let (mut inline, mut next_body, mut in_body) = (self.inline, self.next_body, self.in_body);
        let mut object = None;
        let mut descriptors: Option<&[OwnedFd]> = None;
        while count < MAX_SLICES && offered < most {
            let end = self.batch.bodies.get(next_body).map_or(self.batch.inline.len(), |(position, _)| *position);
            if inline < end {
                let step = (end - inline).min(most - offered);
                slices[count] = IoSlice::new(&self.batch.inline[inline..inline + step]);
                count += 1;
                offered += step;
                inline += step;
                continue;
            }
            match self.batch.bodies.get(next_body).map(|(_, body)| body) {
                None => break,
                Some(Body::Bytes(bytes)) => {
                    if in_body < bytes.len() {
                        let step = (bytes.len() - in_body).min(most - offered);
                        slices[count] = IoSlice::new(&bytes[in_body..in_body + step]);
                        count += 1;
                        offered += step;
                    }
                }
                Some(Body::Object(body)) => {
                    let step = (body.len() - in_body).min(most - offered);
                    offered += step;
                    object = Some((Arc::clone(body), in_body..in_body + step));
                    break;
                }
                Some(Body::Descriptors(riders)) if count == 0 && descriptors.is_none() => descriptors = Some(riders),
                Some(Body::Descriptors(_)) => break,
            }
            next_body += 1;
            in_body = 0;
        }
        let slices = &slices[..count];
        let sent = match (object, descriptors) {
            (Some((object, range)), None) => object.write_to(socket.as_fd(), slices, range),
            (_, Some(_)) if count == 0 => {
                let reason = "descriptors ride on a byte of their own frame, and there is none";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
            (_, Some(riders)) => {
                // An object behind descriptors waits for the next call.
                offered = slices.iter().map(|slice| slice.len()).sum();
                let riders: Vec<BorrowedFd<'_>> = riders.iter().map(AsFd::as_fd).collect();
                match socket.try_write_with(slices, &riders) {
                    // Too many that others have not taken yet are on their way: the kernel counts them for this process.
                    // Whoever gets the bytes alone sees that, and says so.
                    Err(error) if error.raw_os_error() == Some(Errno::TOOMANYREFS.raw_os_error()) => {
                        tracing::warn!("no shared memory could be handed to a client: {error}");
                        socket.try_write(slices)
                    }
                    sent => sent,
                }
            }
            (None, None) => socket.try_write(slices),
        };
        self.account(sent, offered)
    }

    fn account(&mut self, sent: io::Result<usize>, offered: usize) -> io::Result<bool> {
        match sent {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Ok(0) if offered > 0 => Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => {
                self.advance(sent);
                Ok(sent == offered)
            }
            Err(error) => Err(error),
        }
    }

    fn advance(&mut self, mut count: usize) {
        self.written += count;
        loop {
            let end = self.batch.bodies.get(self.next_body).map_or(self.batch.inline.len(), |(position, _)| *position);
            let step = count.min(end - self.inline);
            self.inline += step;
            count -= step;
            if self.inline < end || (count == 0 && self.in_body == 0 && !self.at_empty_body()) {
                return;
            }
            let Some((_, body)) = self.batch.bodies.get_mut(self.next_body) else { return };
            let left = body.len() - self.in_body;
            if count < left {
                self.in_body += count;
                return;
            }
            count -= left;
            // Let go of the payload as soon as it is written.
            *body = Body::Bytes(Bytes::new());
            self.next_body += 1;
            self.in_body = 0;
        }
    }

    /// Whether the next body has nothing left to write and is passed over with what came before it. Descriptors
    /// are not: they leave with the byte behind them.
    fn at_empty_body(&self) -> bool {
        match self.batch.bodies.get(self.next_body) {
            Some((_, Body::Descriptors(_))) | None => false,
            Some((_, body)) => body.len() == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_burst_has_taken_is_given_back_by_a_connection_that_falls_silent() {
        const BURST: usize = 100 << 10;
        let (mut queue, mut writing) = (Batch::default(), Writing::default());
        let mut write = |queue: &mut Batch, length: usize| {
            queue.append(|batch| batch.inline().extend_from_slice(&vec![7; length]));
            writing.swap(queue);
            writing.batch.inline.capacity() + queue.inline.capacity()
        };
        for _ in 0..4 {
            write(&mut queue, BURST);
        }
        assert!(write(&mut queue, 9) >= 2 * BURST, "the next burst may come at once");
        let after: Vec<usize> = (0..2 * usize::from(SMALL_BATCHES)).map(|_| write(&mut queue, 9)).collect();
        assert!(after.last().is_some_and(|bytes| *bytes <= SHRINK_NOT), "{after:?}");
        // Steady traffic keeps what it needs.
        for _ in 0..100 {
            write(&mut queue, BURST);
        }
        assert!(write(&mut queue, BURST) >= 2 * BURST);
    }

    #[test]
    fn what_many_bodies_have_taken_is_given_back_at_once() {
        let (mut queue, mut writing) = (Batch::default(), Writing::default());
        queue.append(|batch| (0..10_000).for_each(|_| batch.push_body(Body::Bytes(Bytes::from_static(b"a body")))));
        writing.swap(&mut queue);
        writing.swap(&mut queue);
        assert!(queue.bodies.capacity() + writing.batch.bodies.capacity() <= 2 * BODIES_KEPT);
    }

    #[test]
    fn what_is_left_is_counted_where_frames_by_bytes_are_more_than_a_number_holds() {
        let frames = usize::MAX / 2;
        let mut writing = Writing { batch: Batch { frames, bytes: 4, ..Batch::default() }, ..Writing::default() };
        assert_eq!(writing.frames_left(), frames);
        writing.written = 3;
        assert_eq!(writing.frames_left(), frames.div_ceil(4));
    }
}

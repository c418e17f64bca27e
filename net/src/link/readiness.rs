//! What is read from a connection, a call at a time.

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::unix::AsyncFdReadyGuard;

use super::pipes::{Filled, Pipes};
use super::socket::{MAX_DESCRIPTORS, Socket};

/// Bytes that one call reads: between two of them others have their turn.
const LONGEST_READ: usize = 256 << 10;
/// Bytes that are moved into pipes at once.
const LONGEST_MOVE: usize = 1 << 20;
/// Calls that this takes at most: each moves what one or a few calls of the peer have written.
const MOST_CALLS: u32 = 32;

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// As much as there was room for, or as one call reads: read again.
    Full(usize),
    /// All there was.
    Last(usize),
    /// Nothing yet.
    Empty,
    /// The peer has closed.
    End,
}

/// A socket on which something is likely to be read.
#[derive(Debug)]
pub struct Readiness<'a> {
    pub(super) guard: AsyncFdReadyGuard<'a, File>,
    pub(super) socket: &'a Socket,
}

impl Readiness<'_> {
    /// Appends what has arrived to `room`, at most to its capacity and 256 KiB. A shorter read means that the socket is
    /// drained: no further call is spent to be told so. Descriptors that a stranger attached are closed by the kernel.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn read(&mut self, room: &mut Vec<u8>) -> io::Result<Chunk> {
        let spare = room.capacity() - room.len();
        if spare > LONGEST_READ {
            return self.read_part(room);
        }
        loop {
            match rustix::net::recv(self.socket, spare_capacity(room), RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Ok(Chunk::End),
                Ok((_, count)) if count == spare => return Ok(Chunk::Full(count)),
                Ok((_, count)) => {
                    self.guard.clear_ready();
                    return Ok(Chunk::Last(count));
                }
                Err(error) => {
                    if let Some(chunk) = self.on_error(error)? {
                        return Ok(chunk);
                    }
                }
            }
        }
    }

    /// As [`read`](Readiness::read), but at most [`LONGEST_READ`] bytes.
    fn read_part(&mut self, room: &mut Vec<u8>) -> io::Result<Chunk> {
        let before = room.len();
        let mut part = self.socket.descriptor.get_ref().take(LONGEST_READ as u64);
        let outcome = part.read_to_end(room);
        match (outcome, room.len() - before) {
            (Err(error), count) if error.kind() == io::ErrorKind::WouldBlock => {
                self.guard.clear_ready();
                Ok(if count == 0 { Chunk::Empty } else { Chunk::Last(count) })
            }
            (Err(error), 0) => Err(error),
            (Ok(_), 0) => Ok(Chunk::End),
            // What has ended it comes again with the next read.
            (_, count) => Ok(Chunk::Full(count)),
        }
    }

    /// As [`read`](Readiness::read), but accepts the descriptors that came along, and reads again until the system
    /// says that nothing is left: a message that carries descriptors ends a read early. The bytes pass through
    /// `buffer`, at most its length of them.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn read_with(
        &mut self,
        room: &mut Vec<u8>,
        buffer: &mut [u8],
        descriptors: &mut Vec<OwnedFd>,
    ) -> io::Result<Chunk> {
        self.receive(room, buffer, |socket, buffer| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let message = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
            for part in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = part {
                    descriptors.extend(received);
                }
            }
            Ok(message.bytes)
        })
    }

    /// As [`read_with`](Readiness::read_with), but takes no descriptor and tells which process sent the bytes, as the
    /// kernel attests it (after [`Socket::attest_senders`]).
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn read_attested(
        &mut self,
        room: &mut Vec<u8>,
        buffer: &mut [u8],
        sender: &mut Option<i32>,
    ) -> io::Result<Chunk> {
        self.receive(room, buffer, |socket, buffer| {
            // By nix: what was sent before the kernel attests has the process 0, which rustix's type cannot hold. The
            // credentials come first, and leave no room for descriptors.
            let mut space = cmsg_space!(UnixCredentials);
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let mut slices = [IoSliceMut::new(buffer)];
            let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags);
            let message = message.map_err(|error| Errno::from_raw_os_error(error as i32))?;
            for part in message.cmsgs().into_iter().flatten() {
                if let ControlMessageOwned::ScmCredentials(credentials) = part {
                    *sender = Some(credentials.pid());
                }
            }
            Ok(message.bytes)
        })
    }

    /// Whether it is a UNIX socket.
    pub fn is_local(&self) -> bool {
        self.socket.is_local()
    }

    /// As [`read`](Readiness::read), but moves the bytes into pipes, at most `most`. `None` when these take no more.
    pub(super) fn read_into_pipes(&mut self, pipes: &mut Pipes, most: usize) -> Option<Chunk> {
        let most = most.min(LONGEST_MOVE);
        let (mut moved, mut calls) = (0, 0);
        while moved < most && calls < MOST_CALLS {
            calls += 1;
            match (pipes.fill(self.socket.as_fd(), most - moved), moved) {
                (Filled::Some(count), _) => moved += count,
                (Filled::Nothing, _) => {
                    self.guard.clear_ready();
                    return Some(if moved == 0 { Chunk::Empty } else { Chunk::Last(moved) });
                }
                (Filled::End, 0) => return Some(Chunk::End),
                (Filled::NoRoom, 0) => return None,
                // It comes again with the next call.
                (Filled::End | Filled::NoRoom, _) => break,
            }
        }
        Some(Chunk::Full(moved))
    }

    fn receive(
        &mut self,
        room: &mut Vec<u8>,
        buffer: &mut [u8],
        mut receive: impl FnMut(BorrowedFd<'_>, &mut [u8]) -> Result<usize, Errno>,
    ) -> io::Result<Chunk> {
        let spare = (room.capacity() - room.len()).min(buffer.len());
        loop {
            match receive(self.socket.as_fd(), &mut buffer[..spare]) {
                Ok(0) => return Ok(Chunk::End),
                Ok(count) => {
                    room.extend_from_slice(&buffer[..count]);
                    return Ok(Chunk::Full(count));
                }
                Err(error) => {
                    if let Some(chunk) = self.on_error(error)? {
                        return Ok(chunk);
                    }
                }
            }
        }
    }

    fn on_error(&mut self, error: Errno) -> io::Result<Option<Chunk>> {
        match error {
            Errno::AGAIN => {
                self.guard.clear_ready();
                Ok(Some(Chunk::Empty))
            }
            Errno::INTR => Ok(None),
            error => Err(error.into()),
        }
    }
}

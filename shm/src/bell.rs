//! What wakes the other side when it sleeps.
//!
//! The client wakes the broker by an eventfd that the broker only watches, edge-triggered, and never reads. What wakes the
//! client must not let it hold up the broker, and what is fast can be held:
//!
//! - an eventfd that both have: the client can make a write to it block, because blocking is a property of the
//!   description that they share;
//! - a pipe: its reader holds its mutex while it copies to memory of its own, and that may be memory that never comes (of
//!   a file system that the client serves itself), so that writes wait as long, non-blocking or not;
//! - an eventfd that the client sees through an epoll instance made around it, and can only watch, is the fastest; but what
//!   else the client adds to that instance counts as the broker's (`/proc/sys/fs/epoll/max_user_watches`), and closing the
//!   eventfd waits for a client that asks the instance for events into such memory;
//! - a pair of sockets takes two microseconds more for both hops, and nothing of it can be held.
//!
//! So a client of the broker's own user, who can do worse, has the eventfd, and any other a socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, send, shutdown, socketpair};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{read, write};

/// The client's bell at the broker.
#[derive(Debug)]
pub struct UpBell(OwnedFd);

impl UpBell {
    /// A new bell: the broker watches it and sends the client a duplicate.
    ///
    /// # Errors
    /// When the descriptors run out.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?.into()))
    }

    /// The bell that the broker has sent.
    pub fn received(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Rings. A counter that is full has been rung.
    pub fn ring(&self) {
        let _ = write(&self.0, &1u64.to_ne_bytes());
    }

    /// The descriptor, to watch.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for UpBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The broker's bell at the client.
#[derive(Debug)]
pub struct DownBell {
    end: OwnedFd,
    is_socket: bool,
}

impl DownBell {
    /// A new bell for a client of whatever user, and the client's end of it, to be sent.
    ///
    /// # Errors
    /// When the descriptors run out.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (end, waiting_end) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        // The client has nothing to say here.
        shutdown(end.as_raw_fd(), Shutdown::Read)?;
        Ok((Self { end, is_socket: true }, waiting_end))
    }

    /// The same, faster, for a client that is trusted not to hold up this process, as one of the same user.
    ///
    /// # Errors
    /// When the descriptors run out, or the user's watches for epoll.
    pub fn of_trusted() -> io::Result<(Self, OwnedFd)> {
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let waiter = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        waiter.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))?;
        Ok((Self { end: bell.into(), is_socket: false }, waiter.0))
    }

    /// Rings, and waits for nothing. A socket that is full has been rung, and a client that does not hear it hurts itself.
    pub fn ring(&self) {
        let _ = match self.is_socket {
            true => send(self.end.as_raw_fd(), &[1], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL),
            false => write(&self.end, &1u64.to_ne_bytes()),
        };
    }
}

/// The client's end of the broker's bell: to be watched, edge-triggered.
#[derive(Clone, Copy, Debug)]
pub struct DownWaiter {
    is_socket: bool,
}

impl DownWaiter {
    /// What is to be done with the end that the broker has sent.
    ///
    /// # Errors
    /// When the system does not tell what it is.
    pub fn of(end: impl AsFd) -> io::Result<Self> {
        let kind = SFlag::from_bits_truncate(fstat(end.as_fd())?.st_mode) & SFlag::S_IFMT;
        Ok(Self { is_socket: kind == SFlag::S_IFSOCK })
    }

    /// Takes the rings that came, where they have to be taken; before the ring of the lane is drained, so that none is
    /// taken that tells of what comes after it. Says whether there is still somebody to ring.
    pub fn hush(self, end: impl AsFd) -> bool {
        if !self.is_socket {
            return true;
        }
        // One ring is usual: more room would be zeros to write for each.
        let mut rings = [0; 64];
        loop {
            match read(end.as_fd(), &mut rings) {
                Ok(0) => return false,
                // There may be more.
                Ok(count) if count == rings.len() => {}
                Err(Errno::EINTR) => {}
                _ => return true,
            }
        }
    }
}

//! What wakes the other side when it sleeps.
//!
//! The client wakes the broker by an eventfd that the broker only watches, edge-triggered, and never reads. The
//! broker wakes the client by a pipe: a shared eventfd would let the client make the broker's write block, because
//! blocking is a property of the description that both share. The write end of the pipe is the broker's own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{pipe2, read, write};

/// Bytes that fit into a bell's pipe: as many rings that nobody has heard.
const PIPE_BYTES: i32 = 4096;

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
    /// Kept open, so that ringing a client that has gone raises no signal.
    waiting_end: OwnedFd,
}

impl DownBell {
    /// A new bell.
    ///
    /// # Errors
    /// When the descriptors run out.
    pub fn new() -> io::Result<Self> {
        let (waiting_end, end) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // A bell needs no more; where the system insists on more it may have it.
        let _ = fcntl(end.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        Ok(Self { end, waiting_end })
    }

    /// Rings. A pipe that is full has been rung, and a client that does not hear it hurts itself.
    pub fn ring(&self) {
        let _ = write(&self.end, &[1]);
    }

    /// The end for the client.
    pub fn waiting_end(&self) -> BorrowedFd<'_> {
        self.waiting_end.as_fd()
    }
}

/// The client's end of the broker's bell.
#[derive(Debug)]
pub struct DownWaiter(OwnedFd);

impl DownWaiter {
    /// The end that the broker has sent.
    ///
    /// # Errors
    /// When it cannot be made non-blocking.
    pub fn received(descriptor: OwnedFd) -> io::Result<Self> {
        fcntl(descriptor.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self(descriptor))
    }

    /// Takes all rings that came. Before the ring is drained: some kernels do not report another one until the pipe
    /// was emptied. Says whether there is still somebody to ring.
    pub fn hush(descriptor: impl AsFd) -> bool {
        // One ring is usual: more room would be zeros to write for each.
        let mut rings = [0; 64];
        loop {
            match read(descriptor.as_fd(), &mut rings) {
                Ok(0) => return false,
                // There may be more.
                Ok(count) if count == rings.len() => {}
                Err(Errno::EINTR) => {}
                _ => return true,
            }
        }
    }

    /// The descriptor, to watch.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0
    }
}

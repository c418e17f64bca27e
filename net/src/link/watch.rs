//! Descriptors that the runtime watches.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// Registers a descriptor with the runtime.
#[allow(deprecated, reason = "deprecated for sources that may change their descriptor: `OwnedFd` and `File` cannot")]
pub(super) fn watch<D: AsRawFd>(descriptor: D, interest: Interest) -> io::Result<AsyncFd<D>> {
    AsyncFd::with_interest(descriptor, interest)
}

/// Waits with the descriptor's one place for a waker, which costs less than to enter and leave its list of many.
pub(super) async fn readable<D: AsRawFd>(descriptor: &AsyncFd<D>) -> io::Result<AsyncFdReadyGuard<'_, D>> {
    poll_fn(|context| descriptor.poll_read_ready(context)).await
}

/// A descriptor that somebody else rings, watched by the runtime; edge-triggered, and never read here.
#[derive(Debug)]
pub struct Watch {
    descriptor: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Registers a descriptor.
    ///
    /// # Errors
    /// When it cannot be registered.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        Ok(Self { descriptor: watch(descriptor, Interest::READABLE)? })
    }

    /// Waits until it was rung since the last call. One task at a time: who waited before is not woken.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn rung(&self) -> io::Result<()> {
        readable(&self.descriptor).await?.clear_ready();
        Ok(())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.get_ref().as_fd()
    }
}

/// Whether the process of a pidfd has ended.
pub fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let mut descriptors = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    matches!(rustix::event::poll(&mut descriptors, Some(&Timespec::default())), Ok(1..))
}

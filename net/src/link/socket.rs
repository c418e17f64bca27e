//! One connection.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Endpoint;
use super::readiness::Readiness;
use super::watch::{readable, watch};

/// The send buffer asked for on both ends: large payloads then take a fifth fewer turns.
const SEND_BUFFER: usize = 1 << 20;
/// That of a broker's socket to a client whose senders wait for it: the system tells of room when three quarters of it are
/// free, and gives room back in pieces of up to half of it.
const NARROW_SEND_BUFFER: usize = 64 << 10;
/// Descriptors that one message may carry.
pub(super) const MAX_DESCRIPTORS: usize = 8;
/// For how long a broker's host may acknowledge nothing, or take nothing, before its client gives the connection up. By
/// itself the kernel repeats what it has sent for a quarter of an hour.
const TCP_PATIENCE: Duration = Duration::from_secs(60);
/// Between attempts to connect to a broker whose queue of new connections is full.
const CONNECT_RETRY: Duration = Duration::from_millis(5);

/// Who is at the other end, as the kernel attests it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process, when it connected; 0 if it is in a namespace that cannot be seen from here.
    pub pid: i32,
}

/// Where a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A UNIX socket; the identity is missing only where the kernel does not tell.
    Unix(Option<PeerIdentity>),
    /// A TCP address.
    Tcp(SocketAddr),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(Some(PeerIdentity { uid, gid, pid })) => write!(formatter, "uid {uid}, gid {gid}, pid {pid}"),
            Self::Unix(None) => formatter.write_str("a UNIX socket"),
            Self::Tcp(address) => address.fmt(formatter),
        }
    }
}

/// A connected stream socket, non-blocking, registered with the runtime for reading only.
#[derive(Debug)]
pub struct Socket {
    /// A file, because that can read a part of the room.
    pub(super) descriptor: AsyncFd<File>,
    is_local: bool,
}

impl Socket {
    /// Takes a connected stream socket over.
    ///
    /// # Errors
    /// When it cannot be made non-blocking or registered.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        // TCP's buffers grow by themselves with what a path can hold, until somebody sets them.
        let is_local = rustix::net::sockopt::socket_domain(&descriptor)? == AddressFamily::UNIX;
        if is_local {
            // The kernel doubles what it is given. More than wmem_max needs privileges; without them the limit it is.
            let half = SEND_BUFFER / 2;
            if rustix::net::sockopt::set_socket_send_buffer_size_force(&descriptor, half).is_err() {
                let _ = rustix::net::sockopt::set_socket_send_buffer_size(&descriptor, half);
            }
        }
        Ok(Self { descriptor: watch(File::from(descriptor), Interest::READABLE)?, is_local })
    }

    /// Gives a UNIX socket a small send buffer. What a path of TCP holds is left to the system.
    pub(super) fn narrow(&self) {
        if self.is_local {
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&self.descriptor, NARROW_SEND_BUFFER / 2);
        }
    }

    /// Takes a connected TCP stream over: no delay, and keep-alive so that a vanished host is noticed.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn from_tcp(descriptor: OwnedFd) -> io::Result<Self> {
        rustix::net::sockopt::set_tcp_nodelay(&descriptor, true)?;
        rustix::net::sockopt::set_socket_keepalive(&descriptor, true)?;
        Self::new(descriptor)
    }

    /// Two sockets connected to each other, without a name anywhere.
    ///
    /// # Errors
    /// When the descriptors run out.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok((Self::new(one)?, Self::new(other)?))
    }

    /// Connects. A broker whose queue of new connections is full is tried again until the caller gives up. Over TCP the
    /// connection ends when the other host has not acknowledged for a minute what was sent.
    ///
    /// # Errors
    /// What the system says, or that this is no endpoint.
    pub async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        endpoint.check().map_err(|fault| io::Error::new(io::ErrorKind::InvalidInput, fault))?;
        match endpoint {
            Endpoint::Unix(path) => {
                let address = rustix::net::SocketAddrUnix::new(path.as_path())?;
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let descriptor = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                loop {
                    match rustix::net::connect(&descriptor, &address) {
                        Ok(()) => return Self::new(descriptor),
                        Err(rustix::io::Errno::AGAIN) => tokio::time::sleep(CONNECT_RETRY).await,
                        Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Endpoint::Tcp(address) => {
                let stream = tokio::net::TcpStream::connect(address).await?;
                let descriptor = stream.into_std()?.into();
                let patience = u32::try_from(TCP_PATIENCE.as_millis()).unwrap_or(u32::MAX);
                rustix::net::sockopt::set_tcp_user_timeout(&descriptor, patience)?;
                Self::from_tcp(descriptor)
            }
        }
    }

    /// Waits until there is something to read. One task at a time: who waited before is not woken.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<Readiness<'_>> {
        Ok(Readiness { guard: readable(&self.descriptor).await?, socket: self })
    }

    /// Waits until there is room to write. Interest in writing lasts only as long as this call.
    ///
    /// # Errors
    /// When the descriptors run out.
    pub async fn writable(&self) -> io::Result<()> {
        let duplicate = self.descriptor.get_ref().try_clone()?;
        let watch = watch(duplicate, Interest::WRITABLE)?;
        let _ = watch.writable().await?;
        Ok(())
    }

    /// Blocks the thread until there is room to write or the time is over; says whether there is room.
    pub fn wait_writable(&self, patience: Duration) -> bool {
        let mut descriptors = [PollFd::new(self.descriptor.get_ref(), PollFlags::OUT)];
        let Ok(timeout) = Timespec::try_from(patience) else { return false };
        matches!(rustix::event::poll(&mut descriptors, Some(&timeout)), Ok(1..))
    }

    /// Writes what the system takes at once.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; otherwise the connection is gone.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            let sent = match slices {
                [one] => rustix::net::send(&self.descriptor, one, flags),
                many => rustix::net::sendmsg(&self.descriptor, many, &mut SendAncillaryBuffer::default(), flags),
            };
            match sent {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// As [`try_write`](Socket::try_write), with descriptors that ride on the first byte (UNIX sockets only, at
    /// most 8).
    ///
    /// # Errors
    /// As `try_write`; nothing has been sent then.
    pub fn try_write_with(&self, slices: &[IoSlice<'_>], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if descriptors.len() > MAX_DESCRIPTORS || !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(rustix::net::sendmsg(&self.descriptor, slices, &mut control, flags)?)
    }

    /// Whether it is a UNIX socket.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// Whether the peer sends no more: what it has sent may still be there to be read.
    pub fn has_left(&self) -> bool {
        let mut descriptors = [PollFd::new(self.descriptor.get_ref(), PollFlags::RDHUP)];
        matches!(rustix::event::poll(&mut descriptors, Some(&Timespec::default())), Ok(1..))
    }

    /// Ends both directions; whoever waits on either end wakes up.
    pub fn shut_down(&self) {
        let _ = rustix::net::shutdown(&self.descriptor, rustix::net::Shutdown::Both);
    }

    /// Tells the peer that nothing more will come; what it sends can still be read.
    pub fn finish_writing(&self) {
        let _ = rustix::net::shutdown(&self.descriptor, rustix::net::Shutdown::Write);
    }

    /// Blocks the thread until the peer has closed or the time is over; what still comes is dropped.
    pub fn wait_end(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut dropped = [0; 4096];
        loop {
            match rustix::net::recv(&self.descriptor, &mut dropped, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let Ok(timeout) = Timespec::try_from(left) else { return };
                    let mut descriptors = [PollFd::new(self.descriptor.get_ref(), PollFlags::IN)];
                    let _ = rustix::event::poll(&mut descriptors, Some(&timeout));
                }
                Err(_) => return,
            }
            if Instant::now() >= deadline {
                return;
            }
        }
    }

    /// The peer's user, group and process (UNIX sockets only).
    pub fn identity(&self) -> Option<PeerIdentity> {
        // Not by rustix: its process id cannot be 0, which is what the kernel tells of a process that this one's
        // namespace does not show, and of a TCP peer.
        let credentials = nix::sys::socket::getsockopt(&self.descriptor, nix::sys::socket::sockopt::PeerCredentials);
        let credentials = credentials.ok().filter(|credentials| credentials.uid() != u32::MAX)?;
        Some(PeerIdentity { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() })
    }

    /// From now on the kernel says of what arrives which process sent it.
    ///
    /// # Errors
    /// When this is not a UNIX socket.
    pub fn attest_senders(&self) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_socket_passcred(&self.descriptor, true)?)
    }

    /// A descriptor of the peer's process. The kernel pins the peer's identity to the socket, so that this is right
    /// at any time, also after the process ended.
    ///
    /// # Errors
    /// Where the kernel (before 6.5) or the kind of socket has none.
    pub fn peer_pidfd(&self) -> io::Result<OwnedFd> {
        Ok(nix::sys::socket::getsockopt(&self.descriptor, nix::sys::socket::sockopt::PeerPidfd)?)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.get_ref().as_fd()
    }
}

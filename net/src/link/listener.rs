//! Where connections come from.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::{libc, setsockopt_impl, sockopt_impl};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::claim::Claim;
use super::socket::{Origin, Socket};
use super::watch::watch;
use super::{BindError, Endpoint};

/// Connections that may wait to be accepted; the system's own limit applies too.
const BACKLOG: i32 = 4096;

/// A bound socket that accepts connections.
#[derive(Debug)]
pub struct Listener {
    /// First, so that its path is gone before the socket is.
    _claim: Option<Claim>,
    kind: Kind,
    /// A duplicate of the socket: the runtime's watch on it.
    watch: AsyncFd<OwnedFd>,
    endpoint: Endpoint,
}

#[derive(Debug)]
enum Kind {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl AsFd for Kind {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}

impl Listener {
    /// Binds. `mode` is the mode of a UNIX socket's file.
    ///
    /// A path on which a live broker listens is not taken from it, and a path that is not a socket is never removed;
    /// a socket that nobody serves any longer is replaced.
    ///
    /// # Errors
    /// Each [`BindError`] names the place and says what to do.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(endpoint: &Endpoint, mode: u32) -> Result<Self, BindError> {
        let system = |source| BindError::System { at: endpoint.to_string(), source };
        endpoint.check().map_err(|fault| BindError::NoEndpoint { at: endpoint.to_string(), fault })?;
        let (kind, claim) = match endpoint {
            Endpoint::Unix(path) => {
                let mut claim = Claim::take(path)?;
                let listener = bind_unix(path, mode).map_err(system)?;
                claim.note_bound();
                (Kind::Unix(listener), Some(claim))
            }
            Endpoint::Tcp(address) => {
                let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => BindError::AddressTaken(address.clone()),
                    _ if error.raw_os_error().is_some() => system(error),
                    _ => BindError::BadAddress { at: address.clone(), source: error },
                })?;
                // The library has asked for a queue of 128: too short for all the clients that come back to a broker.
                rustix::net::listen(&listener, BACKLOG).map_err(|error| system(error.into()))?;
                listener.set_nonblocking(true).map_err(system)?;
                (Kind::Tcp(listener), None)
            }
        };
        Self::new(kind, claim, endpoint.clone()).map_err(system)
    }

    /// Takes over a UNIX socket that somebody else has bound. Its path is somebody else's too, and stays.
    ///
    /// # Errors
    /// When it does not listen.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn adopt_unix(listener: UnixListener) -> Result<Self, BindError> {
        let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
        let endpoint = Endpoint::Unix(path.unwrap_or_else(|| "(without a path)".into()));
        let listener = OwnedFd::from(listener);
        refuse_descriptors(&listener);
        Self::adopt(Kind::Unix(listener.into()), endpoint)
    }

    /// Takes over a TCP socket that somebody else has bound.
    ///
    /// # Errors
    /// When it does not listen.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn adopt_tcp(listener: TcpListener) -> Result<Self, BindError> {
        let address = listener.local_addr().map_or_else(|_| "(without an address)".into(), |at| at.to_string());
        Self::adopt(Kind::Tcp(listener), Endpoint::Tcp(address))
    }

    fn adopt(kind: Kind, endpoint: Endpoint) -> Result<Self, BindError> {
        let system = |source| BindError::System { at: endpoint.to_string(), source };
        let descriptor = kind.as_fd();
        let listens = rustix::net::sockopt::socket_acceptconn(descriptor).map_err(|error| system(error.into()))?;
        if !listens || rustix::net::sockopt::socket_type(descriptor) != Ok(SocketType::STREAM) {
            return Err(BindError::NotListening(endpoint));
        }
        rustix::io::ioctl_fionbio(descriptor, true).map_err(|error| system(error.into()))?;
        Self::new(kind, None, endpoint.clone()).map_err(system)
    }

    fn new(kind: Kind, claim: Option<Claim>, endpoint: Endpoint) -> io::Result<Self> {
        let watch = watch(kind.as_fd().try_clone_to_owned()?, Interest::READABLE)?;
        Ok(Self { _claim: claim, watch, kind, endpoint })
    }

    /// Where it listens; a TCP port of 0 has become a real one.
    pub fn local_endpoint(&self) -> Endpoint {
        match &self.kind {
            Kind::Unix(_) => self.endpoint.clone(),
            Kind::Tcp(listener) => match listener.local_addr() {
                Ok(address) => Endpoint::Tcp(address.to_string()),
                Err(_) => self.endpoint.clone(),
            },
        }
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// What the system says; the caller backs off when it is out of descriptors.
    pub async fn accept(&self) -> io::Result<(Socket, Origin)> {
        loop {
            let mut guard = self.watch.readable().await?;
            let accepted = guard.try_io(|_| match &self.kind {
                Kind::Unix(listener) => listener.accept().map(|(stream, _)| (stream.into(), None)),
                Kind::Tcp(listener) => listener.accept().map(|(stream, address)| (stream.into(), Some(address))),
            });
            let Ok(accepted) = accepted else { continue };
            let (descriptor, address): (OwnedFd, _) = accepted?;
            return Ok(match address {
                Some(address) => (Socket::from_tcp(descriptor)?, Origin::Tcp(address)),
                None => {
                    let socket = Socket::new(descriptor)?;
                    let identity = socket.identity();
                    (socket, Origin::Unix(identity))
                }
            });
        }
    }
}

sockopt_impl!(
    /// Whether descriptors may come with what arrives (Linux 6.16); a connection takes it from its listener.
    PassRights,
    SetOnly,
    libc::SOL_SOCKET,
    SO_PASSRIGHTS,
    bool
);

/// Missing in `libc`; the number of all machines but MIPS, SPARC and PA-RISC.
const SO_PASSRIGHTS: libc::c_int = 83;

/// No peer has a descriptor to send. Whoever merely closes one that was sent may have to wait for as long as its maker
/// likes (a lingering socket, a file of FUSE), so that it must not even arrive. Older kernels let it.
fn refuse_descriptors(socket: &OwnedFd) {
    let _ = nix::sys::socket::setsockopt(socket, PassRights, &false);
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let address = rustix::net::SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    refuse_descriptors(&socket);
    // The file takes its mode from the socket, so that it is at no time more open than asked for ...
    let mode = Mode::from_raw_mode(mode);
    let _ = rustix::fs::fchmod(socket.as_fd(), mode);
    rustix::net::bind(&socket, &address)?;
    // ... and the process's mask may have made it less open.
    rustix::fs::chmod(path, mode)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

//! Where connections come from.

use std::fs::{File, Metadata};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::{libc, setsockopt_impl, sockopt_impl};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Endpoint;
use super::socket::{Origin, Socket, watch};

/// Connections that may wait to be accepted; the system's own limit applies too.
const BACKLOG: i32 = 4096;

/// Why a broker cannot listen somewhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another broker answers there.
    #[error("{}: another broker is listening here; stop it or choose another path", .0.display())]
    Live(PathBuf),
    /// Something that is not a socket is in the way.
    #[error("{}: exists and is not a socket; it was left as it is, choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The address is taken.
    #[error("{0}: the address is taken by another program; stop it or choose another port")]
    AddressTaken(String),
    /// The address does not parse or resolve.
    #[error("{at}: cannot listen here ({source}); use HOST:PORT, or a path that starts with / or ends in .sock")]
    BadAddress {
        /// Where.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// The system refuses.
    #[error("{at}: cannot listen: {source}")]
    System {
        /// Where.
        at: String,
        /// Why.
        source: io::Error,
    },
}

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

/// Which file a path names: two of them may follow each other under one name.
type FileId = (u64, u64);

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
        let (kind, claim) = match endpoint {
            Endpoint::Unix(path) => {
                let mut claim = Claim::take(path)?;
                let listener = bind_unix(path, mode).map_err(system)?;
                claim.bound = std::fs::symlink_metadata(path).ok().map(|metadata| file_id(&metadata));
                (Kind::Unix(listener), Some(claim))
            }
            Endpoint::Tcp(address) => {
                let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => BindError::AddressTaken(address.clone()),
                    io::ErrorKind::PermissionDenied => system(error),
                    _ => BindError::BadAddress { at: address.clone(), source: error },
                })?;
                listener.set_nonblocking(true).map_err(system)?;
                (Kind::Tcp(listener), None)
            }
        };
        let descriptor = match &kind {
            Kind::Unix(listener) => listener.as_fd(),
            Kind::Tcp(listener) => listener.as_fd(),
        };
        let watch = descriptor.try_clone_to_owned().and_then(|duplicate| watch(duplicate, Interest::READABLE));
        Ok(Self { _claim: claim, watch: watch.map_err(system)?, kind, endpoint: endpoint.clone() })
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

/// Whether somebody accepts connections at `path`.
fn is_served(path: &Path) -> Result<bool, BindError> {
    let system = |error: rustix::io::Errno| BindError::System { at: path.display().to_string(), source: error.into() };
    let address = rustix::net::SocketAddrUnix::new(path).map_err(system)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(system)?;
    match rustix::net::connect(&probe, &address) {
        // A full queue of new connections is a sign of life too.
        Ok(()) | Err(rustix::io::Errno::AGAIN) => Ok(true),
        Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(system(error)),
    }
}

/// The right to bind a path: a locked file beside it settles the race between two brokers that start at once. The
/// lock ends with the process, however it ends.
#[derive(Debug)]
struct Claim {
    path: PathBuf,
    lock: PathBuf,
    _file: OwnedFd,
    /// The socket that was bound under this claim.
    bound: Option<FileId>,
}

impl Claim {
    fn take(path: &Path) -> Result<Self, BindError> {
        let system = |source: io::Error| BindError::System { at: path.display().to_string(), source };
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        if lock.as_os_str().as_bytes().len() > 4095 {
            return Err(system(io::Error::from(io::ErrorKind::InvalidFilename)));
        }
        // Where nothing of ours can be there is to be no lock of ours either.
        is_socket_in_the_way(path)?;
        let file = loop {
            let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = rustix::fs::open(&lock, flags, Mode::RUSR | Mode::WUSR).map_err(|error| system(error.into()))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::AGAIN) => return Err(BindError::Live(path.to_owned())),
                Err(error) => return Err(system(error.into())),
            }
            // A broker that ended just now may have removed the file that was opened.
            let file = File::from(file);
            let locked = file.metadata().map_err(system)?;
            let current = std::fs::symlink_metadata(&lock);
            if current.is_ok_and(|current| file_id(&current) == file_id(&locked)) {
                break file;
            }
        };
        let claim = Self { path: path.to_owned(), lock, _file: file.into(), bound: None };
        // Only now does it stay as it is. A broker of another make holds no lock: ask the socket itself.
        if is_socket_in_the_way(path)? {
            if is_served(path)? {
                return Err(BindError::Live(path.to_owned()));
            }
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system(error)),
                _ => {}
            }
        }
        Ok(claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A broker of another make may have put its own socket there.
        let current = std::fs::symlink_metadata(&self.path).ok().map(|metadata| file_id(&metadata));
        if self.bound.is_some() && self.bound == current {
            let _ = std::fs::remove_file(&self.path);
        }
        // While it is still locked.
        let _ = std::fs::remove_file(&self.lock);
    }
}

fn is_socket_in_the_way(path: &Path) -> Result<bool, BindError> {
    match std::fs::symlink_metadata(path) {
        Err(_) => Ok(false),
        Ok(metadata) if metadata.file_type().is_socket() => Ok(true),
        Ok(_) => Err(BindError::NotASocket(path.to_owned())),
    }
}

fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

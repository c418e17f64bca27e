//! The right to bind a path.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::BindError;

/// The right to bind a path: a locked file beside it settles the race between two brokers that start at once. The
/// lock ends with the process, however it ends.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    lock: PathBuf,
    _file: OwnedFd,
    /// The socket that was bound under this claim.
    bound: Option<FileId>,
}

impl Claim {
    /// Takes the right, and a socket that nobody serves any longer out of the way.
    pub(super) fn take(path: &Path) -> Result<Self, BindError> {
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

    /// Remembers what lies at the path now as this claim's own, to be removed with it.
    pub(super) fn note_bound(&mut self) {
        self.bound = std::fs::symlink_metadata(&self.path).ok().map(|metadata| file_id(&metadata));
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

fn is_socket_in_the_way(path: &Path) -> Result<bool, BindError> {
    match std::fs::symlink_metadata(path) {
        Err(_) => Ok(false),
        Ok(metadata) if metadata.file_type().is_socket() => Ok(true),
        Ok(_) => Err(BindError::NotASocket(path.to_owned())),
    }
}

/// Which file a path names: two of them may follow each other under one name.
pub(super) type FileId = (u64, u64);

pub(super) fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

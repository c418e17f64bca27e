//! A FIFO that others write lines to.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags};
use tokio::io::Interest;
use tokio::net::unix::pipe;

use super::BindError;
use super::claim::{FileId, file_id};

/// The reading end of a FIFO. It waits without polling, also while nobody writes.
///
/// A FIFO reports its end when the last writer goes, and from then on at every look. A descriptor that was opened
/// after that reports nothing until the next writer has come, which is why each end is followed by a fresh one.
#[derive(Debug)]
pub struct Fifo {
    path: PathBuf,
    reader: pipe::Receiver,
    /// Locked: one broker at a time reads a FIFO. Never read from; it keeps what writers have left between two readers.
    claim: OwnedFd,
    id: FileId,
    /// Made here, and to be removed at the end.
    is_ours: bool,
}

/// The owner reads and writes, its group writes.
const MODE: u32 = 0o620;

impl Fifo {
    /// Makes a FIFO, mode 0620, or reads from the one that is there, as it is.
    ///
    /// # Errors
    /// When something else is at the path, another program reads there, or the FIFO belongs to another user.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(path: &Path) -> Result<Self, BindError> {
        let system = |source: io::Error| BindError::System { at: path.display().to_string(), source };
        loop {
            let is_ours = find_or_make(path)?;
            let claim = match open_to_read(path) {
                // It was removed in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                claim => claim.map_err(system)?,
            };
            match rustix::fs::flock(&claim, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::AGAIN) => return Err(BindError::BeingRead(path.to_owned())),
                Err(error) => return Err(system(error.into())),
            }
            let id = id_of(&claim).map_err(system)?;
            if !std::fs::symlink_metadata(path).is_ok_and(|current| file_id(&current) == id) {
                continue;
            }
            if is_ours {
                // The process's mask may have made it less open.
                rustix::fs::fchmod(&claim, Mode::from_raw_mode(MODE)).map_err(|error| system(error.into()))?;
            }
            let reader = open_to_read(path).and_then(pipe::Receiver::from_owned_fd).map_err(system)?;
            return Ok(Self { path: path.to_owned(), reader, claim, id, is_ours });
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for bytes; 0 when the last writer has gone. The next call waits for the next writer.
    ///
    /// # Errors
    /// `NotFound` when the FIFO was removed or replaced: nobody will write here again. Anything else may pass.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let readiness = self.reader.ready(Interest::READABLE).await?;
            match self.reader.try_read(buffer) {
                Ok(0) => {
                    self.reader = self.fresh_reader()?;
                    return Ok(0);
                }
                // One writer has gone and the next has come: the runtime would report the end of the first for ever.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && readiness.is_read_closed() => {
                    self.reader = self.fresh_reader()?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    fn fresh_reader(&self) -> io::Result<pipe::Receiver> {
        let reader = open_to_read(&self.path)?;
        if id_of(&reader)? != self.id {
            return Err(io::ErrorKind::NotFound.into());
        }
        pipe::Receiver::from_owned_fd(reader)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        // While it is still locked.
        let current = std::fs::symlink_metadata(&self.path).ok().map(|metadata| file_id(&metadata));
        if self.is_ours && current == Some(self.id) {
            let _ = std::fs::remove_file(&self.path);
        }
        let _ = rustix::fs::flock(&self.claim, FlockOperation::Unlock);
    }
}

/// Says whether it was made here.
fn find_or_make(path: &Path) -> Result<bool, BindError> {
    let system = |source: io::Error| BindError::System { at: path.display().to_string(), source };
    loop {
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_fifo() => return Err(BindError::NotAFifo(path.to_owned())),
            Ok(metadata) => {
                // Its owner decides who may write, which means: speak in the broker's name.
                if metadata.uid() != rustix::process::geteuid().as_raw() && metadata.uid() != 0 {
                    return Err(BindError::ForeignFifo { path: path.to_owned(), uid: metadata.uid() });
                }
                return if is_read(path) { Err(BindError::BeingRead(path.to_owned())) } else { Ok(false) };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(system(error)),
        }
        match rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(MODE), 0) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(system(error.into())),
        }
    }
}

/// Whether somebody reads: only then can it be opened for writing without waiting.
fn is_read(path: &Path) -> bool {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::empty()).is_ok()
}

fn open_to_read(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn id_of(descriptor: &OwnedFd) -> io::Result<FileId> {
    File::from(descriptor.try_clone()?).metadata().map(|metadata| file_id(&metadata))
}

//! The file with this process's number.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

/// Locked and filled while the broker runs, removed at the end.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidFileError {
    #[error("{}: cannot be written: {source}", path.display())]
    System { path: PathBuf, source: io::Error },
    #[error("{}: exists and is not a pid file; it was left as it is, choose another path", .0.display())]
    NotAPidFile(PathBuf),
    #[error("{}: process {pid} runs with this pid file; stop it or choose another path", path.display())]
    Running { path: PathBuf, pid: u32 },
}

/// Longer than any number.
const MAX_LENGTH: u64 = 32;
/// Clocks that are set at start make a process look younger than its file.
const TOLERANCE: Duration = Duration::from_secs(2);

impl PidFile {
    /// Takes the file, unless the process in it is still the one that wrote it.
    ///
    /// # Errors
    /// What is in the way.
    pub(crate) fn create(path: &Path) -> Result<Self, PidFileError> {
        let system = |source| PidFileError::System { path: path.to_owned(), source };
        let mut pid_file = Self::lock(path)?;
        let file = &mut pid_file.file;
        let metadata = file.metadata().map_err(system)?;
        let mut text = String::new();
        let read = file.take(MAX_LENGTH).read_to_string(&mut text);
        let before = match (read, text.trim()) {
            _ if !metadata.is_file() || metadata.len() > MAX_LENGTH => None,
            (Ok(_), "") => Some(0),
            (Ok(_), number) => number.parse().ok(),
            (Err(_), _) => None,
        };
        // Dropping would remove what is not ours.
        let Some(before) = before else { return Err(pid_file.leave(PidFileError::NotAPidFile(path.to_owned()))) };
        if metadata.modified().is_ok_and(|written| wrote_it(before, written)) {
            return Err(pid_file.leave(PidFileError::Running { path: path.to_owned(), pid: before }));
        }
        let file = &mut pid_file.file;
        file.set_len(0).map_err(system)?;
        file.rewind().map_err(system)?;
        writeln!(file, "{}", std::process::id()).map_err(system)?;
        Ok(pid_file)
    }

    fn lock(path: &Path) -> Result<Self, PidFileError> {
        let system = |source| PidFileError::System { path: path.to_owned(), source };
        loop {
            let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o644);
            let flags = i32::try_from(flags.bits()).unwrap_or_default();
            let mut file = options.custom_flags(flags).open(path).map_err(system)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let mut text = String::new();
                    let _ = (&mut file).take(MAX_LENGTH).read_to_string(&mut text);
                    let pid = text.trim().parse().unwrap_or_default();
                    return Err(PidFileError::Running { path: path.to_owned(), pid });
                }
                Err(error) => return Err(system(error.into())),
            }
            // One that ended just now may have removed the file that was opened.
            if is_at(&file, path) {
                return Ok(Self { path: path.to_owned(), file });
            }
        }
    }

    fn leave(self, error: PidFileError) -> PidFileError {
        let mut pid_file = self;
        pid_file.path = PathBuf::new();
        error
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // While it is still locked; another program may have put its own there.
        if is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

/// Whether a process is there that was there already when the file was written: a number may have come to another one
/// since.
fn wrote_it(pid: u32, written: SystemTime) -> bool {
    pid != std::process::id() && started(pid).is_some_and(|started| started <= written + TOLERANCE)
}

/// When a process was started, if it runs.
fn started(pid: u32) -> Option<SystemTime> {
    /// What `/proc` counts in, on every architecture that runs this.
    const TICKS_PER_SECOND: u64 = 100;
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program comes before, in brackets; it may have anything in it.
    let mut fields = status.rsplit(')').next()?.split_whitespace();
    // One that has ended and that nobody has waited for does not run.
    fields.next().filter(|state| !["Z", "X"].contains(state))?;
    let ticks: u64 = fields.nth(18)?.parse().ok()?;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(boot) + Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

//! The file with this process's number.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;
use rustix::process::{Pid, test_kill_process};

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
    #[error(
        "{}: process {pid} runs with this pid file; stop it or choose another path, or remove the file if it is no buswayd",
        path.display()
    )]
    Running { path: PathBuf, pid: u32 },
}

/// Longer than any number.
const MAX_LENGTH: u64 = 32;
/// What tells of processes.
const PROC: &str = "/proc";
/// Whose unit files carry over, pid file included.
const PREDECESSOR: &str = "busrtd";
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
        if metadata.modified().is_ok_and(|written| wrote_it(Path::new(PROC), before, written)) {
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

/// Whether a broker is there that was there already when the file was written: a number may have come to another process
/// since. Where that cannot be told, any process of that number may be the one.
fn wrote_it(proc: &Path, pid: u32, written: SystemTime) -> bool {
    if pid == std::process::id() {
        return false;
    }
    let name_of = |process: &str| std::fs::read_to_string(proc.join(process).join("comm"));
    match (name_of("self"), name_of(&pid.to_string())) {
        (Ok(own), Ok(name)) if name == own || name.trim_end() == PREDECESSOR => {
            started(proc, pid).is_some_and(|started| started <= written + TOLERANCE)
        }
        (Ok(_), Ok(_)) => false,
        _ => is_there(pid),
    }
}

/// Whether there is such a process; who may not signal it is told so.
fn is_there(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

/// When a process was started, if it runs.
fn started(proc: &Path, pid: u32) -> Option<SystemTime> {
    /// What `/proc` counts in, on every architecture that runs this.
    const TICKS_PER_SECOND: u64 = 100;
    let status = std::fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?;
    // The name of the program comes before, in brackets; it may have anything in it.
    let mut fields = status.rsplit(')').next()?.split_whitespace();
    // One that has ended and that nobody has waited for does not run.
    fields.next().filter(|state| !["Z", "X"].contains(state))?;
    let ticks: u64 = fields.nth(18)?.parse().ok()?;
    let boot = std::fs::read_to_string(proc.join("stat")).ok()?;
    let boot: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(boot) + Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_predecessor_is_a_broker() {
        let script = "printf busrtd >/proc/$$/comm; echo; read line";
        let mut shell = Command::new("sh");
        let mut child = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        assert!(wrote_it(Path::new(PROC), child.id(), SystemTime::now()));
        assert!(!wrote_it(Path::new(PROC), child.id(), SystemTime::now() - Duration::from_secs(3600)), "it is younger");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn where_processes_cannot_be_looked_at_any_that_is_there_may_be_the_broker() {
        let nowhere = Path::new("/nowhere");
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        assert!(wrote_it(nowhere, child.id(), SystemTime::now()));
        assert!(!wrote_it(Path::new(PROC), child.id(), SystemTime::now()), "it is seen to be a stranger");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!wrote_it(nowhere, child.id(), SystemTime::now()));
        for own_or_none in [std::process::id(), 0] {
            assert!(!wrote_it(nowhere, own_or_none, SystemTime::now()));
        }
    }
}

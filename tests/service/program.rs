//! `buswayd` as somebody starts it, and what becomes of it.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Flavor, GREETING, Stream, TemporaryDirectory, eventually};

/// A place for one broker.
pub(crate) struct Place {
    pub(crate) directory: TemporaryDirectory,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: TemporaryDirectory::new() }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("bus.sock")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.directory.join("buswayd.pid")
    }

    /// `buswayd` on the socket of this place.
    pub(crate) fn buswayd(&self) -> Command {
        let mut command = buswayd();
        command.arg("-B").arg(self.socket()).current_dir(&self.directory);
        command
    }

    pub(crate) fn serves(&self) -> bool {
        greets(Stream::unix(&self.socket()))
    }
}

/// `buswayd` without options, and without what another service manager may have told this process.
pub(crate) fn buswayd() -> Command {
    clean(Flavor::Busway.program())
}

/// A program without what another service manager may have told this process.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in [
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "RUNTIME_DIRECTORY",
        "SYSTEMD_EXEC_PID",
    ] {
        command.env_remove(name);
    }
    command
}

/// Whether somebody answers who speaks the protocol.
pub(crate) fn greets(stream: std::io::Result<Stream>) -> bool {
    stream.is_ok_and(|mut stream| {
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).is_ok() && greeting == GREETING
    })
}

/// The number in a pid file.
pub(crate) fn read_pid(path: &Path) -> Option<Pid> {
    fs::read_to_string(path).ok()?.trim().parse().ok().and_then(Pid::from_raw)
}

/// A process that is no child of this one: ended with the test, however that ends.
pub(crate) struct Stranger(pub(crate) Pid);

impl Stranger {
    pub(crate) fn is_alive(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/stat", self.0));
        // One that nobody has waited for has ended all the same.
        status.is_ok_and(|status| !status.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
    }

    pub(crate) fn end(&self, signal: Signal) {
        let _ = kill_process(self.0, signal);
        eventually("the daemon has ended", || !self.is_alive());
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// A child that is ended with the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts a program; what it says is of no interest.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// Starts a program that has `stderr` for its errors and its log.
    pub(crate) fn start_with(command: &mut Command, stderr: impl Into<Stdio>) -> Self {
        Self(command.stderr(stderr).stdin(Stdio::null()).spawn().expect("the program can be started"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a process has an id");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Asks it to end, and how it did.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.end_by_itself()
    }

    /// Waits for its end, and how it did.
    pub(crate) fn end_by_itself(&mut self) -> Option<i32> {
        let mut code = None;
        eventually("the end", || {
            let status = self.0.try_wait().expect("a child can be waited for");
            code = status.and_then(|status| status.code());
            status.is_some()
        });
        code
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

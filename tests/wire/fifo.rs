//! The FIFO channel, as shell scripts use it.

mod commands;
mod faults;
mod place;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{BrokerProcess, Setup, TemporaryDirectory, eventually};

/// A broker with a FIFO.
struct Scripted {
    broker: BrokerProcess,
    path: PathBuf,
    _directory: TemporaryDirectory,
}

impl Scripted {
    fn start(setup: &Setup) -> Self {
        Self::start_with(setup, &[])
    }

    fn start_with(setup: &Setup, options: &[&str]) -> Self {
        let directory = TemporaryDirectory::new();
        let path = directory.join("fifo");
        let bind = format!("fifo:{}", path.display());
        let broker = setup.start_with(&[&["-B", &bind], options].concat());
        // The reference makes it after its sockets.
        eventually("the FIFO is there", || {
            fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.file_type().is_fifo())
        });
        Self { broker, path, _directory: directory }
    }

    /// Runs lines of a shell script, in which `$fifo` is the path.
    fn run(&self, script: &str) {
        let status = Command::new("sh").args(["-ec", script]).env("fifo", &self.path).status();
        assert!(status.expect("there is a shell").success(), "{script}");
    }

    /// The FIFO, open for writing.
    fn writer(&self) -> File {
        OpenOptions::new().write(true).open(&self.path).expect("the broker reads the FIFO")
    }
}

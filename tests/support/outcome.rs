//! A broker that is not expected to stay: how it ended and what it said.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus};

use super::{Flavor, TemporaryDirectory, eventually};

pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Starts a broker and waits until it ends by itself.
    pub(crate) fn of(flavor: Flavor, options: &[&str]) -> Self {
        let directory = TemporaryDirectory::new();
        let (stdout, stderr) = (directory.join("stdout"), directory.join("stderr"));
        let mut child = Command::new(flavor.program())
            .args(options)
            .stdout(File::create(&stdout).expect("output can be kept"))
            .stderr(File::create(&stderr).expect("output can be kept"))
            .spawn()
            .expect("the broker can be started");
        let status = wait(&mut child);
        let read = |path| fs::read_to_string(path).expect("output is text");
        Self { status, stdout: read(stdout), stderr: read(stderr) }
    }
}

/// Waits for the end of a child, and does not leave it behind when it has none.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let mut status = None;
    let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("the end of the broker", || {
            status = child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
    }));
    if let Err(panic) = end {
        let _ = child.kill();
        let _ = child.wait();
        std::panic::resume_unwind(panic);
    }
    status.expect("it ended")
}

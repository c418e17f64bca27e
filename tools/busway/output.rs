//! Standard output: text for people, or one JSON object a line.

use std::future::pending;
use std::io::{self, BufWriter, Stdout, Write};
use std::os::fd::{AsFd, OwnedFd};

use serde_json::Value;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::failure::Failure;
use crate::payload;

pub(crate) struct Output {
    stdout: BufWriter<Stdout>,
    is_json: bool,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { stdout: BufWriter::new(io::stdout()), is_json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// A line of text.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{text}")?)
    }

    /// An object, on one line.
    pub(crate) fn object(&mut self, object: &Value) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{}", payload::without_controls(&object.to_string()))?)
    }

    /// An operation was done.
    pub(crate) fn done(&mut self) -> Result<(), Failure> {
        if self.is_json { self.object(&serde_json::json!({ "result": "ok" })) } else { self.line("OK") }
    }

    /// Hands everything to whoever reads.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }
}

/// Ends when the reader of a pipe has gone, also while there is nothing to write: `listen | head -1` need not wait for
/// a second frame.
pub(crate) async fn reader_gone() {
    // A file cannot be watched, and has no reader either.
    if let Ok(stdout) = watch()
        && stdout.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    pending::<()>().await;
}

#[allow(deprecated, reason = "deprecated for sources that may change their descriptor: an `OwnedFd` cannot")]
fn watch() -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(io::stdout().as_fd().try_clone_to_owned()?, Interest::ERROR)
}

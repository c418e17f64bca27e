//! How a process of a run and the driver talk: lines over the process's standard input and output.

use std::io::{BufRead, Write};
use std::os::fd::AsFd;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;

use crate::failure::{Context, Result};

/// What a process says when it is there for others to come.
pub(crate) const BOUND: &str = "bound";
/// What it says when it could begin to measure.
pub(crate) const READY: &str = "ready";
/// What stands before its result.
pub(crate) const RESULT: &str = "result ";
/// What it is told to begin.
pub(crate) const GO: &str = "go";
/// What one in the background is asked, to tell how far it is.
pub(crate) const COUNT: &str = "count";
/// What it is told to end.
pub(crate) const END: &str = "end";

/// The driver, as a process of a run sees it.
#[derive(Debug)]
pub(crate) struct Driver {
    lines: BufReader<pipe::Receiver>,
}

impl Driver {
    /// By standard input, which must be a pipe.
    pub(crate) fn new() -> Result<Self> {
        let input = std::io::stdin().as_fd().try_clone_to_owned()?;
        let input =
            pipe::Receiver::from_owned_fd(input).context(|| "standard input is not the driver's pipe".into())?;
        Ok(Self { lines: BufReader::new(input) })
    }

    /// Waits for a word.
    pub(crate) async fn wait_for(&mut self, word: &str) -> Result<()> {
        match self.next().await? {
            said if said == word => Ok(()),
            said => Err(format!("the driver said {said:?} instead of {word:?}").into()),
        }
    }

    /// The next word.
    pub(crate) async fn next(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).await?;
        match line.trim_end() {
            "" => Err("the driver has gone".into()),
            said => Ok(said.to_owned()),
        }
    }
}

/// Tells the driver a word.
pub(crate) fn say(word: &str) {
    let mut output = std::io::stdout().lock();
    // A driver that has gone is noticed when the next order is waited for.
    let _ = writeln!(output, "{word}");
}

/// Tells the driver the result.
pub(crate) fn tell(result: &impl Serialize) -> Result<()> {
    say(&format!("{RESULT}{}", serde_json::to_string(result)?));
    Ok(())
}

/// The lines that a process says, for a thread of the driver.
pub(crate) fn lines(output: impl std::io::Read) -> impl Iterator<Item = String> {
    std::io::BufReader::new(output).lines().map_while(std::result::Result::ok)
}

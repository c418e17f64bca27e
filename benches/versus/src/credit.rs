//! How a publisher is kept from flooding: receivers report beside the system that is measured how far they are.
//!
//! A report is eight bytes over a socket of its own, every quarter of a window: the same, small cost for every system.

use std::io::Write;
use std::os::unix::net::UnixStream as BlockingStream;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};

use crate::failure::{Context, Result};
use crate::plan::Plan;

/// A receiver's end.
#[derive(Debug)]
pub(crate) struct Reporter {
    stream: BlockingStream,
    every: u64,
    due: u64,
}

impl Reporter {
    /// Reports to the publisher of a plan.
    pub(crate) fn connect(plan: &Plan) -> Result<Self> {
        let path = plan.credit_path();
        let stream =
            BlockingStream::connect(&path).context(|| format!("no publisher listens at {}", path.display()))?;
        let every = plan.report_every();
        Ok(Self { stream, every, due: every })
    }

    /// Says how many messages have come, if it is time to or `at_once`.
    pub(crate) fn report(&mut self, count: u64, at_once: bool) -> Result<()> {
        if count < self.due && !at_once {
            return Ok(());
        }
        self.due = count + self.every;
        self.stream.write_all(&count.to_le_bytes()).context(|| "the publisher takes no more reports".into())
    }
}

/// The publisher's end.
#[derive(Debug)]
pub(crate) struct Window {
    receivers: Vec<(UnixStream, u64)>,
    /// What the slowest has reported.
    slowest: u64,
    size: u64,
    patience: Duration,
}

impl Window {
    /// Where receivers will connect to.
    pub(crate) fn listen(plan: &Plan) -> Result<UnixListener> {
        let path = plan.credit_path();
        UnixListener::bind(&path).context(|| format!("cannot listen at {}", path.display()))
    }

    /// Waits for all receivers.
    pub(crate) async fn open(listener: &UnixListener, plan: &Plan) -> Result<Self> {
        let patience = Duration::from_secs_f64(plan.patience);
        let mut receivers = Vec::new();
        while receivers.len() < plan.receivers {
            let accepted = tokio::time::timeout(patience, listener.accept()).await;
            let accepted = accepted.context(|| format!("{} of {} receivers came", receivers.len(), plan.receivers))?;
            receivers.push((accepted?.0, 0));
        }
        Ok(Self { receivers, slowest: 0, size: plan.window(), patience })
    }

    /// How many have come to all receivers, as far as they have reported.
    pub(crate) fn arrived(&self) -> u64 {
        self.slowest
    }

    /// Whether one more may be sent after so many.
    pub(crate) fn has_room(&self, sent: u64) -> bool {
        sent - self.slowest < self.size
    }

    /// Waits until one more may be sent.
    pub(crate) async fn wait_for_room(&mut self, sent: u64) -> Result<()> {
        self.wait_until((sent + 1).saturating_sub(self.size)).await
    }

    /// Waits until every receiver has reported at least so many.
    pub(crate) async fn wait_until(&mut self, count: u64) -> Result<()> {
        while self.slowest < count {
            let slowest = self.receivers.iter_mut().enumerate().min_by_key(|(_, (_, reported))| *reported);
            let Some((number, (stream, reported))) = slowest else { return Ok(()) };
            let read = tokio::time::timeout(self.patience, stream.read_u64_le()).await;
            *reported = read
                .context(|| format!("receiver {number} stands still at {reported}, {count} were to come"))?
                .context(|| format!("receiver {number} has gone at {reported}"))?;
            self.slowest = self.receivers.iter().map(|(_, reported)| *reported).min().unwrap_or(count);
        }
        Ok(())
    }
}

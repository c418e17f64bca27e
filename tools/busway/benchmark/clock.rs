//! Runs the workers of a row, and takes the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};

use super::place::Place;
use super::progress::Progress;
use super::work::{Latency, Tally, Work};
use super::worker::Worker;
use crate::ending::EndSignals;
use crate::failure::Failure;

/// How much a row does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amount {
    Time(Duration),
    /// Of all workers together.
    Iterations(u64),
}

impl Amount {
    /// What goes before it and is not counted: it fills caches, and brings the memory of lanes.
    pub(crate) fn warm_up(self) -> Self {
        match self {
            Self::Time(time) => Self::Time((time / 4).min(Duration::from_millis(500))),
            Self::Iterations(count) => Self::Iterations((count / 10).min(10_000)),
        }
    }

    /// The share of one of several workers; all shares together are the whole.
    fn share(self, worker: usize, workers: usize) -> u64 {
        match self {
            Self::Time(_) => u64::MAX,
            Self::Iterations(count) => {
                let (worker, workers) = (worker as u64, workers as u64);
                count / workers + u64::from(worker < count % workers)
            }
        }
    }
}

/// What all workers together have done.
pub(crate) struct Lap {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) time: Duration,
    pub(crate) latency: Latency,
    /// Somebody wanted the program to end before that.
    pub(crate) is_interrupted: bool,
}

/// The clock of all rows.
pub(crate) struct Clock {
    timeout: Duration,
    signals: EndSignals,
    progress: Progress,
}

/// How often it looks.
const TICK: Duration = Duration::from_millis(100);
/// Confirmations and calls are given up by the client first, with better words.
const GRACE: Duration = Duration::from_secs(1);

impl Clock {
    /// For operations that may take as long as `timeout`.
    pub(crate) fn new(timeout: Duration) -> Result<Self, Failure> {
        Ok(Self { timeout, signals: EndSignals::new()?, progress: Progress::new() })
    }

    /// Runs all workers of a row until each has done its share.
    pub(crate) async fn run(&mut self, workers: &[(Arc<Worker>, Place)], amount: Amount) -> Result<Lap, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tallies = Vec::new();
        let mut running = JoinSet::new();
        let started = Instant::now();
        for (number, (worker, place)) in workers.iter().enumerate() {
            let tally = Arc::new(Tally::default());
            tallies.push(Arc::clone(&tally));
            let iterations = amount.share(number, workers.len());
            let mut work = Work { iterations, stop: Arc::clone(&stop), tally, latency: Latency::new() };
            let (worker, place) = (Arc::clone(worker), place.clone());
            running.spawn(async move { worker.run(&place, &mut work).await.map(|()| work.latency) });
        }
        let name = workers.first().map(|(_, place)| place.row.name()).unwrap_or_default();
        let ended = self.watch(&name, amount, (&stop, &tallies), &mut running).await;
        self.progress.clear();
        let (latency, is_interrupted) = ended?;
        let (sent, received) = sum(&tallies);
        Ok(Lap { sent, received, time: started.elapsed(), latency, is_interrupted })
    }

    /// Until all have ended, for whatever reason.
    async fn watch(
        &mut self,
        row: &str,
        amount: Amount,
        (stop, tallies): (&AtomicBool, &[Arc<Tally>]),
        running: &mut JoinSet<Result<Latency, Failure>>,
    ) -> Result<(Latency, bool), Failure> {
        let started = Instant::now();
        let (mut latency, mut is_interrupted) = (Latency::new(), false);
        let mut moved = (0, 0);
        let mut moved_at = started;
        let limit = match amount {
            Amount::Time(time) => time,
            Amount::Iterations(_) => Duration::MAX,
        };
        let mut ticks = tokio::time::interval(TICK.min(limit).max(Duration::from_millis(1)));
        loop {
            tokio::select! {
                ended = running.join_next() => match ended {
                    None => return Ok((latency, is_interrupted)),
                    Some(ended) => latency.add(&result(row, ended)?),
                },
                () = self.signals.recv() => {
                    stop.store(true, Ordering::Relaxed);
                    if std::mem::replace(&mut is_interrupted, true) {
                        return Err(Failure::Failed("interrupted twice".to_owned()));
                    }
                }
                _ = ticks.tick() => {
                    if started.elapsed() >= limit {
                        stop.store(true, Ordering::Relaxed);
                    }
                    let counts = sum(tallies);
                    if counts != moved {
                        (moved, moved_at) = (counts, Instant::now());
                    } else if moved_at.elapsed() > self.timeout + GRACE {
                        return Err(stalled(row, counts, moved_at.elapsed()));
                    }
                    self.progress.show(row, amount, started.elapsed(), counts.0);
                }
            }
        }
    }
}

fn result(row: &str, ended: Result<Result<Latency, Failure>, JoinError>) -> Result<Latency, Failure> {
    ended.unwrap_or_else(|error| Err(Failure::Failed(format!("{row}: {error}"))))
}

fn sum(tallies: &[Arc<Tally>]) -> (u64, u64) {
    tallies.iter().fold((0, 0), |(sent, received), tally| (sent + tally.sent(), received + tally.received()))
}

fn stalled(row: &str, (sent, received): (u64, u64), time: Duration) -> Failure {
    Failure::Failed(format!(
        "{row}: {sent} sent, {received} received, and nothing more for {:.1} s",
        time.as_secs_f64()
    ))
}

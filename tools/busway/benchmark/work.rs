//! What one worker has to do, and what it has done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;

/// Counted while it happens.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Tally {
    pub(crate) fn add_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// A worker's part of a row.
pub(crate) struct Work {
    /// No more than this.
    pub(crate) iterations: u64,
    /// Time is up.
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) latency: Latency,
}

impl Work {
    /// Whether there is more to do. A worker that never has to wait lets the clock have its turn here.
    pub(crate) async fn goes_on(&self) -> bool {
        tokio::task::coop::consume_budget().await;
        self.tally.sent() < self.iterations && !self.stop.load(Ordering::Relaxed)
    }
}

/// How long something took, from 1 ns to an hour, to three digits.
pub(crate) struct Latency(Option<Histogram<u64>>);

const AN_HOUR: u64 = 3_600_000_000_000;

impl Latency {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, AN_HOUR, 3).ok())
    }

    pub(crate) fn record(&mut self, started: Instant) {
        let nanoseconds = u64::try_from(started.elapsed().as_nanos()).unwrap_or(AN_HOUR);
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(nanoseconds);
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.0, &other.0) {
            // Both have the same bounds.
            let _ = histogram.add(other);
        }
    }

    /// Nanoseconds; `None` when nothing was recorded.
    pub(crate) fn at(&self, quantile: f64) -> Option<u64> {
        let histogram = self.0.as_ref().filter(|histogram| !histogram.is_empty())?;
        Some(histogram.value_at_quantile(quantile))
    }
}

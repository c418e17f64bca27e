//! What a row has come to.

use std::collections::BTreeSet;

use busway::Client;
use serde_json::{Value, json};

use super::clock::Lap;
use super::options::Benchmark;
use super::row::Row;

/// A row of the table.
pub(crate) struct Measured {
    row: Row,
    transport: String,
    workers: u16,
    payload_bytes: usize,
    /// How often each frame was to arrive.
    arrivals: Option<u64>,
    lap: Lap,
}

/// The quantiles that are shown, and their names.
const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")];

/// The titles of the table.
pub(crate) const TITLES: [&str; 11] =
    ["row", "transport", "sent", "received", "lost", "seconds", "per second", "MB/s", "p50 us", "p99 us", "p99.9 us"];

impl Measured {
    pub(crate) fn new(row: Row, command: &Benchmark, clients: &[&Client], lap: Lap) -> Self {
        let transports: BTreeSet<String> = clients.iter().map(|client| client.transport().to_string()).collect();
        Self {
            row,
            transport: transports.into_iter().collect::<Vec<_>>().join("+"),
            workers: command.workers,
            payload_bytes: command.payload_size,
            arrivals: row.arrivals(command.receivers),
            lap,
        }
    }

    /// Frames that should have arrived and have not.
    pub(crate) fn lost(&self) -> u64 {
        self.arrivals.map_or(0, |arrivals| (self.lap.sent * arrivals).saturating_sub(self.lap.received))
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.lap.is_interrupted
    }

    pub(crate) fn name(&self) -> String {
        self.row.name()
    }

    /// Operations a second: what has arrived everywhere, or, where nobody receives, what was sent.
    fn rate(&self) -> f64 {
        let seconds = self.lap.time.as_secs_f64();
        match self.arrivals {
            Some(arrivals) => self.lap.received as f64 / arrivals as f64 / seconds,
            None => self.lap.sent as f64 / seconds,
        }
    }

    /// Payload alone, counted once for each that received it.
    fn megabytes(&self) -> f64 {
        self.rate() * self.arrivals.unwrap_or(1) as f64 * self.payload_bytes as f64 / 1e6
    }

    fn microseconds(&self, quantile: f64) -> Option<f64> {
        self.lap.latency.at(quantile).map(|nanoseconds| nanoseconds as f64 / 1e3)
    }

    pub(crate) fn cells(&self) -> Vec<String> {
        let mut cells = vec![
            self.row.name(),
            self.transport.clone(),
            thousands(self.lap.sent),
            self.arrivals.map(|_| thousands(self.lap.received)).unwrap_or_default(),
            self.arrivals.map(|_| thousands(self.lost())).unwrap_or_default(),
            format!("{:.2}", self.lap.time.as_secs_f64()),
            rounded(self.rate()),
            format!("{:.1}", self.megabytes()),
        ];
        let quantiles = QUANTILES[..3].iter().map(|(quantile, _)| self.microseconds(*quantile));
        cells.extend(quantiles.map(|value| value.map(|value| format!("{value:.1}")).unwrap_or_default()));
        cells
    }

    pub(crate) fn object(&self) -> Value {
        let mut object = json!({
            "row": self.row.name(),
            "transport": self.transport,
            "workers": self.workers,
            "payload_bytes": self.payload_bytes,
            "receivers": self.arrivals,
            "sent": self.lap.sent,
            "received": self.arrivals.map(|_| self.lap.received),
            "lost": self.arrivals.map(|_| self.lost()),
            "seconds": self.lap.time.as_secs_f64(),
            "per_second": self.rate(),
            "payload_bytes_per_second": self.megabytes() * 1e6,
            "interrupted": self.lap.is_interrupted,
        });
        for (quantile, name) in QUANTILES {
            let key = format!("latency_{}_us", name.replace('.', "_"));
            object[key] = self.microseconds(quantile).into();
        }
        object
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is neither negative nor that large")]
fn rounded(rate: f64) -> String {
    thousands(rate.round() as u64)
}

/// With a comma before each group of three digits.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}

//! Single measurements, by what was measured and in which round.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::driver::Work;
use crate::systems::System;

/// What a number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Messages a second that arrived, all receivers taken together.
    Rate,
    /// CPU time of the broker for each message that arrived, in microseconds.
    BrokerCpu,
    /// The most memory that the broker held, in MiB.
    PeakRss,
    /// Half of the messages took less, in microseconds.
    P50,
    P99,
    P999,
    /// System calls of the broker for each message that arrived.
    SystemCalls,
    /// Clients that connected in a second.
    ConnectRate,
    /// Subscriptions that were made in a second.
    SubscribeRate,
    /// Memory of the broker for each client or subscription, in KiB.
    MemoryEach,
    /// Per cent of a core that the broker used for 1,000 idle clients.
    IdleCpu,
}

impl Metric {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::BrokerCpu => "broker_cpu",
            Self::PeakRss => "peak_rss",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p999",
            Self::SystemCalls => "system_calls",
            Self::ConnectRate => "connect_rate",
            Self::SubscribeRate => "subscribe_rate",
            Self::MemoryEach => "memory_each",
            Self::IdleCpu => "idle_cpu",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Rate => "messages/s",
            Self::BrokerCpu => "us/message",
            Self::PeakRss => "MiB",
            Self::P50 | Self::P99 | Self::P999 => "us",
            Self::SystemCalls => "calls/message",
            Self::ConnectRate => "clients/s",
            Self::SubscribeRate => "subscriptions/s",
            Self::MemoryEach => "KiB each",
            Self::IdleCpu => "% of a core/1,000",
        }
    }

    fn larger_is_better(self) -> bool {
        matches!(self, Self::Rate | Self::ConnectRate | Self::SubscribeRate)
    }

    /// How many times better one value is than another; larger is better whatever is measured.
    pub(crate) fn times_better(self, value: f64, than: f64) -> Option<f64> {
        let (above, below) = if self.larger_is_better() { (value, than) } else { (than, value) };
        (below > 0.0).then(|| above / below)
    }
}

/// Work that a system has done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Case {
    pub(crate) work: String,
    pub(crate) payload: usize,
    pub(crate) receivers: usize,
    pub(crate) system: System,
}

impl Case {
    pub(crate) fn of(work: &Work, system: System) -> Self {
        Self { work: work.name.to_owned(), payload: work.payload, receivers: work.receivers, system }
    }

    /// The same work, done by another system.
    pub(crate) fn by(&self, system: System) -> Self {
        Self { system, ..self.clone() }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, {} to {}, {}", self.work, bytes(self.payload), self.receivers, self.system)
    }
}

/// A number of bytes as people write it.
pub(crate) fn bytes(count: usize) -> String {
    match count {
        count if count >= 1 << 20 => format!("{} MiB", count >> 20),
        count if count >= 1 << 10 => format!("{} KiB", count >> 10),
        count => format!("{count} B"),
    }
}

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    pub(crate) values: BTreeMap<(Case, Metric), BTreeMap<u32, f64>>,
    /// Runs that failed, in words.
    pub(crate) discarded: Vec<String>,
    /// Something failed twice, and is missing.
    pub(crate) has_failed: bool,
}

impl Samples {
    pub(crate) fn add(&mut self, round: u32, case: &Case, metric: Metric, value: f64) {
        self.values.entry((case.clone(), metric)).or_default().insert(round, value);
    }

    pub(crate) fn discard(&mut self, what: String) {
        self.discarded.push(what);
    }
}

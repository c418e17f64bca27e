//! Single measurements, by what was measured and in which round.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::driver::{Values, Work};
use crate::systems::System;

/// What a number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Messages a second that arrived, all receivers taken together.
    Rate,
    /// CPU time of the broker for each message that arrived, in microseconds.
    BrokerCpu,
    /// CPU time of the broker and all clients for each message that arrived, in microseconds.
    CpuAll,
    /// The most memory that the broker held, in MiB.
    PeakRss,
    /// Half of the messages took less, in microseconds.
    P50,
    P99,
    P999,
    /// Messages a second that arrived beside those that the other numbers are about.
    BesideRate,
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
            Self::CpuAll => "cpu_all",
            Self::PeakRss => "peak_rss",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p999",
            Self::BesideRate => "beside_rate",
            Self::SystemCalls => "system_calls",
            Self::ConnectRate => "connect_rate",
            Self::SubscribeRate => "subscribe_rate",
            Self::MemoryEach => "memory_each",
            Self::IdleCpu => "idle_cpu",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Rate | Self::BesideRate => "messages/s",
            Self::BrokerCpu | Self::CpuAll => "us/message",
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
        matches!(self, Self::Rate | Self::BesideRate | Self::ConnectRate | Self::SubscribeRate)
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
    /// How many messages they rest on.
    pub(crate) messages: BTreeMap<Case, BTreeMap<u32, u64>>,
    /// Rounds that were begun.
    pub(crate) rounds: u32,
    /// Runs that failed, in words.
    pub(crate) discarded: Vec<String>,
    /// Something failed twice, and is missing.
    pub(crate) has_failed: bool,
    /// What there was no time for.
    left_out: BTreeSet<Case>,
}

impl Samples {
    /// A round, which then has a place in every row.
    pub(crate) fn begin(&mut self, round: u32) {
        self.rounds = self.rounds.max(round + 1);
    }

    /// What a run has shown.
    pub(crate) fn take(&mut self, round: u32, case: &Case, values: Values) {
        for (metric, value) in values.numbers {
            self.add(round, case, metric, value);
        }
        if let Some(messages) = values.messages {
            self.messages.entry(case.clone()).or_default().insert(round, messages);
        }
    }

    pub(crate) fn add(&mut self, round: u32, case: &Case, metric: Metric, value: f64) {
        self.begin(round);
        self.values.entry((case.clone(), metric)).or_default().insert(round, value);
    }

    pub(crate) fn discard(&mut self, what: String) {
        self.discarded.push(what);
    }

    pub(crate) fn leave_out(&mut self, case: &Case) {
        self.left_out.insert(case.clone());
    }

    /// What there was no time for, in words: what was not measured at all, by name.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let (some, none): (Vec<&Case>, Vec<&Case>) = self.left_out.iter().partition(|case| self.has(case));
        let shorter = match some.len() {
            0 => None,
            count => Some(format!("the last round of {count} more, which earlier rounds have")),
        };
        none.iter().map(ToString::to_string).chain(shorter).collect()
    }

    fn has(&self, case: &Case) -> bool {
        self.values.keys().any(|(measured, _)| measured == case)
    }

    /// Whether nothing was asked for that there is.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.left_out.is_empty() && !self.has_failed
    }
}

//! One run of one work with one system.

use super::affinity::OneCpu;
use super::broker::{Broker, Programs};
use super::cast::{Cast, Player};
use super::folder::Folder;
use super::work::{Shape, Work};
use crate::clock;
use crate::control::{BOUND, READY};
use crate::failure::Result;
use crate::plan::{FilterKind, Plan, Role};
use crate::report::Metric;
use crate::roles::Outcome;
use crate::systems::System;

/// What a run has shown.
pub(crate) type Values = Vec<(Metric, f64)>;

/// A system that is up: its broker, and the folder that its processes share.
#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped before the folder that its socket is in.
    pub(crate) broker: Broker,
    pub(crate) folder: Folder,
    pub(crate) system: System,
}

impl Stage {
    pub(crate) fn new(programs: &Programs, system: System) -> Result<Self> {
        let folder = Folder::new()?;
        let broker = Broker::start(programs, system, &folder)?;
        Ok(Self { broker, folder, system })
    }

    /// A plan for this system, with nothing unusual in it.
    pub(crate) fn plan(&self, work: &Work, role: Role, seconds: f64) -> Plan {
        Plan {
            system: self.system,
            role,
            endpoint: self.broker.endpoint.clone(),
            folder: self.folder.path().to_owned(),
            topic: "bench".into(),
            topics: 1,
            index: 0,
            payload: work.payload,
            receivers: work.receivers,
            clients: 1,
            filters: FilterKind::Exact,
            quality: work.quality,
            touched: work.touched,
            timed: false,
            rate: work.rate,
            seconds,
        }
    }
}

/// Runs a work once, everything started afresh.
pub(crate) fn run(programs: &Programs, work: &Work, system: System, seconds: f64) -> Result<Values> {
    let confined = if work.one_cpu { Some(OneCpu::new()?) } else { None };
    let mut stage = Stage::new(programs, system)?;
    let mut cast = Cast::new();
    let mut play = match work.shape {
        Shape::Stream => Play::stream(&stage.plan(work, Role::Publisher, seconds), &mut cast)?,
        Shape::RoundTrip => Play::round_trip(&stage.plan(work, Role::Ping, seconds), &mut cast)?,
    };
    drop(confined);

    let before = stage.broker.cpu()?;
    play.perform(&mut cast)?;
    let after = stage.broker.cpu()?;
    stage.broker.check()?;
    let mut values = play.values();
    if let (Some(before), Some(after)) = (before, after) {
        values.push((Metric::BrokerCpu, after.since(before) * 1e6 / play.delivered()));
    }
    values.extend(stage.broker.peak_rss()?.map(|peak| (Metric::PeakRss, peak)));
    cast.finish()?;
    Ok(values)
}

/// Processes that are ready to measure.
#[derive(Debug)]
pub(crate) struct Play {
    /// The one that is told to begin.
    lead: Player,
    others: Vec<Player>,
    receivers: usize,
    sent: Outcome,
    received: Vec<Outcome>,
}

impl Play {
    /// One publisher and its subscribers, each in a process of its own.
    pub(crate) fn stream(plan: &Plan, cast: &mut Cast) -> Result<Self> {
        Self::stream_to(plan, cast, plan.receivers, 1)
    }

    /// One publisher and its subscribers in so many processes with so many clients each.
    pub(crate) fn stream_to(plan: &Plan, cast: &mut Cast, processes: usize, clients: usize) -> Result<Self> {
        let lead = cast.start(plan)?;
        cast.wait_for(lead, BOUND)?;
        let mut others = Vec::new();
        for index in 0..processes {
            others.push(cast.start(&Plan { role: Role::Subscriber, index, clients, ..plan.clone() })?);
        }
        cast.wait_for(lead, READY)?;
        Ok(Self { lead, others, receivers: plan.receivers, sent: Outcome::default(), received: Vec::new() })
    }

    /// Two that play ping-pong.
    pub(super) fn round_trip(plan: &Plan, cast: &mut Cast) -> Result<Self> {
        let other = cast.start(&Plan { role: Role::Pong, ..plan.clone() })?;
        cast.wait_for(other, BOUND)?;
        let lead = cast.start(plan)?;
        cast.wait_for(lead, READY)?;
        // There and back.
        Ok(Self { lead, others: Vec::new(), receivers: 2, sent: Outcome::default(), received: Vec::new() })
    }

    /// Begins, and goes on until the driver drops the cast.
    pub(crate) fn begin(&self, cast: &mut Cast) -> Result<()> {
        cast.go(self.lead)
    }

    /// Measures.
    pub(crate) fn perform(&mut self, cast: &mut Cast) -> Result<()> {
        self.begin(cast)?;
        self.sent = cast.outcome(self.lead)?;
        for other in &self.others {
            self.received.push(cast.outcome(*other)?);
        }
        Ok(())
    }

    /// Messages that arrived, all receivers taken together.
    pub(crate) fn delivered(&self) -> f64 {
        self.sent.messages as f64 * self.receivers as f64
    }

    /// What the processes have measured.
    pub(crate) fn values(&self) -> Values {
        let end = self.received.iter().map(|outcome| outcome.end).max().unwrap_or(self.sent.end);
        let mut values = Vec::new();
        if !self.received.is_empty() {
            values.push((Metric::Rate, self.delivered() / clock::seconds(self.sent.start, end)));
        }
        let latencies = self.received.iter().chain([&self.sent]).filter_map(|outcome| outcome.latency);
        for latency in latencies {
            values.extend([(Metric::P50, latency.p50), (Metric::P99, latency.p99), (Metric::P999, latency.p999)]);
        }
        values
    }
}

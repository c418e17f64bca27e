//! One run of one work with one system.

use super::Settings;
use super::affinity::OneCpu;
use super::broker::Broker;
use super::cast::{Cast, Player};
use super::folder::Folder;
use super::watch::Watch;
use super::work::{MIB, Shape, Work};
use crate::clock;
use crate::control::{BOUND, READY};
use crate::failure::Result;
use crate::plan::{FilterKind, Plan, Role};
use crate::report::Metric;
use crate::roles::{Latency, Outcome};
use crate::systems::System;

/// What a run has shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    pub(crate) numbers: Vec<(Metric, f64)>,
    /// Messages that they rest on, all receivers taken together; nothing where there were none.
    pub(crate) messages: Option<u64>,
}

/// Messages that a run rests on at least, unless the system is very slow.
const LEAST: u64 = 16;
/// The same for round trips, and whatever else shows how many took long: of these 15 are beyond the 99th percentile.
pub(super) const LEAST_TIMED: u64 = 1_500;
/// The same for round trips with large payloads in the quick mode, which has no time for more.
const LEAST_QUICK: u64 = 100;

/// A system that is up: its broker, and the folder that its processes share.
#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped before the folder that its socket is in.
    pub(crate) broker: Broker,
    pub(crate) folder: Folder,
    pub(crate) system: System,
}

impl Stage {
    pub(crate) fn new(settings: &Settings, system: System) -> Result<Self> {
        let folder = Folder::new()?;
        let broker = Broker::start(&settings.programs, system, &folder)?;
        Ok(Self { broker, folder, system })
    }

    /// A plan for this system, with nothing unusual in it.
    pub(crate) fn plan(&self, settings: &Settings, work: &Work, role: Role) -> Plan {
        let least = match work.shape {
            Shape::Stream => LEAST,
            Shape::RoundTrip if settings.quick && work.payload >= MIB => LEAST_QUICK,
            Shape::RoundTrip => LEAST_TIMED,
        };
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
            seconds: settings.seconds,
            least,
            background: false,
            patience: settings.patience,
        }
    }
}

/// Runs a work once, everything started afresh.
pub(crate) fn run(settings: &Settings, work: &Work, system: System) -> Result<Values> {
    let confined = if work.one_cpu { Some(OneCpu::new()?) } else { None };
    let mut stage = Stage::new(settings, system)?;
    let mut cast = Cast::new(settings);
    let mut play = match work.shape {
        Shape::Stream => Play::stream(&stage.plan(settings, work, Role::Publisher), &mut cast)?,
        Shape::RoundTrip => Play::round_trip(&stage.plan(settings, work, Role::Ping), &mut cast)?,
    };
    drop(confined);

    let mut values = perform(&mut stage, &mut play, &mut cast)?;
    values.numbers.extend(stage.broker.peak_rss()?.map(|peak| (Metric::PeakRss, peak)));
    cast.finish()?;
    Ok(values)
}

/// Measures, and watches what it costs.
pub(super) fn perform(stage: &mut Stage, play: &mut Play, cast: &mut Cast) -> Result<Values> {
    let watch = Watch::begin(&stage.broker, cast)?;
    play.perform(cast)?;
    let used = watch.end(play.delivered())?;
    stage.broker.check()?;
    let mut values = play.values();
    values.numbers.extend(used);
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

    /// Begins.
    pub(crate) fn begin(&self, cast: &mut Cast) -> Result<()> {
        cast.go(self.lead)
    }

    /// The process that is told to begin.
    pub(super) fn lead(&self) -> Player {
        self.lead
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
        let mut numbers = Vec::new();
        if !self.received.is_empty() {
            numbers.push((Metric::Rate, self.delivered() / clock::seconds(self.sent.start, end)));
        }
        let latencies = self.received.iter().chain([&self.sent]).filter_map(|outcome| outcome.latency);
        for Latency { p50, p99, p999 } in latencies {
            let quantiles = [(Metric::P50, p50), (Metric::P99, p99), (Metric::P999, p999)];
            numbers.extend(quantiles.into_iter().filter_map(|(metric, value)| Some((metric, value?))));
        }
        Values { numbers, messages: Some(self.delivered() as u64) }
    }
}

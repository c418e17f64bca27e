//! What many cost: clients that are idle, receivers, senders, connections, subscriptions.

use super::cast::Cast;
use super::run::{Play, Stage, Values};
use super::usage::rss;
use super::work::{STREAM, Work};
use super::{Attempt, Settings, attempt, nap, rotated};
use crate::clock;
use crate::control::{BOUND, READY};
use crate::failure::Result;
use crate::plan::{FilterKind, Plan, Role};
use crate::report::{Case, Metric, Samples};
use crate::systems::System;

const IDLE: [usize; 4] = [1_000, 2_500, 5_000, 10_000];
const FAN_OUT: [usize; 4] = [1, 10, 100, 500];
const FAN_IN: [usize; 3] = [2, 10, 100];
const SUBSCRIPTIONS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const KINDS: [(&str, FilterKind); 3] = [
    ("subscriptions_exact", FilterKind::Exact),
    ("subscriptions_one_level", FilterKind::OneLevel),
    ("subscriptions_all_levels", FilterKind::AllLevels),
];

/// Each crowd lives in two processes.
const PROCESSES: usize = 2;
/// A broker allows 65,536 subscriptions to a client.
const SUBSCRIBING: usize = 20;
/// Topics that are published to in turn, over and over.
const TOPICS: u32 = 16;
/// How long idle clients are watched: pings come each second.
const WATCHED: f64 = 3.0;

type Run = fn(&Settings, &Work, System) -> Result<Values>;

pub(crate) fn scale(settings: &Settings) -> Samples {
    let mut cases: Vec<(Work, Run)> = Vec::new();
    cases.extend(IDLE.map(|count| (many("idle_clients", count), idle as Run)));
    cases.extend(FAN_OUT.map(|count| (many("fan_out", count), fan_out as Run)));
    cases.extend(FAN_IN.map(|count| (many("fan_in", count), fan_in as Run)));
    for (name, _) in KINDS {
        cases.extend(SUBSCRIPTIONS.map(|count| (many(name, count), subscriptions as Run)));
    }
    let mut samples = Samples::default();
    for round in 0..settings.rounds {
        for (work, run) in &cases {
            if !settings.wants(work.name) {
                continue;
            }
            for system in rotated(&settings.buses(), round) {
                let case = Case::of(work, system);
                attempt(&mut samples, &Attempt { round, case }, || run(settings, work, system));
            }
        }
    }
    samples
}

/// `count` of whatever there are many of stands where receivers do.
fn many(name: &'static str, count: usize) -> Work {
    Work { name, receivers: count, ..STREAM }
}

/// Clients that are connected and silent, and how fast they came.
fn idle(settings: &Settings, work: &Work, system: System) -> Result<Values> {
    let mut stage = Stage::new(&settings.programs, system)?;
    let pid = stage.broker.pid().ok_or("there is no broker")?;
    let (count, empty) = (work.receivers as f64, rss(pid)?);
    let plan = Plan { clients: work.receivers / PROCESSES, ..stage.plan(work, Role::Crowd, settings.seconds) };
    let mut cast = Cast::new();
    let mut crowds = Vec::new();
    for index in 0..PROCESSES {
        crowds.push(cast.start(&Plan { index, ..plan.clone() })?);
    }
    let mut slowest = 0.0_f64;
    for crowd in &crowds {
        slowest = slowest.max(cast.outcome(*crowd)?.preparation);
        cast.wait_for(*crowd, READY)?;
    }
    nap(1.0);
    let before = stage.broker.cpu()?;
    nap(WATCHED);
    let after = stage.broker.cpu()?;
    stage.broker.check()?;
    let memory = (rss(pid)? - empty).max(0.0) / count;
    let mut connected = 0;
    for crowd in &crowds {
        cast.go(*crowd)?;
        connected += cast.outcome(*crowd)?.messages;
    }
    if connected as f64 != count {
        return Err(format!("{connected} of {count} clients are still connected").into());
    }
    let mut values = vec![(Metric::ConnectRate, count / slowest), (Metric::MemoryEach, memory)];
    if let (Some(before), Some(after)) = (before, after) {
        let percent_of_a_core = after.since(before) / WATCHED * 100.0;
        values.push((Metric::IdleCpu, percent_of_a_core / (count / 1000.0)));
    }
    cast.finish()?;
    Ok(values)
}

/// One publisher and many receivers, in two processes.
fn fan_out(settings: &Settings, work: &Work, system: System) -> Result<Values> {
    let mut stage = Stage::new(&settings.programs, system)?;
    let mut cast = Cast::new();
    let plan = stage.plan(work, Role::Publisher, settings.seconds);
    let processes = PROCESSES.min(work.receivers);
    let mut play = Play::stream_to(&plan, &mut cast, processes, work.receivers / processes)?;
    measured(&mut stage, &mut play, cast)
}

fn measured(stage: &mut Stage, play: &mut Play, mut cast: Cast) -> Result<Values> {
    let before = stage.broker.cpu()?;
    play.perform(&mut cast)?;
    let after = stage.broker.cpu()?;
    stage.broker.check()?;
    let mut values = play.values();
    if let (Some(before), Some(after)) = (before, after) {
        values.push((Metric::BrokerCpu, after.since(before) * 1e6 / play.delivered()));
    }
    cast.finish()?;
    Ok(values)
}

/// Many publishers, in two processes, and one receiver.
fn fan_in(settings: &Settings, work: &Work, system: System) -> Result<Values> {
    let mut stage = Stage::new(&settings.programs, system)?;
    let mut cast = Cast::new();
    let clients = work.receivers / PROCESSES;
    let plan =
        Plan { receivers: 1, clients, topic: "source".into(), ..stage.plan(work, Role::Sources, settings.seconds) };
    let mut sources = Vec::new();
    for index in 0..PROCESSES {
        let source = cast.start(&Plan { index, topic: format!("source{index}"), ..plan.clone() })?;
        cast.wait_for(source, BOUND)?;
        sources.push(source);
    }
    let sink = cast.start(&Plan { role: Role::Sink, index: PROCESSES, ..plan })?;
    for source in &sources {
        cast.wait_for(*source, READY)?;
    }
    let before = stage.broker.cpu()?;
    for source in &sources {
        cast.go(*source)?;
    }
    let mut messages = 0;
    let mut start = u64::MAX;
    for source in &sources {
        let sent = cast.outcome(*source)?;
        messages += sent.messages;
        start = start.min(sent.start);
    }
    let end = cast.outcome(sink)?.end;
    let after = stage.broker.cpu()?;
    stage.broker.check()?;
    let mut values = vec![(Metric::Rate, messages as f64 / clock::seconds(start, end))];
    if let (Some(before), Some(after)) = (before, after) {
        values.push((Metric::BrokerCpu, after.since(before) * 1e6 / messages as f64));
    }
    cast.finish()?;
    Ok(values)
}

/// One publisher and one receiver beside many subscriptions that do not match.
fn subscriptions(settings: &Settings, work: &Work, system: System) -> Result<Values> {
    let mut stage = Stage::new(&settings.programs, system)?;
    let pid = stage.broker.pid().ok_or("there is no broker")?;
    let empty = rss(pid)?;
    let filters = KINDS.iter().find(|(name, _)| *name == work.name).map_or(FilterKind::Exact, |(_, kind)| *kind);
    let plan = Plan { filters, ..stage.plan(work, Role::Filters, settings.seconds) };
    let mut cast = Cast::new();
    let crowd = cast.start(&Plan { clients: SUBSCRIBING, ..plan.clone() })?;
    let preparation = cast.outcome(crowd)?.preparation;
    cast.wait_for(crowd, READY)?;
    let memory = (rss(pid)? - empty).max(0.0) / work.receivers as f64;
    let plan = Plan { role: Role::Publisher, receivers: 1, topics: TOPICS, ..plan };
    let mut play = Play::stream(&plan, &mut cast)?;
    let mut values = measured(&mut stage, &mut play, cast)?;
    values.push((Metric::SubscribeRate, work.receivers as f64 / preparation));
    values.push((Metric::MemoryEach, memory));
    Ok(values)
}

//! What many cost: clients that are idle, receivers, senders, connections, subscriptions.

use super::cast::Cast;
use super::run::{Play, Stage, Values, perform};
use super::usage::rss;
use super::watch::Watch;
use super::work::{STREAM, Work};
use super::{Settings, attempt, nap, shuffled};
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
    let mut add = |name, counts: &[usize], run: Run| {
        cases.extend(counted(settings, name, counts).map(|work| (work, run)));
    };
    add("idle_clients", &IDLE, idle);
    add("fan_out", &FAN_OUT, fan_out);
    add("fan_in", &FAN_IN, fan_in);
    for (name, _) in KINDS {
        add(name, &SUBSCRIPTIONS, subscriptions);
    }
    let mut samples = Samples::default();
    for round in 0..settings.rounds {
        for (position, (work, run)) in cases.iter().enumerate() {
            if !settings.wants(work.name) {
                continue;
            }
            for system in shuffled(&settings.buses(), round, position) {
                let case = Case::of(work, system);
                attempt(settings, &mut samples, round, &case, || run(settings, work, system));
            }
        }
        if settings.is_over() {
            break;
        }
    }
    samples
}

/// Works with the numbers that are measured: the quick mode has the least and the greatest.
fn counted<'a>(settings: &Settings, name: &'static str, counts: &'a [usize]) -> impl Iterator<Item = Work> + 'a {
    let is_between = |place| place > 0 && place + 1 < counts.len();
    let quick = settings.quick;
    let counts = counts.iter().enumerate().filter(move |(place, _)| !(quick && is_between(*place)));
    counts.map(move |(_, count)| many(name, *count))
}

/// `count` of whatever there are many of stands where receivers do.
fn many(name: &'static str, count: usize) -> Work {
    Work { name, receivers: count, ..STREAM }
}

/// Clients that are connected and silent, and how fast they came.
fn idle(settings: &Settings, work: &Work, system: System) -> Result<Values> {
    let mut stage = Stage::new(settings, system)?;
    let pid = stage.broker.pid().ok_or("there is no broker")?;
    let (count, empty) = (work.receivers as f64, rss(pid)?);
    let plan = Plan { clients: work.receivers / PROCESSES, ..stage.plan(settings, work, Role::Crowd) };
    let mut cast = Cast::new(settings);
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
    let mut numbers = vec![(Metric::ConnectRate, count / slowest), (Metric::MemoryEach, memory)];
    if let (Some(before), Some(after)) = (before, after) {
        let percent_of_a_core = after.since(before)? / WATCHED * 100.0;
        numbers.push((Metric::IdleCpu, percent_of_a_core / (count / 1000.0)));
    }
    cast.finish()?;
    Ok(Values { numbers, messages: None })
}

/// One publisher and many receivers, in two processes.
fn fan_out(settings: &Settings, work: &Work, system: System) -> Result<Values> {
    let mut stage = Stage::new(settings, system)?;
    let mut cast = Cast::new(settings);
    let plan = stage.plan(settings, work, Role::Publisher);
    let processes = PROCESSES.min(work.receivers);
    let mut play = Play::stream_to(&plan, &mut cast, processes, work.receivers / processes)?;
    let values = perform(&mut stage, &mut play, &mut cast)?;
    cast.finish()?;
    Ok(values)
}

/// Many publishers, in two processes, and one receiver.
fn fan_in(settings: &Settings, work: &Work, system: System) -> Result<Values> {
    let mut stage = Stage::new(settings, system)?;
    let mut cast = Cast::new(settings);
    let clients = work.receivers / PROCESSES;
    let plan = Plan { receivers: 1, clients, topic: "source".into(), ..stage.plan(settings, work, Role::Sources) };
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
    let watch = Watch::begin(&stage.broker, &cast)?;
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
    let mut numbers = watch.end(messages as f64)?;
    stage.broker.check()?;
    numbers.push((Metric::Rate, messages as f64 / clock::seconds(start, end)));
    cast.finish()?;
    Ok(Values { numbers, messages: Some(messages) })
}

/// One publisher and one receiver beside many subscriptions that do not match.
fn subscriptions(settings: &Settings, work: &Work, system: System) -> Result<Values> {
    let mut stage = Stage::new(settings, system)?;
    let pid = stage.broker.pid().ok_or("there is no broker")?;
    let empty = rss(pid)?;
    let filters = KINDS.iter().find(|(name, _)| *name == work.name).map_or(FilterKind::Exact, |(_, kind)| *kind);
    let plan = Plan { filters, ..stage.plan(settings, work, Role::Filters) };
    let mut cast = Cast::new(settings);
    let crowd = cast.start(&Plan { clients: SUBSCRIBING, ..plan.clone() })?;
    let preparation = cast.outcome(crowd)?.preparation;
    cast.wait_for(crowd, READY)?;
    let memory = (rss(pid)? - empty).max(0.0) / work.receivers as f64;
    let plan = Plan { role: Role::Publisher, receivers: 1, topics: TOPICS, ..plan };
    let mut play = Play::stream(&plan, &mut cast)?;
    let mut values = perform(&mut stage, &mut play, &mut cast)?;
    values.numbers.push((Metric::SubscribeRate, work.receivers as f64 / preparation));
    values.numbers.push((Metric::MemoryEach, memory));
    cast.finish()?;
    Ok(values)
}

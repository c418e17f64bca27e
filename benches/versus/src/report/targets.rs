//! What the numbers must show, as a table, and whether they do.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::rows::Row;
use super::samples::{Metric, bytes};
use super::table::{count, number};
use crate::driver::{KIB, MIB};
use crate::systems::System::{self, BuswayLane, BuswaySockets, BuswaydBusrtClient, Iceoryx2, Zenoh};

/// What a row is held against.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// Nothing: its own value, in its unit.
    Itself,
    /// busrt, within each round: how many times as good.
    TimesBusrt,
    /// busrt, within each round: which part of what busrt needs.
    PartOfBusrt,
    /// Another system at the same work: how many times as good, of the medians.
    Times(System),
    /// The same system at another work, payload and number: this median by that one.
    Growth(&'static str, usize, usize),
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Against::{Growth, Itself, PartOfBusrt, Times, TimesBusrt};
use Bound::{AtLeast, AtMost};

/// Any number of receivers: the worst counts.
const ANY: usize = 0;

/// One bar: of every system that is named, the worst counts.
struct Target {
    row: &'static str,
    systems: &'static [System],
    metric: Metric,
    against: Against,
    work: &'static str,
    /// Payload, receivers and the bar there.
    bars: &'static [(usize, usize, Bound)],
}

const SOCKETS: &[System] = &[BuswaydBusrtClient, BuswaySockets];
const THEIR_CLIENT: &[System] = &[BuswaydBusrtClient];
const OUR_CLIENT: &[System] = &[BuswaySockets];
const LANE: &[System] = &[BuswayLane];
const ALL_OURS: &[System] = &[BuswaydBusrtClient, BuswaySockets, BuswayLane];

#[rustfmt::skip]
const TARGETS: &[Target] = &[
    Target { row: "broker CPU, busrt's client", systems: THEIR_CLIENT, metric: Metric::BrokerCpu, against: PartOfBusrt, work: "throughput", bars: &[
        (64, 1, AtMost(0.25)), (64, 4, AtMost(0.15)), (KIB, 1, AtMost(0.42)), (KIB, 4, AtMost(0.40)), (16 * KIB, 1, AtMost(0.55)),
        (MIB, 1, AtMost(0.40)), (MIB, 4, AtMost(0.60)), (16 * MIB, 1, AtMost(0.38)),
    ] },
    Target { row: "broker CPU, busrt's client", systems: THEIR_CLIENT, metric: Metric::BrokerCpu, against: PartOfBusrt, work: "realtime", bars: &[(64, 1, AtMost(0.42))] },
    Target { row: "broker CPU, busrt's client", systems: THEIR_CLIENT, metric: Metric::BrokerCpu, against: PartOfBusrt, work: "processed", bars: &[(64, 1, AtMost(0.50))] },
    Target { row: "broker CPU, busrt's client", systems: THEIR_CLIENT, metric: Metric::BrokerCpu, against: PartOfBusrt, work: "round_trip", bars: &[(64, 1, AtMost(0.85))] },
    Target { row: "rate, busrt's client", systems: THEIR_CLIENT, metric: Metric::Rate, against: TimesBusrt, work: "throughput", bars: &[
        (64, 1, AtLeast(1.4)), (64, 4, AtLeast(1.6)), (MIB, 1, AtLeast(1.8)),
    ] },
    Target { row: "rate, busrt's client", systems: THEIR_CLIENT, metric: Metric::Rate, against: TimesBusrt, work: "processed", bars: &[(64, 1, AtLeast(1.3))] },
    Target { row: "rate, our client", systems: OUR_CLIENT, metric: Metric::Rate, against: TimesBusrt, work: "throughput", bars: &[
        (64, 1, AtLeast(5.0)), (64, 4, AtLeast(5.5)), (KIB, 1, AtLeast(2.2)), (MIB, 1, AtLeast(1.9)),
    ] },
    Target { row: "rate, our client", systems: OUR_CLIENT, metric: Metric::Rate, against: TimesBusrt, work: "processed", bars: &[(64, 1, AtLeast(3.2))] },
    Target { row: "sockets, round trip p50", systems: OUR_CLIENT, metric: Metric::P50, against: PartOfBusrt, work: "round_trip_one_cpu", bars: &[(64, 1, AtMost(0.8))] },
    Target { row: "sockets, round trip p50", systems: OUR_CLIENT, metric: Metric::P50, against: PartOfBusrt, work: "round_trip", bars: &[(64, 1, AtMost(0.9))] },
    Target { row: "sockets, round trip p99", systems: OUR_CLIENT, metric: Metric::P99, against: PartOfBusrt, work: "round_trip_one_cpu", bars: &[(64, 1, AtMost(1.0))] },
    Target { row: "sockets, round trip p99", systems: OUR_CLIENT, metric: Metric::P99, against: PartOfBusrt, work: "round_trip", bars: &[(64, 1, AtMost(1.0))] },
    Target { row: "broker peak RSS, MiB", systems: ALL_OURS, metric: Metric::PeakRss, against: Itself, work: "throughput", bars: &[
        (64, ANY, AtMost(12.0)), (MIB, ANY, AtMost(64.0)), (16 * MIB, ANY, AtMost(128.0)),
    ] },
    Target { row: "lane, rate", systems: LANE, metric: Metric::Rate, against: TimesBusrt, work: "throughput", bars: &[(64, 1, AtLeast(6.0))] },
    Target { row: "lane, rate, by our sockets", systems: LANE, metric: Metric::Rate, against: Times(BuswaySockets), work: "throughput", bars: &[(64, 1, AtLeast(0.9))] },
    Target { row: "lane, round trip p50", systems: LANE, metric: Metric::P50, against: PartOfBusrt, work: "round_trip_one_cpu", bars: &[(64, 1, AtMost(0.5))] },
    Target { row: "lane, round trip p50", systems: LANE, metric: Metric::P50, against: PartOfBusrt, work: "round_trip", bars: &[(64, 1, AtMost(0.6)), (MIB, 1, AtMost(0.06))] },
    Target { row: "lane, all bytes touched", systems: LANE, metric: Metric::Rate, against: TimesBusrt, work: "throughput_touched", bars: &[(MIB, 1, AtLeast(8.0)), (MIB, 4, AtLeast(10.0))] },
    Target { row: "lane, all bytes touched, by iceoryx2", systems: LANE, metric: Metric::Rate, against: Times(Iceoryx2), work: "throughput_touched", bars: &[(MIB, 1, AtLeast(0.8)), (MIB, 4, AtLeast(0.8))] },
    Target { row: "lane, all bytes touched, by zenoh", systems: LANE, metric: Metric::Rate, against: Times(Zenoh), work: "throughput_touched", bars: &[(MIB, 1, AtLeast(1.5)), (MIB, 4, AtLeast(1.5))] },
    Target { row: "lane, transport only", systems: LANE, metric: Metric::Rate, against: TimesBusrt, work: "throughput", bars: &[(MIB, 4, AtLeast(100.0))] },
    Target { row: "lane, transport only, by iceoryx2", systems: LANE, metric: Metric::Rate, against: Times(Iceoryx2), work: "throughput", bars: &[(MIB, 4, AtLeast(0.8))] },
    Target { row: "lane, broker CPU, by that at 64 KiB", systems: LANE, metric: Metric::BrokerCpu, against: Growth("paced_200", 64 * KIB, 1), work: "paced_200", bars: &[(16 * MIB, 1, AtMost(1.5))] },
    Target { row: "system calls a message, sockets", systems: SOCKETS, metric: Metric::SystemCalls, against: Itself, work: "throughput", bars: &[(KIB, 1, AtMost(0.1))] },
    Target { row: "system calls a message, sockets", systems: SOCKETS, metric: Metric::SystemCalls, against: Itself, work: "processed", bars: &[(KIB, 1, AtMost(5.5))] },
    Target { row: "system calls a message, lane", systems: LANE, metric: Metric::SystemCalls, against: Itself, work: "throughput", bars: &[(64, 1, AtMost(0.02)), (KIB, 1, AtMost(0.02))] },
    Target { row: "lane, p99 by the quiet case", systems: LANE, metric: Metric::P99, against: Growth("tail_quiet", 64, 1), work: "tail_beside_16_mib", bars: &[(64, 1, AtMost(3.0))] },
    Target { row: "sockets, p99 beside 16 MiB", systems: OUR_CLIENT, metric: Metric::P99, against: PartOfBusrt, work: "tail_beside_16_mib", bars: &[(64, 1, AtMost(1.0))] },
    Target { row: "match, 1 M by 1 k, exact", systems: OUR_CLIENT, metric: Metric::BrokerCpu, against: Growth("subscriptions_exact", 64, 1_000), work: "subscriptions_exact", bars: &[(64, 1_000_000, AtMost(3.0))] },
    Target { row: "match, 1 M by 1 k, +", systems: OUR_CLIENT, metric: Metric::BrokerCpu, against: Growth("subscriptions_one_level", 64, 1_000), work: "subscriptions_one_level", bars: &[(64, 1_000_000, AtMost(3.0))] },
    Target { row: "match, 1 M by 1 k, #", systems: OUR_CLIENT, metric: Metric::BrokerCpu, against: Growth("subscriptions_all_levels", 64, 1_000), work: "subscriptions_all_levels", bars: &[(64, 1_000_000, AtMost(3.0))] },
    Target { row: "10,000 idle clients, KiB each", systems: SOCKETS, metric: Metric::MemoryEach, against: Itself, work: "idle_clients", bars: &[(64, 10_000, AtMost(32.0))] },
    Target { row: "10,000 idle clients, % of a core/1,000", systems: SOCKETS, metric: Metric::IdleCpu, against: Itself, work: "idle_clients", bars: &[(64, 10_000, AtMost(1.0))] },
];

/// A bar and what was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    row: String,
    work: String,
    wanted: String,
    /// Nothing if a row that it needs was not measured.
    measured: Option<f64>,
    pub(crate) reached: Option<bool>,
}

/// Holds rows against every target.
pub(crate) fn verdicts(rows: &[Row]) -> Vec<Verdict> {
    let bars = TARGETS.iter().flat_map(|target| target.bars.iter().map(move |bar| (target, *bar)));
    bars.map(|(target, bar)| verdict(target, bar, rows)).collect()
}

fn verdict(target: &Target, (payload, receivers, bound): (usize, usize, Bound), rows: &[Row]) -> Verdict {
    let of = |row: &&Row| {
        target.systems.contains(&row.system)
            && row.metric == target.metric
            && row.work == target.work
            && row.payload == payload
            && (receivers == ANY || row.receivers == receivers)
    };
    let values = rows.iter().filter(of).filter_map(|row| measure(target.against, row, rows));
    let (measured, wanted) = match bound {
        AtLeast(bar) => (values.reduce(f64::min), format!(">= {bar}")),
        AtMost(bar) => (values.reduce(f64::max), format!("<= {bar}")),
    };
    let reached = measured.map(|value| match bound {
        AtLeast(bar) => value >= bar,
        AtMost(bar) => value <= bar,
    });
    let to = if receivers == ANY { "any".to_owned() } else { count(receivers) };
    let work = format!("{}, {} to {to}", target.work, bytes(payload));
    Verdict { row: target.row.to_owned(), work, wanted, measured, reached }
}

fn measure(against: Against, row: &Row, rows: &[Row]) -> Option<f64> {
    let other = |work: &str, payload, receivers, system| {
        let is_it = |other: &&Row| {
            other.work == work
                && (other.payload, other.receivers) == (payload, receivers)
                && (other.system, other.metric) == (system, row.metric)
        };
        rows.iter().find(is_it).map(|other| other.median)
    };
    match against {
        Itself => Some(row.median),
        TimesBusrt => row.ratio_to_busrt,
        PartOfBusrt => row.ratio_to_busrt.map(|ratio| 1.0 / ratio),
        Times(system) => row.metric.times_better(row.median, other(&row.work, row.payload, row.receivers, system)?),
        Growth(work, payload, receivers) => Some(row.median / other(work, payload, receivers, row.system)?),
    }
}

/// One line for each.
pub(crate) fn print(output: &mut impl Write, verdicts: &[Verdict]) -> std::io::Result<()> {
    writeln!(output, "\n{:38} {:44} {:>8} {:>9}", "target", "at", "wanted", "measured")?;
    for Verdict { row, work, wanted, measured, reached } in verdicts {
        let measured = measured.map_or("-".to_owned(), number);
        let word = match reached {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "not measured",
        };
        writeln!(output, "{row:38} {work:44} {wanted:>8} {measured:>9}  {word}")?;
    }
    let verdicts_of = |wanted| verdicts.iter().filter(|verdict| verdict.reached == wanted).count();
    let (reached, missed, open) = (verdicts_of(Some(true)), verdicts_of(Some(false)), verdicts_of(None));
    writeln!(output, "{reached} reached, {missed} missed, {open} not measured")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(work: &str, receivers: usize, system: System, metric: Metric, median: f64, ratio: f64) -> Row {
        Row {
            work: work.into(),
            payload: 64,
            receivers,
            system,
            metric,
            median,
            spread: 0.0,
            ratio_to_busrt: Some(ratio),
            rounds: 7,
            mode: "compare".into(),
        }
    }

    fn reached(rows: &[Row], name: &str, place: &str) -> Option<bool> {
        let verdicts = verdicts(rows);
        verdicts.iter().find(|verdict| verdict.row == name && verdict.work == place).and_then(|verdict| verdict.reached)
    }

    #[test]
    fn bars_are_held_against_rows() {
        let rows = [
            row("throughput", 1, BuswaydBusrtClient, Metric::BrokerCpu, 0.4, 5.0),
            row("throughput", 1, BuswaySockets, Metric::Rate, 4e6, 4.9),
            row("throughput", 1, BuswayLane, Metric::Rate, 3.8e6, 6.5),
            row("throughput", 4, BuswayLane, Metric::PeakRss, 13.0, 2.0),
            row("throughput", 1, BuswayLane, Metric::PeakRss, 3.0, 2.0),
        ];
        assert_eq!(reached(&rows, "broker CPU, busrt's client", "throughput, 64 B to 1"), Some(true));
        assert_eq!(reached(&rows, "rate, our client", "throughput, 64 B to 1"), Some(false));
        assert_eq!(reached(&rows, "lane, rate, by our sockets", "throughput, 64 B to 1"), Some(true));
        assert_eq!(reached(&rows, "broker peak RSS, MiB", "throughput, 64 B to any"), Some(false));
        assert_eq!(reached(&rows, "broker CPU, busrt's client", "throughput, 64 B to 4"), None);
    }

    #[test]
    fn growth_is_of_the_same_system() {
        let rows = [
            row("subscriptions_exact", 1_000, BuswaySockets, Metric::BrokerCpu, 0.2, 1.0),
            row("subscriptions_exact", 1_000, System::Busrt, Metric::BrokerCpu, 9.0, 1.0),
            row("subscriptions_exact", 1_000_000, BuswaySockets, Metric::BrokerCpu, 0.3, 1.0),
        ];
        assert_eq!(reached(&rows, "match, 1 M by 1 k, exact", "subscriptions_exact, 64 B to 1,000,000"), Some(true));
    }
}

//! Rows held against the targets.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::rows::Row;
use super::samples::bytes;
use super::table::{count, number};
use super::targets::Against::{self, Growth, Itself, PartOfBusrt, Times, TimesBusrt};
use super::targets::Bound::{AtLeast, AtMost};
use super::targets::{ANY, Bar, TARGETS, Target};

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

fn verdict(target: &Target, (work, payload, receivers, bound): Bar, rows: &[Row]) -> Verdict {
    let of = |row: &&Row| {
        target.systems.contains(&row.system)
            && row.metric == target.metric
            && row.work == work
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
    let work = format!("{work}, {} to {to}", bytes(payload));
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
    use super::super::samples::Metric;
    use super::*;
    use crate::systems::System::{self, BuswayLane, BuswaySockets, BuswaydBusrtClient};

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
        assert_eq!(reached(&rows, "lane, rate by our sockets", "throughput, 64 B to 1"), Some(true));
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
        assert_eq!(
            reached(&rows, "match exact, broker CPU by that at 1,000", "subscriptions_exact, 64 B to 1,000,000"),
            Some(true)
        );
    }
}

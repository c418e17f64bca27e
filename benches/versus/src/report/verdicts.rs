//! Rows held against the targets.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::rows::Row;
use super::samples::{Metric, bytes};
use super::table::{count, number};
use super::targets::Against::{self, Growth, Itself, PartOfBusrt, Times, TimesBusrt};
use super::targets::Bound::{AtLeast, AtMost};
use super::targets::{ANY, Bar, TARGETS, Target};
use crate::driver::RECEIVERS;
use crate::systems::System;

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
    let (all, one) = (RECEIVERS, [receivers]);
    let counts: &[usize] = if receivers == ANY { &all } else { &one };
    let places = target.systems.iter().flat_map(|system| counts.iter().map(move |count| (*system, *count)));
    let values: Vec<Option<f64>> = places
        .map(|(system, count)| {
            let row = find(rows, target.metric, system, (work, payload, count))?;
            measure(target.against, row, rows)
        })
        .collect();
    let present = values.iter().copied().flatten();
    let (worst, wanted) = match bound {
        AtLeast(bar) => (present.reduce(f64::min), format!(">= {bar}")),
        AtMost(bar) => (present.reduce(f64::max), format!("<= {bar}")),
    };
    let is_reached = |value: f64| match bound {
        AtLeast(bar) => value >= bar,
        AtMost(bar) => value <= bar,
    };
    // What is missing might be worse: it can make a miss of it, and a miss stays one.
    let is_whole = values.iter().all(Option::is_some);
    let measured = worst.filter(|value| is_whole || !is_reached(*value));
    let to = if receivers == ANY { "any".to_owned() } else { count(receivers) };
    let work = format!("{work}, {} to {to}", bytes(payload));
    Verdict { row: target.row.to_owned(), work, wanted, measured, reached: measured.map(is_reached) }
}

fn find<'a>(
    rows: &'a [Row],
    metric: Metric,
    system: System,
    (work, payload, receivers): (&str, usize, usize),
) -> Option<&'a Row> {
    rows.iter().find(|row| {
        (row.system, row.metric) == (system, metric)
            && row.work == work
            && (row.payload, row.receivers) == (payload, receivers)
    })
}

fn measure(against: Against, row: &Row, rows: &[Row]) -> Option<f64> {
    // Of two parts of the program rounds are nothing that they share.
    let other = |system, place| find(rows, row.metric, system, place).filter(|other| other.mode == row.mode);
    match against {
        Itself => Some(row.median),
        TimesBusrt => row.ratio_to_busrt,
        PartOfBusrt => row.ratio_to_busrt.map(|ratio| 1.0 / ratio),
        Times(system) => {
            let other = other(system, (&row.work, row.payload, row.receivers))?;
            row.beside(other, |value, than| row.metric.times_better(value, than))
        }
        Growth(work, payload, receivers) => {
            let other = other(row.system, (work, payload, receivers))?;
            row.beside(other, |value, than| (than > 0.0).then(|| value / than))
        }
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
    use crate::systems::System::{BuswayLane, BuswaySockets, BuswaydBusrtClient};

    fn row(work: &str, receivers: usize, system: System, metric: Metric, median: f64, ratio: f64) -> Row {
        Row {
            work: work.into(),
            payload: 64,
            receivers,
            system,
            metric,
            median,
            spread: Some(0.0),
            ratio_to_busrt: Some(ratio),
            values: vec![Some(median); 7],
            messages: Vec::new(),
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

    #[test]
    fn a_target_with_a_row_missing_is_missed_or_open_and_never_reached() {
        let systems = [BuswaydBusrtClient, BuswaySockets, BuswayLane];
        let places = systems.into_iter().flat_map(|system| RECEIVERS.map(|receivers| (system, receivers)));
        let mut rows: Vec<Row> =
            places.map(|(system, receivers)| row("throughput", receivers, system, Metric::PeakRss, 3.0, 1.0)).collect();
        let reached = |rows: &[Row]| reached(rows, "broker peak RSS, MiB", "throughput, 64 B to any");
        assert_eq!(reached(&rows), Some(true));
        rows.pop();
        assert_eq!(reached(&rows), None);
        rows[0].median = 13.0;
        assert_eq!(reached(&rows), Some(false));
    }

    #[test]
    fn rounds_are_compared_with_themselves() {
        let mut ours = row("throughput", 1, BuswayLane, Metric::Rate, 0.0, 1.0);
        let mut theirs = row("throughput", 1, BuswaySockets, Metric::Rate, 0.0, 1.0);
        // Twice as good in a fast round and in a slow one; the third has no partner.
        ours.values = vec![Some(200.0), Some(2.0), Some(1.0), None];
        theirs.values = vec![Some(100.0), Some(1.0), None, Some(1.0)];
        let rows = [ours, theirs];
        let times = measure(Times(BuswaySockets), &rows[0], &rows);
        assert_eq!(times, Some(2.0));
        let other_part = [rows[0].clone(), Row { mode: "tails".into(), ..rows[1].clone() }];
        assert_eq!(measure(Times(BuswaySockets), &other_part[0], &other_part), None);
    }
}

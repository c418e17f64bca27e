//! Medians, spreads and ratios.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::samples::{Case, Metric, Samples};
use crate::systems::System;

/// One number of one system, over all rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) work: String,
    /// Bytes.
    pub(crate) payload: usize,
    /// Receivers; clients, publishers or subscriptions where there are many of those.
    pub(crate) receivers: usize,
    pub(crate) system: System,
    pub(crate) metric: Metric,
    pub(crate) median: f64,
    /// Half of what lies between the least and the greatest value, as a part of the median; nothing if there is but
    /// one value.
    pub(crate) spread: Option<f64>,
    /// How many times better than busrt, larger is better: the median of the ratios within each round. Nothing where
    /// busrt has no such number.
    pub(crate) ratio_to_busrt: Option<f64>,
    /// One for each round, in their order; nothing where it failed or there was no time for it.
    #[serde(default)]
    pub(crate) values: Vec<Option<f64>>,
    /// Messages that each value rests on, all receivers taken together; empty where there were none.
    #[serde(default)]
    pub(crate) messages: Vec<Option<u64>>,
    /// Rounds that it is from.
    pub(crate) rounds: usize,
    /// Which part of the program it is from.
    pub(crate) mode: String,
}

impl Row {
    /// The least and the greatest value.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        range(&self.values.iter().copied().flatten().collect::<Vec<_>>())
    }

    /// The median of what comes of its value and another row's in each round that has both.
    pub(crate) fn beside(&self, other: &Self, compare: impl Fn(f64, f64) -> Option<f64>) -> Option<f64> {
        let rounds = self.values.iter().zip(&other.values);
        median(&rounds.filter_map(|(value, other)| compare((*value)?, (*other)?)).collect::<Vec<_>>())
    }
}

/// The rows of a part of the program.
pub(crate) fn rows(samples: &Samples, mode: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = samples
        .values
        .iter()
        .filter_map(|((case, metric), by_round)| {
            let Case { work, payload, receivers, system } = case.clone();
            let values: Vec<f64> = by_round.values().copied().collect();
            let median = median(&values)?;
            Some(Row {
                work,
                payload,
                receivers,
                system,
                metric: *metric,
                median,
                spread: spread(&values, median),
                ratio_to_busrt: None,
                values: in_order(by_round, samples.rounds),
                messages: samples.messages.get(case).map_or(Vec::new(), |counts| in_order(counts, samples.rounds)),
                rounds: values.len(),
                mode: mode.to_owned(),
            })
        })
        .collect();
    for number in 0..rows.len() {
        let row = &rows[number];
        let theirs = rows.iter().find(|other| {
            other.system == System::Busrt
                && other.metric == row.metric
                && (&other.work, other.payload, other.receivers) == (&row.work, row.payload, row.receivers)
        });
        rows[number].ratio_to_busrt =
            theirs.and_then(|theirs| row.beside(theirs, |value, than| row.metric.times_better(value, than)));
    }
    rows
}

fn in_order<T: Copy>(by_round: &BTreeMap<u32, T>, rounds: u32) -> Vec<Option<T>> {
    (0..rounds).map(|round| by_round.get(&round).copied()).collect()
}

/// The one in the middle, or the mean of the two that are.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

fn range(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().reduce(f64::min)?;
    Some((least, values.iter().copied().fold(least, f64::max)))
}

fn spread(values: &[f64], median: f64) -> Option<f64> {
    let (least, greatest) = range(values)?;
    (values.len() > 1 && median > 0.0).then(|| (greatest - least) / 2.0 / median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Values;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn larger_is_better_in_every_row() {
        let mut samples = Samples::default();
        let busrt = Case { work: "throughput".into(), payload: 64, receivers: 1, system: System::Busrt };
        let ours = Case { system: System::BuswaySockets, ..busrt.clone() };
        for round in 0..3 {
            samples.add(round, &busrt, Metric::Rate, 100.0);
            samples.add(round, &ours, Metric::Rate, 200.0 + f64::from(round));
            samples.add(round, &busrt, Metric::BrokerCpu, 2.0);
            samples.add(round, &ours, Metric::BrokerCpu, 0.5);
        }
        let rows = rows(&samples, "compare");
        let ratio = |metric, system| {
            let row = rows.iter().find(|row| row.metric == metric && row.system == system);
            row.and_then(|row| row.ratio_to_busrt)
        };
        assert_eq!(ratio(Metric::Rate, System::BuswaySockets), Some(2.01));
        assert_eq!(ratio(Metric::BrokerCpu, System::BuswaySockets), Some(4.0));
        assert_eq!(ratio(Metric::Rate, System::Busrt), Some(1.0));
    }

    #[test]
    fn every_round_keeps_its_place() {
        let mut samples = Samples::default();
        let case = Case { work: "throughput".into(), payload: 64, receivers: 1, system: System::Busrt };
        let values = |rate| Values { numbers: vec![(Metric::Rate, rate)], messages: Some(16) };
        samples.take(0, &case, values(100.0));
        samples.begin(1);
        samples.take(2, &case, values(300.0));
        let rows = rows(&samples, "compare");
        assert_eq!(rows[0].values, [Some(100.0), None, Some(300.0)]);
        assert_eq!(rows[0].messages, [Some(16), None, Some(16)]);
        assert_eq!((rows[0].median, rows[0].spread, rows[0].range()), (200.0, Some(0.5), Some((100.0, 300.0))));
    }

    #[test]
    fn one_value_has_no_spread() {
        assert_eq!(spread(&[1.0], 1.0), None);
        assert_eq!(spread(&[1.0, 1.0], 1.0), Some(0.0));
    }
}

//! Medians, spreads and ratios.

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
    /// Half of what lies between the least and the greatest value, as a part of the median.
    pub(crate) spread: f64,
    /// How many times better than busrt, larger is better: the median of the ratios within each round. Nothing where
    /// busrt has no such number.
    pub(crate) ratio_to_busrt: Option<f64>,
    /// Rounds that it is from.
    pub(crate) rounds: usize,
    /// Which part of the program it is from.
    pub(crate) mode: String,
}

/// The rows of a part of the program.
pub(crate) fn rows(samples: &Samples, mode: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for ((case, metric), by_round) in &samples.values {
        let values: Vec<f64> = by_round.values().copied().collect();
        let Some(middle) = median(&values) else { continue };
        let theirs = samples.values.get(&(case.by(System::Busrt), *metric));
        let ratios: Vec<f64> =
            by_round.iter().filter_map(|(round, value)| metric.times_better(*value, *theirs?.get(round)?)).collect();
        let Case { work, payload, receivers, system } = case.clone();
        rows.push(Row {
            work,
            payload,
            receivers,
            system,
            metric: *metric,
            median: middle,
            spread: spread(&values, middle),
            ratio_to_busrt: median(&ratios),
            rounds: values.len(),
            mode: mode.to_owned(),
        });
    }
    rows
}

/// The one in the middle, or the mean of the two that are.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

fn spread(values: &[f64], median: f64) -> f64 {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if median > 0.0 { (greatest - least) / 2.0 / median } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let ours = busrt.by(System::BuswaySockets);
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
}

//! Every work with every system, in alternation.

use super::run::run;
use super::{Settings, attempt, shuffled, work};
use crate::report::{Case, Samples};

/// Fills in the samples; `after_round` is called with what is there so far.
pub(crate) fn compare(settings: &Settings, mut after_round: impl FnMut(&Samples)) -> Samples {
    let mut samples = Samples::default();
    let works = work::all();
    for round in 0..settings.rounds {
        for (position, work) in works.iter().enumerate() {
            if !settings.wants_work(work) {
                continue;
            }
            for system in shuffled(&settings.systems, round, position) {
                if !work.suits(system) || settings.quick && !work.is_quick(system) {
                    continue;
                }
                let case = Case::of(work, system);
                attempt(settings, &mut samples, round, &case, || run(settings, work, system));
            }
        }
        if settings.is_over() {
            break;
        }
        after_round(&samples);
    }
    samples
}

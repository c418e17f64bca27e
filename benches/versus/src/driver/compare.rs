//! Every work with every system, in alternation.

use super::run::run;
use super::{Attempt, Settings, attempt, rotated, work};
use crate::report::{Case, Samples};

/// Fills in the samples; `after_round` is called with what is there so far.
pub(crate) fn compare(settings: &Settings, mut after_round: impl FnMut(&Samples)) -> Samples {
    let mut samples = Samples::default();
    let works = work::all();
    for round in 0..settings.rounds {
        for (position, work) in (0..).zip(&works) {
            if !settings.wants_work(work) {
                continue;
            }
            for system in rotated(&settings.systems, round + position) {
                if !work.suits(system) || settings.quick && !work.is_quick(system) {
                    continue;
                }
                if settings.is_over() {
                    eprintln!("versus: time is up in round {}", round + 1);
                    return samples;
                }
                let case = Case::of(work, system);
                attempt(&mut samples, &Attempt { round, case }, || {
                    run(&settings.programs, work, system, settings.seconds)
                });
            }
        }
        after_round(&samples);
    }
    samples
}

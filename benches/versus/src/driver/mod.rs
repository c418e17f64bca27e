//! Starts processes, lets them work, and collects what they measured.

mod affinity;
mod broker;
mod cast;
mod compare;
mod folder;
mod order;
mod run;
mod scale;
mod system_calls;
mod tails;
mod usage;
mod watch;
mod work;

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) use broker::Programs;
pub(crate) use compare::compare;
pub(crate) use run::Values;
pub(crate) use scale::scale;
pub(crate) use system_calls::system_calls;
pub(crate) use tails::tails;
pub(crate) use work::{KIB, MIB, RECEIVERS, Work};

use order::shuffled;

use crate::failure::Result;
use crate::report::{Case, Samples};
use crate::systems::System;

/// How to measure.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) programs: Programs,
    pub(crate) systems: Vec<System>,
    /// Works whose name contains this; all if it is empty.
    pub(crate) only: String,
    /// Lengths of payloads; all if it is empty.
    pub(crate) payloads: Vec<usize>,
    /// Numbers of receivers; all if it is empty.
    pub(crate) receivers: Vec<usize>,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) quick: bool,
    /// Seconds for which nobody stands still who is not stuck.
    pub(crate) patience: f64,
    /// When no more is begun.
    pub(crate) deadline: Option<Instant>,
}

impl Settings {
    /// The systems that speak BUS/RT or are Busway's.
    fn buses(&self) -> Vec<System> {
        self.systems.iter().copied().filter(|system| system.is_bus()).collect()
    }

    /// The longest that a step of a run may take, such as measuring, unless something is stuck.
    fn patience_with_a_step(&self) -> Duration {
        const STEPS: f64 = 3.0;
        Duration::from_secs_f64(self.patience * STEPS + (self.seconds * 10.0).max(5.0))
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() > deadline)
    }

    fn wants(&self, work: &str) -> bool {
        work.contains(&self.only)
    }

    fn wants_work(&self, work: &Work) -> bool {
        let holds = |list: &[usize], value| list.is_empty() || list.contains(&value);
        self.wants(work.name) && holds(&self.payloads, work.payload) && holds(&self.receivers, work.receivers)
    }
}

/// Thousands of clients need more descriptors than most systems give at first; processes inherit the limit.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("versus: the limit of {:?} descriptors stays: {error}", limit.current);
    }
}

/// Runs a thing once, and once more if it failed; what fails twice is told, and leaves a gap. So does what there is no
/// time for.
fn attempt(
    settings: &Settings,
    samples: &mut Samples,
    round: u32,
    case: &Case,
    mut run: impl FnMut() -> Result<Values>,
) {
    samples.begin(round);
    if settings.is_over() {
        samples.leave_out(case);
        return;
    }
    for (again, is_last) in [("", false), (", again", true)] {
        eprintln!("round {}: {case}{again}", round + 1);
        match run() {
            Ok(values) => {
                samples.take(round, case, values);
                return;
            }
            Err(error) => {
                eprintln!("versus: a run is thrown away: {case}: {error}");
                let is_last = is_last || settings.is_over();
                samples.discard(format!("round {}, {case}: {error}", round + 1));
                samples.has_failed |= is_last;
                if is_last {
                    return;
                }
            }
        }
    }
}

/// Time for what has been told to go on by itself.
fn nap(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

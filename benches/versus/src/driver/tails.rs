//! How old small messages are when they arrive, while others keep the broker busy.

use super::cast::Cast;
use super::run::{Play, Stage, Values};
use super::work::{MIB, STREAM, Work};
use super::{Attempt, Settings, attempt, nap, rotated};
use crate::control::READY;
use crate::failure::Result;
use crate::plan::{Plan, Quality, Role};
use crate::report::{Case, Metric, Samples};
use crate::systems::System;

/// What goes on beside the small messages.
#[derive(Clone, Copy, Debug)]
enum Beside {
    Nothing,
    Large,
    Chatter,
}

const CASES: [(&str, Beside); 3] = [
    ("tail_quiet", Beside::Nothing),
    ("tail_beside_16_mib", Beside::Large),
    ("tail_beside_200_clients", Beside::Chatter),
];

const LARGE: usize = 16 * MIB;
const CHATTERING: usize = 200;
/// Messages a second of each client that chatters.
const CHATTER_RATE: u32 = 100;
/// Longer than anything is measured: what goes on beside is ended by the driver.
const FOR_EVER: f64 = 1e6;
/// Until what goes on beside is under way.
const UNDER_WAY: f64 = 0.3;

pub(crate) fn tails(settings: &Settings) -> Samples {
    let mut samples = Samples::default();
    for round in 0..settings.rounds {
        for (name, beside) in CASES {
            if !settings.wants(name) {
                continue;
            }
            for system in rotated(&settings.buses(), round) {
                let work = small(name);
                let case = Case::of(&work, system);
                attempt(&mut samples, &Attempt { round, case }, || run(settings, &work, system, beside));
            }
        }
    }
    samples
}

/// 64 B messages at 1 kHz, sent at once.
fn small(name: &'static str) -> Work {
    Work { name, quality: Quality::Realtime, rate: Some(1000), ..STREAM }
}

fn run(settings: &Settings, work: &Work, system: System, beside: Beside) -> Result<Values> {
    let mut stage = Stage::new(&settings.programs, system)?;
    let mut noise = Cast::new();
    let plan = stage.plan(work, Role::Publisher, settings.seconds);
    match beside {
        Beside::Nothing => {}
        Beside::Large => {
            let topic = "large".to_owned();
            // Who moves pictures writes and reads them, whatever carries them.
            let stream = Plan { topic, payload: LARGE, rate: None, quality: Quality::No, ..plan.clone() };
            let large = Plan { touched: true, ..stream };
            // The time that it may warm up is part of the time that it runs.
            let play = Play::stream(&Plan { seconds: FOR_EVER, ..large }, &mut noise)?;
            play.begin(&mut noise)?;
        }
        Beside::Chatter => {
            let topic = "chatter".to_owned();
            let rate = Some(CHATTER_RATE);
            let chatter = Plan { topic, rate, role: Role::Chatter, clients: CHATTERING, ..plan.clone() };
            let player = noise.start(&chatter)?;
            noise.wait_for(player, READY)?;
        }
    }
    nap(UNDER_WAY);
    let mut cast = Cast::new();
    let mut play = Play::stream(&Plan { timed: true, ..plan }, &mut cast)?;
    play.perform(&mut cast)?;
    stage.broker.check()?;
    noise.check()?;
    cast.finish()?;
    // The rate is given, not measured.
    Ok(play.values().into_iter().filter(|(metric, _)| *metric != Metric::Rate).collect())
}

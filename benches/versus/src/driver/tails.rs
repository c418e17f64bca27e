//! How old small messages are when they arrive, while others keep the broker busy.

use super::cast::{Cast, Player};
use super::run::{LEAST_TIMED, Play, Stage, Values};
use super::work::{MIB, STREAM, Work};
use super::{Settings, attempt, nap, shuffled};
use crate::clock;
use crate::control::READY;
use crate::failure::Result;
use crate::plan::{Plan, Quality, Role};
use crate::report::{Case, Metric, Samples};
use crate::roles::Outcome;
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
/// Until what goes on beside is under way.
const UNDER_WAY: f64 = 0.3;

pub(crate) fn tails(settings: &Settings) -> Samples {
    let mut samples = Samples::default();
    for round in 0..settings.rounds {
        for (position, (name, beside)) in CASES.into_iter().enumerate() {
            if !settings.wants(name) {
                continue;
            }
            for system in shuffled(&settings.buses(), round, position) {
                let work = small(name);
                let case = Case::of(&work, system);
                attempt(settings, &mut samples, round, &case, || run(settings, &work, system, beside));
            }
        }
        if settings.is_over() {
            break;
        }
    }
    samples
}

/// 64 B messages at 1 kHz, sent at once.
fn small(name: &'static str) -> Work {
    Work { name, quality: Quality::Realtime, rate: Some(1000), ..STREAM }
}

fn run(settings: &Settings, work: &Work, system: System, beside: Beside) -> Result<Values> {
    let mut stage = Stage::new(settings, system)?;
    let plan = stage.plan(settings, work, Role::Publisher);
    let mut noise = Noise::begin(settings, &plan, beside)?;
    nap(UNDER_WAY);
    let mut cast = Cast::new(settings);
    let mut play = Play::stream(&Plan { timed: true, least: LEAST_TIMED, ..plan }, &mut cast)?;
    let before = noise.count()?;
    play.perform(&mut cast)?;
    let after = noise.count()?;
    stage.broker.check()?;
    noise.cast.check()?;
    cast.finish()?;
    let mut values = play.values();
    if let (Some(before), Some(after)) = (before, after) {
        let arrived = after.messages - before.messages;
        if arrived == 0 {
            return Err("what was to go on beside the small messages stood still".into());
        }
        values.numbers.push((Metric::BesideRate, arrived as f64 / clock::seconds(before.end, after.end)));
    }
    Ok(values)
}

/// What goes on beside the small messages, until it is dropped.
#[derive(Debug)]
struct Noise {
    cast: Cast,
    /// Who knows how far it is, if there is anything.
    teller: Option<Player>,
}

impl Noise {
    /// Returns when it is under way. `plan`: that of the small messages.
    fn begin(settings: &Settings, plan: &Plan, beside: Beside) -> Result<Self> {
        let mut cast = Cast::new(settings);
        let plan = Plan { background: true, ..plan.clone() };
        let teller = match beside {
            Beside::Nothing => None,
            Beside::Large => {
                let topic = "large".to_owned();
                // Who moves pictures writes and reads them, whatever carries them.
                let large = Plan { topic, payload: LARGE, touched: true, rate: None, quality: Quality::No, ..plan };
                let play = Play::stream(&large, &mut cast)?;
                play.begin(&mut cast)?;
                Some(play.lead())
            }
            Beside::Chatter => {
                let (topic, rate) = ("chatter".to_owned(), Some(CHATTER_RATE));
                let player = cast.start(&Plan { topic, rate, role: Role::Chatter, clients: CHATTERING, ..plan })?;
                cast.wait_for(player, READY)?;
                Some(player)
            }
        };
        Ok(Self { cast, teller })
    }

    /// How many of its messages have arrived, and when that was so.
    fn count(&mut self) -> Result<Option<Outcome>> {
        self.teller.map(|teller| self.cast.count(teller)).transpose()
    }
}

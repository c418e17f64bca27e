//! The command line.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};

use crate::driver::{Programs, Settings};
use crate::systems::System;

/// Measure Busway beside busrt and other buses: the same work, in separate processes, in alternation.
///
/// Prints a table with ratios to busrt (larger is better in every row) and the targets, writes
/// target/versus/versus.json and plots beside it. Without a command: throughput, broker CPU, memory and round trips.
/// Rivals other than busrt take part once tools/install-rivals has built them.
#[derive(Debug, Parser)]
#[command(name = "tools/versus.sh", args_conflicts_with_subcommands = false)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Fewer works and shorter runs: over within three minutes, whatever the command, too noisy to publish; says what
    /// it had no time for, and writes to FOLDER/partial
    #[arg(long, global = true)]
    pub(crate) quick: bool,

    /// Rounds; every round runs everything once, on fresh brokers [default: 7, with tails and system-calls 5, with
    /// scale 3; quick: as far as there is time, tails and system-calls 3, scale 1]
    #[arg(long, global = true, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Seconds that are measured in each run [default: 1; tails: 11; quick: 0.15, tails: 1.5, scale: 0.3];
    /// longer if there were too few messages by then
    #[arg(long, global = true, value_parser = seconds)]
    seconds: Option<f64>,

    /// Systems to measure, separated by commas [default: all that were built in and whose broker is there]; this and
    /// the next three write to FOLDER/partial, and report reads what is there when it is given any of them
    #[arg(long, global = true, value_delimiter = ',')]
    systems: Vec<System>,

    /// Only works whose name contains this, such as round_trip
    #[arg(long, global = true, default_value = "", hide_default_value = true)]
    only: String,

    /// Only payloads of these lengths in bytes, separated by commas [default: all; compare and system-calls]
    #[arg(long, global = true, value_delimiter = ',', value_name = "BYTES")]
    payloads: Vec<usize>,

    /// Only works with so many receivers, separated by commas [default: all; compare and system-calls]
    #[arg(long, global = true, value_delimiter = ',', value_name = "COUNT")]
    receivers: Vec<usize>,

    /// Our broker [default: release/buswayd in Cargo's target folder]
    #[arg(long, global = true, value_name = "PATH")]
    buswayd: Option<PathBuf>,

    /// The reference broker [default: reference/bin/busrtd in Cargo's target folder]
    #[arg(long, global = true, value_name = "PATH")]
    busrtd: Option<PathBuf>,

    /// The broker of NATS
    #[arg(long, global = true, value_name = "PATH", default_value = "/usr/sbin/nats-server")]
    nats_server: PathBuf,

    /// Where versus.json and the plots go; in its folder `partial`, those of quick runs, and of runs with some systems,
    /// works, payloads or receivers only, which never replace anything of a whole one
    #[arg(long, global = true, value_name = "FOLDER", default_value = "target/versus")]
    output: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Throughput, broker CPU for each message, peak memory, round trips (the default)
    Compare,
    /// Small messages while others send 16 MiB payloads, or while 200 clients chatter
    Tails,
    /// Up to 10,000 idle clients, 500 receivers, 100 publishers, 1,000,000 subscriptions
    Scale,
    /// System calls of the broker for each message, with strace
    SystemCalls,
    /// All of these, one after the other
    All,
    /// Print what was measured last, and the targets; draw the plots again
    Report,
    /// What a process of a run does; the driver calls this
    #[command(hide = true)]
    Role {
        /// The plan, as JSON
        plan: String,
    },
}

/// Less than the three minutes that a quick run may take: the last one begun has to end, too.
const QUICK_TIME: Duration = Duration::from_secs(155);
/// Seconds for which nobody stands still who is not stuck.
const PATIENCE: f64 = 20.0;
const QUICK_PATIENCE: f64 = 4.0;

impl Options {
    /// How a part is measured.
    ///
    /// `started`: when the program was; a quick run ends in time, whatever it was asked for.
    pub(crate) fn settings(&self, command: &Command, started: Instant) -> Settings {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        let program = |given: &Option<PathBuf>, default: &str| given.clone().unwrap_or_else(|| target.join(default));
        let programs = Programs {
            buswayd: program(&self.buswayd, "release/buswayd"),
            busrtd: program(&self.busrtd, "reference/bin/busrtd"),
            nats_server: self.nats_server.clone(),
        };
        let (rounds, seconds) = match (command, self.quick) {
            (Command::Scale, false) => (3, 1.0),
            (Command::Scale, true) => (1, 0.3),
            (Command::Tails, false) => (5, 11.0),
            (Command::Tails, true) => (3, 1.5),
            (Command::SystemCalls, false) => (5, 1.0),
            (Command::SystemCalls, true) => (3, 0.15),
            (_, false) => (7, 1.0),
            (_, true) => (7, 0.15),
        };
        Settings {
            systems: self.systems(&programs),
            programs,
            only: self.only.clone(),
            payloads: self.payloads.clone(),
            receivers: self.receivers.clone(),
            rounds: self.rounds.unwrap_or(rounds),
            seconds: self.seconds.unwrap_or(seconds),
            quick: self.quick,
            patience: if self.quick { QUICK_PATIENCE } else { PATIENCE },
            deadline: self.quick.then(|| started + QUICK_TIME.mul_f64(self.share(command))),
        }
    }

    /// Where it is written to: what is not whole does not replace what is.
    pub(crate) fn folder(&self) -> PathBuf {
        let is_whole = self.only.is_empty()
            && self.systems.is_empty()
            && self.payloads.is_empty()
            && self.receivers.is_empty()
            && !self.quick;
        if is_whole { self.output.clone() } else { self.output.join("partial") }
    }

    /// By which part of the time a quick run must be done with a part of the program.
    fn share(&self, part: &Command) -> f64 {
        match (&self.command, part) {
            (Some(Command::All), Command::Compare) => 0.4,
            (Some(Command::All), Command::Tails) => 0.65,
            (Some(Command::All), Command::Scale) => 0.9,
            _ => 1.0,
        }
    }

    /// Those asked for, or all that there are; says which are left out and why.
    fn systems(&self, programs: &Programs) -> Vec<System> {
        let mut systems = Vec::new();
        for system in System::ALL {
            if !self.systems.is_empty() && !self.systems.contains(&system) {
                continue;
            }
            if !system.is_built_in() {
                eprintln!("versus: {system} is left out: this program was built without it");
            } else if !programs.has(system) {
                eprintln!(
                    "versus: {system} is left out: its broker is not there; see --help for where it is looked for"
                );
            } else {
                systems.push(system);
            }
        }
        systems
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be a number between 0.01 and 3600".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }
}

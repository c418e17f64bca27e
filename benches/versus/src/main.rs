//! Busway beside busrt and other buses, end to end: the same work, in separate processes, in alternation.
//!
//! This program is the driver and, called again by itself, every process of a run. `tools/versus.sh` builds all that
//! it needs and calls it.

#![forbid(unsafe_code)]

mod clock;
mod control;
mod credit;
mod driver;
mod failure;
mod options;
mod plan;
mod report;
mod roles;
mod stamp;
mod systems;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use driver::Settings;
use failure::{Context, Result};
use options::{Command, Options};
use report::{Record, RunInfo, Samples};

/// When a target is missed; a failure is 1.
const MISSED: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(MISSED),
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every target that was measured is reached.
fn run(options: &Options) -> Result<bool> {
    let started = Instant::now();
    match options.command.clone().unwrap_or(Command::Compare) {
        Command::Role { plan } => {
            let plan = serde_json::from_str(&plan).context(|| "the plan cannot be read".into())?;
            roles::run(&plan).map(|()| true)
        }
        Command::Report => report(options, &["compare", "tails", "scale", "system_calls"]),
        Command::All => measure_all(options, started),
        part => {
            let part = measure(options, &part, started)?;
            report(options, &Vec::from_iter(part))
        }
    }
}

/// What one part cannot do is no reason not to show what the others did.
fn measure_all(options: &Options, started: Instant) -> Result<bool> {
    let mut measured = Vec::new();
    let mut failures = Vec::new();
    for part in [Command::Compare, Command::Tails, Command::Scale, Command::SystemCalls] {
        match measure(options, &part, started) {
            // What was asked for may be in some of them alone.
            Ok(name) => measured.extend(name),
            Err(error) => failures.push(error.to_string()),
        }
    }
    if measured.is_empty() && !failures.is_empty() {
        return Err(failures.join("; ").into());
    }
    let reported = report(options, &measured);
    match (failures.is_empty(), reported) {
        (true, reported) => reported,
        (false, reported) => {
            failures.extend(reported.err().map(|error| error.to_string()));
            Err(failures.join("; ").into())
        }
    }
}

/// Measures a part and writes it down; its name, or nothing when nothing of it was asked for.
fn measure(options: &Options, part: &Command, started: Instant) -> Result<Option<&'static str>> {
    driver::raise_descriptor_limit();
    let settings = options.settings(part, started);
    let info = RunInfo::new(&settings);
    let folder = options.folder();
    // What cannot be kept is found out before it is measured.
    Record::read(&folder)?.write(&folder)?;
    let keep = |name: &'static str, samples: &Samples| -> Result<Option<&'static str>> {
        if samples.is_empty() {
            return Ok(None);
        }
        let mut record = Record::read(&folder)?;
        record.replace(name, samples, &info);
        record.write(&folder)?;
        Ok(Some(name))
    };
    match part {
        Command::Tails => keep("tails", &driver::tails(&settings)),
        Command::Scale => keep("scale", &driver::scale(&settings)),
        Command::SystemCalls => keep("system_calls", &driver::system_calls(&settings)?),
        _ => compare(&settings, keep),
    }
}

fn compare(
    settings: &Settings,
    keep: impl Fn(&'static str, &Samples) -> Result<Option<&'static str>>,
) -> Result<Option<&'static str>> {
    let name = "compare";
    let samples = driver::compare(settings, |so_far| {
        // Half an hour should not be lost for an interrupt.
        if let Err(error) = keep(name, so_far) {
            eprintln!("versus: {error}");
        }
    });
    keep(name, &samples)
}

fn report(options: &Options, parts: &[&'static str]) -> Result<bool> {
    if parts.is_empty() {
        return Err("nothing was measured: no work of that name, or none of the systems is in this build".into());
    }
    let folder = options.folder();
    let record = Record::read(&folder)?;
    record.print(parts)?;
    let all_reached = record.print_targets()?;
    for file in record.plot(&folder)? {
        eprintln!("versus: drew {}", file.display());
    }
    match parts.iter().find(|part| record.has_failed(part)) {
        Some(part) => Err(format!("{part}: something failed twice and is missing, see above").into()),
        None => Ok(all_reached),
    }
}

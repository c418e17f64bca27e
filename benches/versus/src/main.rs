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
    match options.command.clone().unwrap_or(Command::Compare) {
        Command::Role { plan } => {
            let plan = serde_json::from_str(&plan).context(|| "the plan cannot be read".into())?;
            roles::run(&plan).map(|()| true)
        }
        Command::Report => {
            let names = ["compare", "tails", "scale", "system_calls"];
            report(options, &names.map(|name| Part { name, has_failed: false }))
        }
        Command::All => {
            let parts = [Command::Compare, Command::Tails, Command::Scale, Command::SystemCalls];
            let parts = parts.iter().map(|part| measure(options, part)).collect::<Result<Vec<_>>>()?;
            // What was asked for may be in some of them alone.
            report(options, &parts.into_iter().flatten().collect::<Vec<_>>())
        }
        part => {
            let part = measure(options, &part)?;
            report(options, &Vec::from_iter(part))
        }
    }
}

/// What was measured.
#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    /// Something is missing: it failed twice.
    has_failed: bool,
}

/// Measures a part and writes it down; `None` when nothing of it was asked for.
fn measure(options: &Options, part: &Command) -> Result<Option<Part>> {
    driver::raise_descriptor_limit();
    let settings = options.settings(part);
    let info = RunInfo::new(&settings);
    // What cannot be kept is found out before it is measured.
    Record::read(&options.output)?.write(&options.output)?;
    let keep = |name: &'static str, samples: &Samples| -> Result<Option<Part>> {
        if samples.values.is_empty() && !samples.has_failed {
            return Ok(None);
        }
        let mut record = Record::read(&options.output)?;
        record.replace(name, samples, &info);
        record.write(&options.output)?;
        Ok(Some(Part { name, has_failed: samples.has_failed }))
    };
    match part {
        Command::Tails => keep("tails", &driver::tails(&settings)),
        Command::Scale => keep("scale", &driver::scale(&settings)),
        Command::SystemCalls => keep("system_calls", &driver::system_calls(&settings)?),
        _ => compare(&settings, keep),
    }
}

fn compare(settings: &Settings, keep: impl Fn(&'static str, &Samples) -> Result<Option<Part>>) -> Result<Option<Part>> {
    let name = "compare";
    let samples = driver::compare(settings, |so_far| {
        // Half an hour should not be lost for an interrupt.
        if let Err(error) = keep(name, so_far) {
            eprintln!("versus: {error}");
        }
    });
    keep(name, &samples)
}

fn report(options: &Options, parts: &[Part]) -> Result<bool> {
    if parts.is_empty() {
        return Err("nothing was measured: no work of that name, or none of the systems is in this build".into());
    }
    let record = Record::read(&options.output)?;
    record.print(&parts.iter().map(|part| part.name).collect::<Vec<_>>())?;
    let all_reached = record.print_targets()?;
    for file in record.plot(&options.output)? {
        eprintln!("versus: drew {}", file.display());
    }
    match parts.iter().find(|part| part.has_failed) {
        Some(part) => Err(format!("{}: something failed twice and is missing, see above", part.name).into()),
        None => Ok(all_reached),
    }
}

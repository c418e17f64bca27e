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
        Command::Report => report(options, &["compare", "tails", "scale", "system_calls"]),
        Command::All => {
            let parts = [Command::Compare, Command::Tails, Command::Scale, Command::SystemCalls];
            let names = parts.iter().map(|part| measure(options, part)).collect::<Result<Vec<_>>>()?;
            report(options, &names)
        }
        part => {
            let name = measure(options, &part)?;
            report(options, &[name])
        }
    }
}

/// Measures a part and writes it down; returns its name.
fn measure(options: &Options, part: &Command) -> Result<&'static str> {
    driver::raise_descriptor_limit();
    let settings = options.settings(part);
    let info = RunInfo::new(&settings);
    let keep = |name: &'static str, samples: &Samples| -> Result<&'static str> {
        let mut record = Record::read(&options.output)?;
        record.replace(name, samples, &info);
        record.write(&options.output)?;
        Ok(name)
    };
    match part {
        Command::Tails => keep("tails", &driver::tails(&settings)),
        Command::Scale => keep("scale", &driver::scale(&settings)),
        Command::SystemCalls => keep("system_calls", &driver::system_calls(&settings)?),
        _ => compare(&settings, keep),
    }
}

fn compare(settings: &Settings, keep: impl Fn(&'static str, &Samples) -> Result<&'static str>) -> Result<&'static str> {
    let name = "compare";
    let samples = driver::compare(settings, |so_far| {
        // Half an hour should not be lost for an interrupt.
        if let Err(error) = keep(name, so_far) {
            eprintln!("versus: {error}");
        }
    });
    keep(name, &samples)
}

fn report(options: &Options, names: &[&str]) -> Result<bool> {
    let record = Record::read(&options.output)?;
    record.print(names)?;
    let all_reached = record.print_targets()?;
    for file in record.plot(&options.output)? {
        eprintln!("versus: drew {}", file.display());
    }
    Ok(all_reached)
}

//! System calls of the broker for each message that it delivers, counted by strace.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::cast::Cast;
use super::run::{Play, Stage, Values};
use super::work::{self, Shape, Work};
use super::{Settings, attempt, shuffled};
use crate::failure::{Context, Result};
use crate::plan::Role;
use crate::report::{Case, Metric, Samples};
use crate::systems::System;

/// Counts under strace, which slows everything: no other number of these runs means anything.
///
/// # Errors
/// When there is no strace.
pub(crate) fn system_calls(settings: &Settings) -> Result<Samples> {
    let version = Command::new("strace").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.context(|| "strace cannot be run; install it (Debian: apt-get install strace)".into())?;
    let mut samples = Samples::default();
    for round in 0..settings.rounds {
        for (position, work) in work::system_calls().into_iter().enumerate() {
            if !settings.wants_work(&work) {
                continue;
            }
            for system in shuffled(&settings.systems, round, position) {
                if system.broker().is_some() && work.suits(system) {
                    let case = Case::of(&work, system);
                    attempt(settings, &mut samples, round, &case, || run(settings, &work, system));
                }
            }
        }
        if settings.is_over() {
            break;
        }
    }
    Ok(samples)
}

fn run(settings: &Settings, work: &Work, system: System) -> Result<Values> {
    let mut stage = Stage::new(settings, system)?;
    let mut cast = Cast::new(settings);
    let mut play = match work.shape {
        Shape::Stream => Play::stream(&stage.plan(settings, work, Role::Publisher), &mut cast)?,
        Shape::RoundTrip => Play::round_trip(&stage.plan(settings, work, Role::Ping), &mut cast)?,
    };
    let pid = stage.broker.pid().ok_or("there is no broker to count the system calls of")?;
    let trace = Trace::attach(pid, stage.folder.join("strace.txt"))?;
    play.perform(&mut cast)?;
    let calls = trace.finish()?;
    stage.broker.check()?;
    cast.finish()?;
    let numbers = vec![(Metric::SystemCalls, calls / play.delivered())];
    Ok(Values { numbers, messages: play.values().messages })
}

/// Yama, where a kernel has it, lets nobody but root trace what it has not started itself.
const ADVICE: &str = "if it is not permitted, run this as root, or allow it with sysctl kernel.yama.ptrace_scope=0";

/// A running strace.
#[derive(Debug)]
struct Trace {
    child: Child,
    summary: PathBuf,
}

impl Trace {
    /// Returns when it counts.
    fn attach(pid: u32, summary: PathBuf) -> Result<Self> {
        let mut child = Command::new("strace")
            .args(["-c", "-f", "-p", &pid.to_string(), "-o"])
            .arg(&summary)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context(|| "cannot start strace".into())?;
        let mut said = String::new();
        if let Some(output) = child.stderr.as_mut() {
            BufReader::new(output).read_line(&mut said)?;
        }
        let trace = Self { child, summary };
        if said.contains("attached") {
            Ok(trace)
        } else {
            let said = said.trim();
            Err(format!("strace does not attach: {said}; {ADVICE}").into())
        }
    }

    /// Lets go of the process; returns how many calls it has made.
    fn finish(mut self) -> Result<f64> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).ok_or("strace has no number")?;
        kill_process(pid, Signal::INT)?;
        self.child.wait()?;
        total(&fs::read_to_string(&self.summary)?).ok_or_else(|| "strace's summary has no total".into())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `% time, seconds, usecs/call, calls, errors (or nothing), total`
fn total(summary: &str) -> Option<f64> {
    let line = summary.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_summary_is_found() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
                       ------ ----------- ----------- --------- --------- ----------------\n \
                       60.00    0.000300           3       100        10 recvfrom\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                       100.00    0.000500           3       160        10 total\n";
        assert_eq!(total(summary), Some(160.0));
        assert_eq!(total(""), None);
    }
}

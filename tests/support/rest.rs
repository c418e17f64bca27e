//! Whether a process sleeps while there is nothing to do.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, thread};

use super::eventually;

/// Far more sleeps, or ticks of the clock, than a second has in which nothing happens; polling and spinning pass it.
pub(crate) const LITTLE: u64 = 5;

/// What the threads of a process have done so far: how often they went to sleep, and for how many ticks they ran.
pub(crate) fn activity(process: u32) -> (u64, u64) {
    let process = format!("/proc/{process}");
    let tasks = fs::read_dir(format!("{process}/task")).expect("the process is there");
    let sleeps = |task: PathBuf| -> u64 {
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    };
    let stat = fs::read_to_string(format!("{process}/stat")).expect("the process is there");
    let fields = stat.rsplit(')').next().expect("the name comes first").split_whitespace();
    let ticks = fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number of ticks")).sum();
    (tasks.flatten().map(|task| sleeps(task.path())).sum(), ticks)
}

/// A process that has something to do to the end does it; then there is a second in which it sleeps.
pub(crate) fn expect_rest(process: u32, when: &str) {
    eventually(&format!("rest {when}"), || {
        let (sleeps, ticks) = activity(process);
        thread::sleep(Duration::from_secs(1));
        let (sleeps_later, ticks_later) = activity(process);
        // A thread that has ended takes what it has done with it.
        let is_little = |later: u64, before: u64| later.checked_sub(before).is_some_and(|more| more < LITTLE);
        is_little(sleeps_later, sleeps) && is_little(ticks_later, ticks)
    });
}

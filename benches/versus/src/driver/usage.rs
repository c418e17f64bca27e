//! What a process uses, as the kernel counts it.

use std::fs;

use crate::failure::{Context, Result};

/// CPU time of a process so far, in seconds, from two counters.
///
/// The scheduler's is exact, but kept by thread: threads that have ended are lost, and some kernels do not keep it. The
/// process's own has them all, but counts in ticks. So the first, unless the second shows that threads have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuTime {
    /// Nothing where the kernel does not keep it.
    threads: Option<f64>,
    ticks: f64,
}

impl CpuTime {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = read(pid, "stat")?;
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |number: usize| {
            let field = fields.get(number).ok_or_else(|| format!("/proc/{pid}/stat has no field {}", number + 3));
            first_number(field?)
        };
        let ticks = (field(11)? + field(12)?) / rustix::param::clock_ticks_per_second() as f64;
        Ok(Self { threads: of_threads(pid)?, ticks })
    }

    /// Seconds since an earlier look.
    ///
    /// # Errors
    /// When the earlier look shows more: it was at another process.
    pub(crate) fn since(self, earlier: Self) -> Result<f64> {
        let ticks = self.ticks - earlier.ticks;
        if ticks < 0.0 {
            return Err(format!("the CPU time of a process went back by {} s", -ticks).into());
        }
        let threads = self.threads.zip(earlier.threads).map(|(now, before)| now - before);
        // What threads have used that ended meanwhile is missing; the sum may even be smaller than it was.
        let are_all_there = |threads: &f64| *threads >= 0.0 && ticks <= threads * 1.02 + 0.05;
        Ok(threads.filter(are_all_there).unwrap_or(ticks))
    }
}

/// What the scheduler has counted for the threads that a process has now.
fn of_threads(pid: u32) -> Result<Option<f64>> {
    let tasks = format!("/proc/{pid}/task");
    let mut nanoseconds = 0.0;
    for task in fs::read_dir(&tasks).context(|| format!("cannot list {tasks}"))? {
        let task = task?.path();
        match fs::read_to_string(task.join("schedstat")) {
            Ok(line) => nanoseconds += first_number(&line)?,
            // It may have ended since it was listed; one that has not has no such file on this machine.
            Err(_) if !task.join("stat").exists() => {}
            Err(_) => return Ok(None),
        }
    }
    // A process that runs has used something, unless nobody counts.
    Ok((nanoseconds > 0.0).then_some(nanoseconds / 1e9))
}

/// The most memory that a process has held so far, in MiB.
pub(crate) fn peak_rss(pid: u32) -> Result<f64> {
    Ok(status(pid, "VmHWM:")? / 1024.0)
}

/// The memory that a process holds, in KiB.
pub(crate) fn rss(pid: u32) -> Result<f64> {
    status(pid, "VmRSS:")
}

fn status(pid: u32, name: &str) -> Result<f64> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    first_number(line.ok_or_else(|| format!("/proc/{pid}/status has no line {name}"))?)
}

fn read(pid: u32, name: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).context(|| format!("cannot read {path}"))
}

fn first_number(text: &str) -> Result<f64> {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().context(|| format!("the kernel says {word:?} where a number should be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let pid = std::process::id();
        let before = CpuTime::of(pid).unwrap();
        let mut sum = 0_u64;
        for number in 0..20_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(number));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(CpuTime::of(pid).unwrap().since(before).unwrap() > 0.0);
        assert!(peak_rss(pid).unwrap() > 1.0);
        assert!(rss(pid).unwrap() > 1024.0);
    }

    #[test]
    fn threads_that_have_ended_are_counted_by_ticks() {
        let before = CpuTime { threads: Some(5.0), ticks: 5.0 };
        let since = |threads, ticks| CpuTime { threads, ticks }.since(before);
        assert_eq!(since(Some(5.5), 5.51).unwrap(), 0.5);
        assert_eq!(since(Some(5.1), 6.0).unwrap(), 1.0);
        assert_eq!(since(Some(4.0), 5.25).unwrap(), 0.25);
        assert_eq!(since(None, 6.0).unwrap(), 1.0);
        assert!(since(Some(6.0), 4.0).is_err());
    }
}

//! What a process uses, as the kernel counts it.

use std::fs;

use crate::failure::{Context, Result};

/// CPU time of a process so far, in seconds, from two counters.
///
/// The scheduler's is exact, but kept by thread: threads that have ended are lost. The process's own has them all, but
/// counts in ticks. So the first, unless the second shows that threads have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuTime {
    threads: f64,
    ticks: f64,
}

impl CpuTime {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut threads = 0.0;
        let tasks = format!("/proc/{pid}/task");
        for task in fs::read_dir(&tasks).context(|| format!("cannot list {tasks}"))? {
            // A thread may have ended since it was listed.
            let Ok(line) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            threads += first_number(&line) / 1e9;
        }
        let stat = read(pid, "stat")?;
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |number: usize| fields.get(number).copied().map_or(0.0, first_number);
        let ticks = (field(11) + field(12)) / rustix::param::clock_ticks_per_second() as f64;
        Ok(Self { threads, ticks })
    }

    /// Seconds since an earlier look.
    pub(crate) fn since(self, earlier: Self) -> f64 {
        let (threads, ticks) = (self.threads - earlier.threads, self.ticks - earlier.ticks);
        if ticks > threads * 1.02 + 0.05 { ticks } else { threads }
    }
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
    Ok(first_number(line.ok_or_else(|| format!("/proc/{pid}/status has no line {name}"))?))
}

fn read(pid: u32, name: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).context(|| format!("cannot read {path}"))
}

fn first_number(text: &str) -> f64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
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
        assert!(CpuTime::of(pid).unwrap().since(before) > 0.0);
        assert!(peak_rss(pid).unwrap() > 1.0);
        assert!(rss(pid).unwrap() > 1024.0);
    }
}

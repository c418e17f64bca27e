//! Processes that are started on one processor.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::failure::{Context, Result};

/// Keeps this thread, and with it what it starts, on one processor until it is dropped.
#[derive(Debug)]
pub(crate) struct OneCpu(CpuSet);

impl OneCpu {
    /// The first one that this thread may use.
    pub(crate) fn new() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).ok_or("no processor may be used")?;
        let mut one = CpuSet::new();
        one.set(first);
        sched_setaffinity(None, &one).context(|| format!("cannot stay on processor {first}"))?;
        Ok(Self(allowed))
    }
}

impl Drop for OneCpu {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.0);
    }
}

//! Frames that differ in nothing but their payloads, on their way to several receivers.

#[cfg(feature = "shm")]
use std::cell::RefCell;
#[cfg(feature = "shm")]
use std::sync::Arc;

use busway_net::wire::Payloads;

#[cfg(feature = "shm")]
use super::common::{CommonArena, CommonRun};

/// Receivers from which on what all of them get is written once.
#[cfg(feature = "shm")]
const SEVERAL: usize = 3;

/// Payloads for the same receivers, and what was written once for all of those on lanes.
pub(crate) struct FrameRun<'a> {
    payloads: Payloads<'a>,
    #[cfg(feature = "shm")]
    common: Option<&'a Arc<CommonArena>>,
    /// What was written, or could not be, by the number of payloads before it.
    #[cfg(feature = "shm")]
    written: RefCell<Vec<(usize, Option<Arc<CommonRun>>)>>,
}

impl<'a> FrameRun<'a> {
    pub(crate) fn new(payloads: Payloads<'a>) -> Self {
        Self {
            payloads,
            #[cfg(feature = "shm")]
            common: None,
            #[cfg(feature = "shm")]
            written: RefCell::default(),
        }
    }

    /// The same for so many receivers; the arena is used if they are several.
    #[cfg(feature = "shm")]
    pub(crate) fn with_common(mut self, common: Option<&'a Arc<CommonArena>>, receivers: usize) -> Self {
        self.common = common.filter(|_| receivers >= SEVERAL);
        self
    }

    pub(crate) fn payloads(&self) -> Payloads<'a> {
        self.payloads
    }

    /// Where payloads may be written once.
    #[cfg(feature = "shm")]
    pub(super) fn arena(&self) -> Option<&'a Arc<CommonArena>> {
        self.common
    }

    /// The payloads from the one with this index on, as many as were written together. The first who asks writes them.
    #[cfg(feature = "shm")]
    pub(super) fn common_run(&self, start: usize) -> Option<Arc<CommonRun>> {
        let mut written = self.written.borrow_mut();
        if let Some((_, run)) = written.iter().find(|(its_start, _)| *its_start == start) {
            return run.clone();
        }
        let run = self.arena()?.write(self.payloads.skip(start).iter());
        written.push((start, run.clone()));
        run
    }
}

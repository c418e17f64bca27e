//! What is wrong with lines, said in the log without filling it.

use std::fmt::Display;
use std::time::Instant;

use crate::broker::log_quota::LogQuota;

/// The complaints about one FIFO.
pub(super) struct Complaints {
    place: String,
    quota: LogQuota,
    lost: u64,
}

impl Complaints {
    pub(super) fn new(place: &str) -> Self {
        Self { place: place.to_owned(), quota: LogQuota::default(), lost: 0 }
    }

    /// Counts a line that came to nothing, and says why.
    pub(super) fn say(&mut self, line: u64, reason: &dyn Display) {
        self.lost += 1;
        self.tell_due();
        if self.quota.may_say() {
            tracing::error!("{}: line {line}: {reason} (lines lost so far: {})", self.place, self.lost);
        }
    }

    /// When the complaints that were not said have to be told; none if there are none.
    pub(super) fn due(&self) -> Option<Instant> {
        self.quota.due()
    }

    /// Says how many were not said, once it is time.
    pub(super) fn tell_due(&mut self) {
        let silent = self.quota.take_due();
        self.tell(silent);
    }

    /// Says how many were not said.
    pub(super) fn tell_silent(&mut self) {
        let silent = self.quota.take();
        self.tell(silent);
    }

    fn tell(&self, silent: Option<u64>) {
        if let Some(silent) = silent {
            tracing::error!("{}: {silent} more such lines (lines lost so far: {})", self.place, self.lost);
        }
    }
}

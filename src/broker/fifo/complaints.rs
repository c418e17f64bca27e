//! What is wrong with lines, said in the log without filling it.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Complaints in the log before the others are only counted ...
const AT_ONCE: u32 = 20;
/// ... until so much time has passed.
const PAUSE: Duration = Duration::from_secs(1);

/// The complaints about one FIFO.
pub(super) struct Complaints {
    place: String,
    since: Instant,
    said: u32,
    silent: u64,
    lost: u64,
}

impl Complaints {
    pub(super) fn new(place: &str) -> Self {
        Self { place: place.to_owned(), since: Instant::now(), said: 0, silent: 0, lost: 0 }
    }

    /// Counts a line that came to nothing, and says why.
    pub(super) fn say(&mut self, line: u64, reason: &dyn Display) {
        self.lost += 1;
        if self.since.elapsed() >= PAUSE {
            self.tell_silent();
            (self.since, self.said) = (Instant::now(), 0);
        }
        if self.said < AT_ONCE {
            self.said += 1;
            tracing::error!("{}: line {line}: {reason} (lines lost so far: {})", self.place, self.lost);
        } else {
            self.silent += 1;
        }
    }

    /// When the complaints that were not said have to be told; none if there are none.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.silent > 0).then(|| self.since + PAUSE)
    }

    /// Says how many were not said, and that in its turn not more often than others.
    pub(super) fn tell_due(&mut self) {
        if self.due().is_some_and(|due| Instant::now() >= due) {
            self.tell_silent();
            self.since = Instant::now();
        }
    }

    /// Says how many were not said.
    pub(super) fn tell_silent(&mut self) {
        if self.silent > 0 {
            tracing::error!("{}: {} more such lines (lines lost so far: {})", self.place, self.silent, self.lost);
            self.silent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_said_is_told_once_its_time_has_come() {
        let mut complaints = Complaints::new("fifo:x");
        for line in 0..u64::from(AT_ONCE) {
            complaints.say(line, &"wrong");
            assert_eq!(complaints.due(), None, "all is said");
        }
        complaints.say(20, &"wrong");
        complaints.tell_due();
        assert_eq!(complaints.silent, 1, "not yet");
        complaints.since = Instant::now().checked_sub(PAUSE).expect("the system runs for a second");
        complaints.tell_due();
        assert_eq!((complaints.silent, complaints.due(), complaints.lost), (0, None, 21));
        complaints.say(21, &"wrong");
        assert_eq!(complaints.silent, 1, "the telling was one of those of this second");
    }
}

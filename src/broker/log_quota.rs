//! How often something is said in the log that others bring about as often as they like.

use std::time::{Duration, Instant};

/// What is said before the rest is only counted ...
const AT_ONCE: u32 = 20;
/// ... until so much time has passed.
const PAUSE: Duration = Duration::from_secs(1);

/// The quota of one kind of complaint.
#[derive(Debug)]
pub(super) struct LogQuota {
    since: Instant,
    said: u32,
    silent: u64,
}

impl Default for LogQuota {
    fn default() -> Self {
        Self { since: Instant::now(), said: 0, silent: 0 }
    }
}

impl LogQuota {
    /// Whether the next one may be said; if not, it is counted.
    pub(super) fn may_say(&mut self) -> bool {
        if self.since.elapsed() >= PAUSE {
            (self.since, self.said) = (Instant::now(), 0);
        }
        let may_say = self.said < AT_ONCE;
        if may_say {
            self.said += 1;
        } else {
            self.silent += 1;
        }
        may_say
    }

    /// When it has to be told how many were not said; never if none were.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.silent > 0).then(|| self.since + PAUSE)
    }

    /// How many were not said, once that has to be told: not more often than the others.
    pub(super) fn take_due(&mut self) -> Option<u64> {
        if self.due().is_none_or(|due| Instant::now() < due) {
            return None;
        }
        (self.since, self.said) = (Instant::now(), 0);
        self.take()
    }

    /// How many were not said, if some were.
    pub(super) fn take(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.silent)).filter(|silent| *silent > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_said_is_told_once_its_time_has_come() {
        let mut quota = LogQuota::default();
        for _ in 0..AT_ONCE {
            assert!(quota.may_say() && quota.due().is_none(), "all is said");
        }
        assert!(!quota.may_say());
        assert_eq!(quota.take_due(), None, "not yet");
        quota.since = Instant::now().checked_sub(PAUSE).expect("the system runs for a second");
        assert_eq!((quota.take_due(), quota.due()), (Some(1), None));
        assert!(quota.may_say(), "another second has begun");
    }

    #[test]
    fn what_was_not_said_is_not_forgotten_when_there_is_more_to_say() {
        let mut quota = LogQuota::default();
        let said = (0..=AT_ONCE).filter(|_| quota.may_say()).count();
        quota.since = Instant::now().checked_sub(PAUSE).expect("the system runs for a second");
        assert!(quota.may_say());
        assert_eq!((said, quota.take()), (AT_ONCE as usize, Some(1)));
        assert_eq!(quota.take(), None);
    }
}

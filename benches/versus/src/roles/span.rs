//! How long something is measured: for a time, and until there is enough of it.

use std::time::Duration;

use crate::clock;
use crate::plan::Plan;

/// Seconds that slow systems may take instead of those that were given, at most.
const EXTENDED: f64 = 5.0;
/// The same, as a multiple of what was given; the longer one counts.
const EXTENSION: f64 = 10.0;

/// A time that is extended until enough has been measured, within reason. On the clock that all processes share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: u64,
    end: u64,
    extended_end: u64,
    least: u64,
}

impl Span {
    /// Begins now.
    pub(super) fn begin(plan: &Plan) -> Self {
        let start = clock::now();
        let after = |seconds: f64| start + (seconds * 1e9) as u64;
        let extended_end = after((plan.seconds * EXTENSION).max(EXTENDED));
        Self { start, end: after(plan.seconds), extended_end, least: plan.least }
    }

    /// Whether more has to be measured, after so much.
    pub(super) fn goes_on(&self, measured: u64) -> bool {
        self.goes_on_at(clock::now(), measured)
    }

    /// The same, for whoever knows the time.
    pub(super) fn goes_on_at(&self, now: u64, measured: u64) -> bool {
        now < self.end || measured < self.least && now < self.extended_end
    }
}

/// How long a system is warmed up, at least.
pub(super) fn warm_up(plan: &Plan) -> Duration {
    const AT_MOST: f64 = 1.0;
    Duration::from_secs_f64((plan.seconds / 4.0).min(AT_MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_extended_until_there_is_enough_but_not_for_ever() {
        let span = Span { start: 0, end: 100, extended_end: 1_000, least: 16 };
        assert!(span.goes_on_at(99, 1_000));
        assert!(span.goes_on_at(100, 15));
        assert!(!span.goes_on_at(100, 16));
        assert!(!span.goes_on_at(1_000, 0));
    }
}

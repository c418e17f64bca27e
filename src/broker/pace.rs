//! How far a batch of frames has come, and when its connection has to look around.

use std::time::{Duration, Instant};

/// Frames of one batch.
#[derive(Debug)]
pub(super) struct Pace {
    frames: u64,
    bytes: u64,
    since_flush: usize,
    since_look: usize,
    look_interval: usize,
    is_realtime: bool,
    since_clock: usize,
    began: Instant,
}

/// Frames after which real-time receivers are flushed amid a batch.
const REALTIME_FRAMES: usize = 64;
/// How long a batch may keep others from their turn: a few bytes can ask for much (a list of all clients, a mask that
/// matches thousands).
const TURN_TIME: Duration = Duration::from_millis(10);
/// Frames after which the clock is looked at.
const CLOCK_FRAMES: usize = 16;
/// Frames that are routed together, if they differ in nothing but their payloads.
const RUN_FRAMES: usize = 64;

impl Pace {
    /// A batch in which the connection looks after its own client every `look_interval` frames.
    pub(super) fn new(look_interval: usize) -> Self {
        let (since_clock, began) = (0, Instant::now());
        Self {
            frames: 0,
            bytes: 0,
            since_flush: 0,
            since_look: 0,
            look_interval,
            is_realtime: false,
            since_clock,
            began,
        }
    }

    /// Counts frames that were routed.
    #[inline]
    pub(super) fn count(&mut self, frames: usize, bytes: usize, is_realtime: bool) {
        self.frames += frames as u64;
        self.bytes += bytes as u64;
        self.since_flush += frames;
        self.since_look += frames;
        self.since_clock += frames;
        self.is_realtime |= is_realtime;
    }

    /// Frames and bytes of the batch.
    pub(super) fn total(&self) -> (u64, u64) {
        (self.frames, self.bytes)
    }

    /// How many frames may be routed together.
    #[inline]
    pub(super) fn run_frames(&self) -> usize {
        RUN_FRAMES.min(self.look_interval - self.since_look)
    }

    /// Whether real-time frames have waited for long enough.
    #[inline]
    pub(super) fn is_flush_due(&mut self) -> bool {
        if !self.is_realtime || self.since_flush < REALTIME_FRAMES {
            return false;
        }
        (self.since_flush, self.is_realtime) = (0, false);
        true
    }

    /// Whether others have waited for long enough. The answer is given once.
    #[inline]
    pub(super) fn is_turn_over(&mut self) -> bool {
        if self.since_clock < CLOCK_FRAMES {
            return false;
        }
        self.since_clock = 0;
        if self.began.elapsed() < TURN_TIME {
            return false;
        }
        self.began = Instant::now();
        true
    }

    /// Whether it is time to look how much waits for the client itself.
    #[inline]
    pub(super) fn is_look_due(&mut self) -> bool {
        if self.since_look < self.look_interval {
            return false;
        }
        self.since_look = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_and_flushes_come_after_so_many_frames_however_they_are_counted() {
        let mut pace = Pace::new(10);
        for round in 1..=20 {
            pace.count(7, 70, false);
            assert!(!pace.is_look_due());
            assert_eq!(pace.run_frames(), 3);
            pace.count(3, 30, false);
            assert!(pace.is_look_due() && !pace.is_flush_due());
            assert_eq!(pace.total(), (10 * round, 100 * round));
        }
        pace.count(1, 0, true);
        assert!(pace.is_flush_due(), "more than enough frames have come since the last flush");
        pace.count(REALTIME_FRAMES - 1, 0, true);
        assert!(!pace.is_flush_due());
        pace.count(1, 0, false);
        assert!(pace.is_flush_due());
        pace.count(REALTIME_FRAMES, 0, false);
        assert!(!pace.is_flush_due());
    }
    #[test]
    fn a_turn_ends_with_its_time_and_the_clock_is_asked_now_and_then() {
        let mut pace = Pace::new(1000);
        pace.began = pace.began.checked_sub(TURN_TIME).expect("the system runs for a while");
        pace.count(CLOCK_FRAMES - 1, 0, false);
        assert!(!pace.is_turn_over(), "the clock was not asked");
        pace.count(1, 0, false);
        assert!(pace.is_turn_over());
        assert!(!pace.is_turn_over(), "the next turn has begun");
    }
}

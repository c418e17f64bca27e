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
const TURN_TIME: Duration = Duration::from_millis(1);
/// Frames after which the clock is looked at.
const CLOCK_FRAMES: usize = 16;
/// Bytes of payloads in place after which it is looked at: to read them takes a few hundred microseconds.
#[cfg(feature = "shm")]
const CLOCK_BYTES: usize = 4 << 20;
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

    /// When the batch began.
    #[cfg(feature = "shm")]
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Counts a frame by which a few bytes can ask for much: the clock is looked at after it.
    #[inline]
    pub(super) fn count_long(&mut self) {
        self.since_clock += CLOCK_FRAMES;
    }

    /// Counts a payload in place, besides its frame: the reader that is woken for it may take the broker's processor,
    /// for as long as it takes to read it.
    #[cfg(feature = "shm")]
    #[inline]
    pub(super) fn count_in_place(&mut self, bytes: usize) {
        self.since_clock += bytes / (CLOCK_BYTES / CLOCK_FRAMES);
    }

    /// Frames and bytes of the batch.
    pub(super) fn total(&self) -> (u64, u64) {
        (self.frames, self.bytes)
    }

    /// How many frames may be routed together.
    #[inline]
    pub(super) fn run_frames(&self) -> usize {
        RUN_FRAMES.min(self.look_interval.saturating_sub(self.since_look))
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

/// What a connection on the lane does, batch after batch, before others have their turn: who writes whenever the ring is
/// empty must not keep them from it, nor who is read by a process that takes the broker's processor whenever it is rung.
#[cfg(feature = "shm")]
#[derive(Debug)]
pub(super) struct Turn {
    records: usize,
    /// Since when it goes on without a pause.
    began: Option<Instant>,
    /// Bytes since then; without many of them the clock is not looked at.
    bytes: u64,
}

/// Records of a turn, or frames of those that hold several.
#[cfg(feature = "shm")]
const TURN_RECORDS: usize = 4096;
/// What a look at an empty ring counts for.
#[cfg(feature = "shm")]
const LOOK_RECORDS: usize = 8;
/// How long batches may follow each other.
#[cfg(feature = "shm")]
const BATCHES_TIME: Duration = Duration::from_micros(250);

#[cfg(feature = "shm")]
impl Default for Turn {
    fn default() -> Self {
        Self { records: TURN_RECORDS, began: None, bytes: 0 }
    }
}

#[cfg(feature = "shm")]
impl Turn {
    /// Records that are left of it.
    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Counts a batch of so many records and bytes, and the look that found them.
    #[inline]
    pub(super) fn count(&mut self, records: usize, bytes: u64, began: Option<Instant>) {
        self.records = self.records.saturating_sub(records + LOOK_RECORDS);
        self.bytes += bytes;
        self.began = self.began.or(began);
    }

    /// Whether its records are used up, or its time since the first batch after a pause, which only many bytes take.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        let is_late = || self.began.is_some_and(|began| began.elapsed() >= BATCHES_TIME);
        self.records == 0 || (self.bytes >= CLOCK_BYTES as u64 && is_late())
    }

    /// Others may have had their turn meanwhile: time counts from the next batch on.
    pub(super) fn pause(&mut self) {
        (self.began, self.bytes) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "shm")]
    #[test]
    fn batch_after_batch_a_turn_ends_with_its_records_and_with_its_time() {
        let many = CLOCK_BYTES as u64;
        let later = Some(Instant::now() + Duration::from_secs(3600));
        let mut turn = Turn::default();
        turn.count(TURN_RECORDS - LOOK_RECORDS - 1, many, later);
        assert_eq!((turn.records(), turn.is_over()), (1, false));
        turn.pause();
        turn.count(0, 0, later);
        assert_eq!((turn.records(), turn.is_over()), (0, true), "looks count, and a pause gives no records back");
        let mut turn = Turn::default();
        let before = Instant::now().checked_sub(BATCHES_TIME).expect("the system runs for a while");
        turn.count(1, many - 1, Some(before));
        assert!(!turn.is_over(), "the clock is not asked");
        turn.count(1, 1, later);
        assert!(turn.is_over(), "the first batch counts");
        turn.pause();
        turn.count(1, many, later);
        assert!(!turn.is_over(), "there was a pause");
    }

    #[cfg(feature = "shm")]
    #[test]
    fn the_clock_is_asked_after_a_large_payload_in_place() {
        let mut pace = Pace::new(1000);
        pace.began = pace.began.checked_sub(TURN_TIME).expect("the system runs for a while");
        pace.count(1, CLOCK_BYTES, false);
        assert!(!pace.is_turn_over());
        pace.count_in_place(CLOCK_BYTES);
        assert!(pace.is_turn_over());
    }

    #[test]
    fn the_clock_is_asked_after_a_frame_that_may_take_long() {
        let mut pace = Pace::new(1000);
        pace.began = pace.began.checked_sub(TURN_TIME).expect("the system runs for a while");
        pace.count(1, 0, false);
        pace.count_long();
        assert!(pace.is_turn_over());
    }

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

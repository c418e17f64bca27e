//! When a sender of large payloads leaves its processor to those who read them.
//!
//! Who writes on while receivers are behind drives what they are to read next out of the caches, and takes fresh memory
//! for it. Where processors are fewer than those who have work, the sender and its readers share one: a moment in which
//! it does not run is one in which they read. With a processor to spare, yielding returns at once, and so it does when
//! the readers wait on other processors. A sender that sleeps leaves one idle, which then looks for work on the others.

use std::time::{Duration, Instant};

/// Bytes that receivers may be behind before a sender gives way: what they read at a time, and the next.
const MOST_UNREAD: usize = 4 << 20;
/// Bytes from which on it sleeps instead of yielding, if it writes into its payloads, ...
const FAR_BEHIND: usize = 8 << 20;
/// ... for so long; the kernel adds about as much to it.
const SLEEP: Duration = Duration::from_micros(50);
/// A payload that was in hand for less time, for each MiB, was not written: that would be 64 GiB a second.
const WRITING_A_MIB: Duration = Duration::from_micros(16);
/// So many in a row that were in hand for longer are no chance, as one that the scheduler interrupted is.
const WRITTEN: u32 = 4;
/// Whoever has not asked for memory for so long writes no stream, and its next payload is wanted soon.
const STREAM_PAUSE: Duration = Duration::from_micros(500);
/// Who got what and has not read it after such a pause keeps it, and is not behind with it.
const READING_PAUSE: Duration = Duration::from_millis(20);
/// Between two times: about what it takes to write 1 MiB. Who writes nothing into its payloads asks for many in it.
const REST: Duration = Duration::from_micros(50);
/// Who got the processor for so long and brought nothing back may be a stranger, ...
const LONG: Duration = Duration::from_millis(1);
/// ... and is one after so many times in a row, as who is slept for in vain is none who reads, ...
const FRUITLESS_TIMES: u32 = 4;
/// ... from when on this fraction of the sender's time is what strangers get of it at most.
const REST_AFTER_STRANGERS: u32 = 16;
/// How to leave the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Yield,
    Sleep,
}

impl Way {
    /// Returns when the processor has been had back.
    pub(super) fn go(self) {
        match self {
            Self::Yield => std::thread::yield_now(),
            Self::Sleep => std::thread::sleep(SLEEP),
        }
    }
}

/// What one sender knows about the last times.
#[derive(Debug, Default)]
pub(super) struct GivingWay {
    /// When it last asked for memory for a large payload.
    asked: Option<Instant>,
    not_before: Option<Instant>,
    fruitless: u32,
    /// Bytes that were out after the last such pause, or the least since then.
    kept: usize,
    /// When it last got memory for a large payload that it has not sent yet.
    lent: Option<Instant>,
    /// Payloads in a row that it has written.
    written: u32,
}

impl GivingWay {
    /// Memory for a large payload is asked for while `unread` bytes of others have not come back: whether to give way.
    pub(super) fn ask(&mut self, unread: usize, now: Instant) -> Option<Way> {
        let pause = self.asked.replace(now).map_or(Duration::MAX, |asked| now.duration_since(asked));
        let is_stream = pause <= STREAM_PAUSE;
        self.kept = if pause > READING_PAUSE { unread } else { self.kept.min(unread) };
        if !is_stream {
            self.written = 0;
        }
        let behind = unread - self.kept;
        self.lent = Some(now);
        let is_time = is_stream && behind > MOST_UNREAD && self.not_before.is_none_or(|moment| moment <= now);
        let way = if behind > FAR_BEHIND && self.written >= WRITTEN { Way::Sleep } else { Way::Yield };
        is_time.then_some(way)
    }

    /// The processor was given away, and has been had back. `is_read`: payloads have come back meanwhile.
    pub(super) fn gave(&mut self, way: Way, (began, ended): (Instant, Instant), is_read: bool) {
        let took = ended.duration_since(began);
        let is_fruitless = !is_read && (way == Way::Sleep || took > LONG);
        self.fruitless = if is_fruitless { self.fruitless + 1 } else { 0 };
        let rest = match way {
            _ if self.fruitless >= FRUITLESS_TIMES => took * REST_AFTER_STRANGERS,
            Way::Sleep => took.max(REST),
            Way::Yield => REST,
        };
        (self.asked, self.lent) = (Some(ended), Some(ended));
        self.not_before = Some(ended + rest);
    }

    /// A large payload of so many bytes is sent, for the first time or again.
    pub(super) fn sent(&mut self, length: usize, now: Instant) {
        if let Some(lent) = self.lent.take() {
            let is_written = now.duration_since(lent) >= WRITING_A_MIB.mul_f64(length as f64 / f64::from(1 << 20));
            self.written = if is_written { self.written + 1 } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(100);
    const MUCH: usize = MOST_UNREAD * 2;
    const FAR: usize = FAR_BEHIND * 2;
    const MIB: usize = 1 << 20;

    /// Of a sender that has asked for memory before, and that moment.
    fn giving() -> (GivingWay, Instant) {
        let (mut giving, start) = (GivingWay::default(), Instant::now());
        assert_eq!(giving.ask(0, start), None, "the first payload is no stream");
        (giving, start)
    }

    /// How a sender gives way before each of its payloads, which it has in hand for `in_hand` each.
    fn ways(unread: usize, in_hand: Duration, payloads: usize) -> Vec<Option<Way>> {
        let (mut giving, mut now) = giving();
        let mut payload = || {
            now += in_hand;
            giving.sent(MIB, now);
            now += REST;
            giving.ask(unread, now)
        };
        (0..payloads).map(|_| payload()).collect()
    }

    #[test]
    fn a_stream_whose_readers_are_behind_gives_way() {
        let (mut giving, start) = giving();
        assert_eq!(giving.ask(MOST_UNREAD + 1, start + STEP), Some(Way::Yield));
        assert_eq!(giving.ask(MOST_UNREAD, start + STEP * 2), None, "the readers are not far behind");
        assert_eq!(giving.ask(MUCH, start + STEP * 3 + STREAM_PAUSE), None, "it has paused");
    }

    #[test]
    fn who_writes_sleeps_when_its_readers_are_far_behind() {
        let written = ways(FAR, WRITING_A_MIB, 10);
        assert_eq!(written[..3], [Some(Way::Yield); 3], "that may be chance");
        assert_eq!(written[3..], [Some(Way::Sleep); 7]);
        assert_eq!(ways(FAR, WRITING_A_MIB / 2, 10), [Some(Way::Yield); 10], "it writes nothing");
        assert_eq!(ways(FAR_BEHIND, WRITING_A_MIB, 10), [Some(Way::Yield); 10], "they are not so far behind");
    }

    #[test]
    fn one_payload_that_was_not_written_or_a_pause_ends_the_sleeping() {
        for pauses in [false, true] {
            let (mut giving, mut now) = giving();
            for _ in 0..WRITTEN {
                giving.sent(MIB, now + WRITING_A_MIB);
                now += STEP;
                giving.ask(MUCH, now);
            }
            assert_eq!(giving.ask(FAR, now + STEP), Some(Way::Sleep));
            if pauses {
                giving.ask(FAR, now + STEP + STREAM_PAUSE * 2);
                now += STREAM_PAUSE * 2;
            } else {
                giving.sent(MIB, now + STEP);
            }
            assert_eq!(giving.ask(FAR * 2 + 1, now + STEP * 2), Some(Way::Yield), "{pauses}");
        }
    }

    #[test]
    fn what_receivers_keep_is_nothing_that_they_are_behind_with() {
        let (mut giving, start) = (GivingWay::default(), Instant::now());
        let mut ask = |unread, step| giving.ask(unread, start + STEP * step);
        assert_eq!(ask(FAR, 0), None);
        assert_eq!(ask(FAR + MOST_UNREAD, 1), None, "as far behind as they may be");
        assert_eq!(ask(FAR + MOST_UNREAD + 1, 2), Some(Way::Yield));
        assert_eq!(ask(MUCH, 3), None, "some of it has come back");
        assert_eq!(ask(FAR + 1, 4), Some(Way::Yield), "that was not kept");
        assert_eq!(ask(FAR + 1, 10), None, "a pause, but a short one");
        assert_eq!(ask(FAR + 1, 11), Some(Way::Yield));
        assert_eq!(ask(FAR + 1, 12 + 200), None, "a new stream");
        assert_eq!(ask(FAR + 1, 13 + 200), None);
    }

    #[test]
    fn who_writes_nothing_gives_way_now_and_then() {
        let (mut giving, start) = giving();
        let moments = (1..=1000).map(|microseconds| start + Duration::from_micros(microseconds));
        let times = moments.filter(|now| {
            let way = giving.ask(MUCH, *now);
            if let Some(way) = way {
                giving.gave(way, (*now, *now), false);
            }
            way.is_some()
        });
        assert_eq!(times.count(), 20);
    }

    #[test]
    fn strangers_get_little_more_than_their_share_and_readers_what_they_need() {
        const TURN: Duration = Duration::from_millis(3);
        for (way, turn) in [(Way::Yield, TURN), (Way::Sleep, SLEEP * 2)] {
            for is_read in [false, true] {
                let (mut giving, mut now) = giving();
                let mut rests = Vec::new();
                for _ in 0..8 {
                    let given = now;
                    while giving.ask(MUCH, now).is_none() {
                        now += STEP;
                    }
                    rests.push(now - given);
                    giving.gave(way, (now, now + turn), is_read);
                    now += turn;
                }
                let times = if is_read { 8 } else { FRUITLESS_TIMES as usize };
                let usual = if way == Way::Sleep { turn } else { STEP };
                assert!(rests[..times].iter().all(|rest| *rest <= usual), "{rests:?}");
                assert!(rests[times..].iter().all(|rest| *rest >= turn * REST_AFTER_STRANGERS), "{rests:?}");
            }
        }
    }
}

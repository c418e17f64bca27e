//! When a sender of large payloads leaves its processor to those who read them.
//!
//! Who writes on while receivers are behind drives what they are to read next out of the caches, and takes fresh memory
//! for it. Where processors are fewer than those who have work, the sender and its readers share one: a moment in which
//! it does not run is one in which they read. With a processor to spare, the call returns at once.

use std::time::{Duration, Instant};

/// Bytes that receivers may be behind before a sender gives way: twice what the cache of one processor holds.
const MOST_UNREAD: usize = 4 << 20;
/// Whoever has not asked for memory for so long writes no stream, and its next payload is wanted soon.
const STREAM_PAUSE: Duration = Duration::from_micros(500);
/// Between two times: about what it takes to write 1 MiB. Who writes nothing into its payloads asks for many in it.
const REST: Duration = Duration::from_micros(50);
/// Who got the processor for so long and brought nothing back may be a stranger, ...
const LONG: Duration = Duration::from_millis(1);
/// ... and is one after so many times in a row, ...
const FRUITLESS_TIMES: u32 = 4;
/// ... from when on this fraction of the sender's time is what strangers get of it at most.
const REST_AFTER_STRANGERS: u32 = 16;

/// What one sender knows about the last times.
#[derive(Debug, Default)]
pub(super) struct GivingWay {
    /// When it last asked for memory for a large payload.
    asked: Option<Instant>,
    not_before: Option<Instant>,
    fruitless: u32,
}

impl GivingWay {
    /// Memory for a large payload is asked for while `unread` bytes of others have not come back: whether to give way.
    pub(super) fn is_time(&mut self, unread: usize, now: Instant) -> bool {
        let is_stream = self.asked.replace(now).is_some_and(|asked| now.duration_since(asked) <= STREAM_PAUSE);
        is_stream && unread > MOST_UNREAD && self.not_before.is_none_or(|moment| moment <= now)
    }

    /// The processor was given away, and has been had back. `is_read`: payloads have come back meanwhile.
    pub(super) fn gave(&mut self, began: Instant, ended: Instant, is_read: bool) {
        let took = ended.duration_since(began);
        self.fruitless = if took > LONG && !is_read { self.fruitless + 1 } else { 0 };
        let rest = if self.fruitless >= FRUITLESS_TIMES { took * REST_AFTER_STRANGERS } else { REST };
        self.asked = Some(ended);
        self.not_before = Some(ended + rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(100);
    const MUCH: usize = MOST_UNREAD * 2;

    /// Of a sender that has asked for memory before, and that moment.
    fn giving() -> (GivingWay, Instant) {
        let (mut giving, start) = (GivingWay::default(), Instant::now());
        assert!(!giving.is_time(MUCH, start), "the first payload is no stream");
        (giving, start)
    }

    #[test]
    fn a_stream_whose_readers_are_behind_gives_way() {
        let (mut giving, start) = giving();
        assert!(giving.is_time(MOST_UNREAD + 1, start + STEP));
        assert!(!giving.is_time(MOST_UNREAD, start + STEP * 2), "the readers are not far behind");
        assert!(!giving.is_time(MUCH, start + STEP * 3 + STREAM_PAUSE), "it has paused");
    }

    #[test]
    fn who_writes_nothing_gives_way_now_and_then() {
        let (mut giving, start) = giving();
        let moments = (1..=1000).map(|microseconds| start + Duration::from_micros(microseconds));
        let times = moments.filter(|now| {
            let is_time = giving.is_time(MUCH, *now);
            if is_time {
                giving.gave(*now, *now, false);
            }
            is_time
        });
        assert_eq!(times.count(), 20);
    }

    #[test]
    fn strangers_get_little_more_than_their_share_and_readers_what_they_need() {
        const TURN: Duration = Duration::from_millis(3);
        for is_read in [false, true] {
            let (mut giving, mut now) = giving();
            let mut rests = Vec::new();
            for _ in 0..8 {
                let given = now;
                while !giving.is_time(MUCH, now) {
                    now += STEP;
                }
                rests.push(now - given);
                giving.gave(now, now + TURN, is_read);
                now += TURN;
            }
            let times = if is_read { 8 } else { FRUITLESS_TIMES as usize };
            assert!(rests[..times].iter().all(|rest| *rest <= STEP), "{rests:?}");
            assert!(rests[times..].iter().all(|rest| *rest == TURN * REST_AFTER_STRANGERS), "{rests:?}");
        }
    }
}

//! When a sender that may go on wakes a sleeping reader of its payloads in place.
//!
//! To wake somebody costs the sender what writing some hundred KiB costs, so that a stream is better read a few payloads
//! at a time; who writes on for long, though, drives them out of the caches before anybody reads them. A payload that is
//! not one of a stream is rung for at once.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Bytes that are worth ringing for before whoever ends the batch does it.
const WORTH_RINGING: usize = 256 << 10;
/// Payloads of a stream after which it is time to ring, or ...
const MOST_PAYLOADS: usize = 3;
/// ... so many bytes more than the cache of one processor holds.
const BEYOND_CACHE: usize = 1 << 20;
/// What it holds where the kernel does not say it.
const USUAL_CACHE: usize = 2 << 20;
/// Whoever has not rung for so long does not write a stream.
const STREAM_PAUSE: Duration = Duration::from_micros(500);

/// Payloads that came since somebody looked whether the other side sleeps.
#[derive(Debug, Default)]
pub(super) struct PayloadBatch {
    payloads: usize,
    bytes: usize,
    /// When one was last rung for that was worth it.
    rung: Option<Instant>,
}

impl PayloadBatch {
    /// One more, of so many bytes.
    pub(super) fn add(&mut self, bytes: usize) {
        self.payloads += 1;
        self.bytes += bytes;
    }

    /// Whether it is time to ring although more may follow.
    pub(super) fn is_full(&self) -> bool {
        self.is_worth_ringing() && self.is_full_at(Instant::now())
    }

    /// Somebody looks now; the next batch begins.
    pub(super) fn end(&mut self) {
        if self.is_worth_ringing() {
            self.rung = Some(Instant::now());
        }
        (self.payloads, self.bytes) = (0, 0);
    }

    fn is_worth_ringing(&self) -> bool {
        self.bytes >= WORTH_RINGING
    }

    fn is_full_at(&self, now: Instant) -> bool {
        self.payloads >= MOST_PAYLOADS
            || self.bytes >= most_bytes()
            || self.rung.is_none_or(|rung| now.duration_since(rung) > STREAM_PAUSE)
    }
}

/// Bytes of a stream after which it is time to ring.
fn most_bytes() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let size = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size");
        size.ok().and_then(|size| bytes_of(&size)).unwrap_or(USUAL_CACHE).min(USUAL_CACHE) + BEYOND_CACHE
    })
}

/// The size of a cache as the kernel writes it.
fn bytes_of(size: &str) -> Option<usize> {
    size.trim().strip_suffix('K')?.parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(payloads: &[usize]) -> PayloadBatch {
        let mut batch = PayloadBatch::default();
        payloads.iter().for_each(|bytes| batch.add(*bytes));
        batch
    }

    #[test]
    fn what_is_no_stream_is_rung_for_at_once_and_a_stream_now_and_then() {
        let mut batch = batch(&[WORTH_RINGING]);
        assert!(batch.is_full(), "the first of all");
        batch.end();
        let rung = batch.rung.unwrap();
        batch.add(WORTH_RINGING);
        assert!(batch.is_worth_ringing() && !batch.is_full_at(rung + STREAM_PAUSE), "more may follow soon");
        assert!(batch.is_full_at(rung + STREAM_PAUSE * 2), "nothing followed soon");
        batch.add(WORTH_RINGING);
        assert!(!batch.is_full_at(rung));
        batch.add(WORTH_RINGING);
        assert!(batch.is_full_at(rung));
        batch.end();
        batch.add(BEYOND_CACHE);
        assert!(!batch.is_full_at(rung), "they fit into the caches");
        batch.end();
        batch.add(most_bytes());
        assert!(batch.is_full_at(rung), "as much as the caches hold");
    }

    #[test]
    fn the_cache_is_what_the_kernel_says_or_as_usual() {
        assert_eq!(bytes_of("512K\n"), Some(512 << 10));
        assert_eq!(bytes_of("1280K\n"), Some(1280 << 10));
        for odd in ["", "K", "12", "-1K", "1M", "99999999999999999999K", "18446744073709551615K"] {
            assert_eq!(bytes_of(odd), None, "{odd}");
        }
        assert!((BEYOND_CACHE + 1..=USUAL_CACHE + BEYOND_CACHE).contains(&most_bytes()));
    }

    #[test]
    fn small_payloads_wait_for_the_end_of_the_batch() {
        let mut batch = batch(&[1024; WORTH_RINGING / 1024 - 1]);
        assert!(!batch.is_full());
        batch.end();
        assert_eq!(batch.rung, None, "whoever ends a batch of small payloads says nothing about large ones");
        batch.add(1024);
        assert!(!batch.is_full());
    }
}

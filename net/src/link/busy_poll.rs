//! Looking for a while before sleeping.
//!
//! To wake a sleeping processor takes longer (20 us on a virtual machine) than many looks at a ring or a socket, so
//! that who expects an answer soon does better to look for it. Who looks in vain burns a processor, though: the budget
//! is about what a sleep and a wake-up would have cost (competitive spinning; Karlin, Li, Manasse and Owicki, SOSP
//! 1991), and it is spent only where recent waits say that it is worth it, as in the halt polling of hypervisors.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{Readiness, Socket};

/// Waits within the budget, one after the other, after which looking is tried; at first ...
const PROMISING: u32 = 4;
/// ... after a trial that failed so many times as many, ...
const MORE_PROMISING: u32 = 8;
/// ... but not more than this.
const MOST_PROMISING: u32 = 4096;
/// What a wait costs that was looked through in vain, in waits that took more than three quarters of the budget ...
const VAIN: u32 = 8;
/// ... and how many of those end looking: who sleeps would be faster awake, so that good waits become shorter at once.
const PATIENCE: u32 = 32;
/// Frames that a wait of a stream brings: to be woken costs each of them little, and who looks instead finds few at a
/// time, chases their sender through the memory that it has just written, and makes both slower.
const STREAM: usize = 24;

/// Decides for one who waits, again and again, whether to look for a while before sleeping.
#[derive(Debug)]
pub struct BusyPoll {
    /// For how long it looks at most; zero: never.
    budget: Duration,
    mood: Mood,
    /// Waits within the budget after which it tries.
    needed: u32,
    since: Option<Instant>,
    /// How long the last wait took, until the next begins.
    waited: Option<Duration>,
    /// Frames since then.
    brought: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Sleeps at once. So many waits in a row were within the budget.
    Sleeps(u32),
    /// Looks first. So much has spoken against it lately.
    Looks(u32),
}

impl BusyPoll {
    /// What is usually enough: about the time in which both sides of a hop are woken.
    pub const BUDGET: Duration = Duration::from_micros(100);

    /// One that looks for at most `budget` at a time; on a single processor, where whoever is waited for needs it,
    /// never.
    pub fn new(budget: Duration) -> Self {
        let is_alone = std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
        Self::with_budget(if is_alone { Duration::ZERO } else { budget })
    }

    fn with_budget(budget: Duration) -> Self {
        Self { budget, mood: Mood::Sleeps(0), needed: PROMISING, since: None, waited: None, brought: 0 }
    }

    /// A wait begins, or goes on. Says whether it is better to look than to sleep.
    pub fn begin(&mut self) -> bool {
        if self.budget.is_zero() {
            return false;
        }
        match self.since {
            None => {
                if let Some(waited) = self.waited.take() {
                    self.learn(waited);
                }
                self.since = Some(Instant::now());
                matches!(self.mood, Mood::Looks(_))
            }
            Some(since) => matches!(self.mood, Mood::Looks(_)) && since.elapsed() <= self.budget,
        }
    }

    /// The wait is over: something has come.
    pub fn end(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited = Some(since.elapsed());
        }
    }

    /// So many frames were read after the wait.
    pub fn brought(&mut self, frames: usize) {
        self.brought += frames;
    }

    fn learn(&mut self, waited: Duration) {
        let is_stream = std::mem::take(&mut self.brought) >= STREAM;
        let is_vain = waited > self.budget || is_stream;
        self.mood = match self.mood {
            Mood::Sleeps(_) if is_vain => Mood::Sleeps(0),
            Mood::Sleeps(count) if count + 1 >= self.needed => Mood::Looks(0),
            Mood::Sleeps(count) => Mood::Sleeps(count + 1),
            Mood::Looks(against) if !is_vain && waited <= self.budget / 4 * 3 => {
                self.needed = (self.needed - 1).max(PROMISING);
                Mood::Looks(against.saturating_sub(1))
            }
            Mood::Looks(against) => {
                let against = against + if is_vain { VAIN } else { 1 };
                if against < PATIENCE {
                    Mood::Looks(against)
                } else {
                    self.needed = (self.needed * MORE_PROMISING).min(MOST_PROMISING);
                    Mood::Sleeps(0)
                }
            }
        };
    }

    /// Looks until there is something (`true`) or the budget is spent, and it is time to sleep. Between two looks
    /// everything else in this runtime has its turn, and so has who else waits for this processor.
    ///
    /// # Errors
    /// Those of `is_there`.
    pub async fn look<E>(&self, mut is_there: impl FnMut() -> Result<bool, E>) -> Result<bool, E> {
        poll_fn(|context| {
            if is_there()? {
                return Poll::Ready(Ok(true));
            }
            if self.looks_on(context) { Poll::Pending } else { Poll::Ready(Ok(false)) }
        })
        .await
    }

    /// Waits for a socket, looking for a while before it sleeps.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn readable<'a>(&mut self, socket: &'a Socket) -> io::Result<Readiness<'a>> {
        let mut looks = self.begin();
        let mut readable = pin!(socket.readable());
        let readiness = poll_fn(|context| {
            let readiness = readable.as_mut().poll(context);
            if readiness.is_pending() && looks {
                looks = self.looks_on(context);
            }
            readiness
        })
        .await;
        self.end();
        readiness
    }

    /// Whether there is time for another look; then the caller will be woken for it.
    fn looks_on(&self, context: &mut Context<'_>) -> bool {
        if self.since.is_none_or(|since| since.elapsed() > self.budget) {
            return false;
        }
        std::thread::yield_now();
        // Comes back after the runtime has looked at its descriptors.
        let _ = pin!(tokio::task::yield_now()).poll(context);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = BusyPoll::BUDGET;

    fn looks_after(busy: &mut BusyPoll, waits: impl IntoIterator<Item = u64>) -> bool {
        waits.into_iter().for_each(|micros| busy.learn(Duration::from_micros(micros)));
        matches!(busy.mood, Mood::Looks(_))
    }

    #[test]
    fn looks_when_answers_come_soon_and_goes_on_when_that_makes_them_come_sooner() {
        let mut busy = BusyPoll::with_budget(BUDGET);
        assert!(!looks_after(&mut busy, [90; 3]), "three waits may be chance");
        assert!(looks_after(&mut busy, [90]));
        assert!(looks_after(&mut busy, [10; 10_000]));
        assert!(looks_after(&mut busy, [10, 90, 10, 3000, 10, 10, 10, 10, 10, 10, 10, 10]), "exceptions are forgiven");
    }

    #[test]
    fn sleeps_when_waits_are_long() {
        let mut busy = BusyPoll::with_budget(BUDGET);
        assert!(!looks_after(&mut busy, [1000; 10_000]));
        assert!(!looks_after(&mut busy, (0..10_000).map(|wait| if wait % 4 == 3 { 900 } else { 5 })), "bursts of four");
        assert!(looks_after(&mut busy, [10; 100]));
        assert!(!looks_after(&mut busy, [1000; 4]), "the stream has become slow");
    }

    #[test]
    fn a_stream_that_looking_does_not_make_faster_is_hardly_ever_looked_for() {
        let mut busy = BusyPoll::with_budget(BUDGET);
        let looked = (0..100_000).filter(|_| looks_after(&mut busy, [90])).count();
        assert!(looked < 100_000 / 50, "looked {looked} times");
    }

    #[test]
    fn a_stream_is_not_looked_for() {
        let mut busy = BusyPoll::with_budget(BUDGET);
        let mut looked_after = |waits: usize, frames: usize| {
            let mut looked = 0;
            for _ in 0..waits {
                looked += usize::from(busy.begin());
                busy.end();
                busy.brought(frames / 2);
                busy.brought(frames - frames / 2);
            }
            looked
        };
        assert_eq!(looked_after(1000, STREAM), 0, "short waits that bring much");
        assert!(looked_after(1000, STREAM - 1) > 900);
        assert!(looked_after(1000, STREAM) < 10, "answers have become a stream");
        assert!(looked_after(1000, 1) > 900, "and a stream answers");
    }

    #[test]
    fn one_without_a_budget_never_looks() {
        let mut busy = BusyPoll::with_budget(Duration::ZERO);
        for _ in 0..100 {
            assert!(!busy.begin());
            busy.end();
        }
    }

    #[tokio::test]
    async fn looks_no_longer_than_its_budget_and_lets_others_run() {
        let mut busy = BusyPoll::with_budget(Duration::from_millis(20));
        busy.begin();
        let others = tokio::spawn(async {
            tokio::task::yield_now().await;
            true
        });
        let mut looks = 0;
        let found = busy.look(|| {
            looks += 1;
            Ok::<_, io::Error>(false)
        });
        assert!(!found.await.unwrap());
        assert!(!busy.begin(), "the budget of this wait is spent");
        assert!(looks > 1);
        assert!(others.is_finished(), "other tasks ran meanwhile");
    }
}

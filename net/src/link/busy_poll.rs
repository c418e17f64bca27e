//! Looking for a while before sleeping.
//!
//! To wake a sleeping processor takes longer (20 us on a virtual machine) than many looks at a ring or a socket, so
//! that who expects an answer soon does better to look for it. Who looks in vain burns a processor, though: the budget
//! is about what a sleep and a wake-up would have cost (competitive spinning; Karlin, Li, Manasse and Owicki, SOSP
//! 1991), and it is spent only where recent waits say that it is worth it, as in the halt polling of hypervisors.
//! What a wake-up costs differs from machine to machine: up to four budgets are spent where that halves the waits.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{Readiness, Socket};

/// Waits within what is looked through, one after the other, after which looking is tried; at first ...
const PROMISING: u32 = 4;
/// ... after a trial that failed so many times as many, ...
const MORE_PROMISING: u32 = 8;
/// ... but not more than this.
const MOST_PROMISING: u32 = 4096;
/// Budgets that a look takes at most: where waking a processor takes 50 us, an answer over four hops takes 250.
const REACH: u32 = 4;
/// Waits that are judged together, to look on or not. The first half does not count: who answers may have begun to look
/// a moment later, and only when both do the waits become short.
const WINDOW: u32 = 32;
/// Looks in such a window that ended without anything, or in a stream, and end looking at once.
const MISSES: u32 = 4;
/// Budgets that a wait is taken to save, when looking for it was worth it: about a wake-up. Where the others of its
/// window took more than that, as with ticks that bring two frames each, looking does not pay.
const SAVED: f64 = 0.25;
/// Windows of waits that are short for as long as they were before only; then it sleeps for a few, to measure again.
const UNMEASURED: u32 = 64;
/// So few.
const MEASURED: u32 = 8;
/// One part of so many is what the last wait weighs in the mean of them.
const MEAN: u32 = 8;
/// Frames that a wait of a stream brings: to be woken costs each of them little, and who looks instead finds few at a
/// time, chases their sender through the memory that it has just written, and makes both slower.
const STREAM: usize = 24;

/// Decides for one who waits, again and again, whether to look for a while before sleeping.
#[derive(Debug)]
pub struct BusyPoll {
    /// Waits of up to three quarters of it are worth looking; zero: never.
    budget: Duration,
    mood: Mood,
    /// Waits after which it tries.
    needed: u32,
    /// What the waits before it looked took, or those since it has slept again: their mean.
    asleep: Duration,
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
    /// Looks first.
    Looks(Window),
}

/// What has come of looking since it was last judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Window {
    waits: u32,
    /// In the half that counts: waits that were worth it, and how long the others were looked through.
    worth: u32,
    vain: Duration,
    misses: u32,
    /// Waits that were worth it only by what those before took.
    halved: u32,
    /// Windows in a row in which most were such.
    unmeasured: u32,
}

impl BusyPoll {
    /// What is usually enough: about the time in which both sides of a hop are woken on a machine that is fast at it.
    pub const BUDGET: Duration = Duration::from_micros(100);

    /// One that looks for at most `budget` at a time, or four times as long where that halves the waits; on a single
    /// processor, where whoever is waited for needs it, never.
    pub fn new(budget: Duration) -> Self {
        let is_alone = std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
        Self::with_budget(if is_alone { Duration::ZERO } else { budget })
    }

    fn with_budget(budget: Duration) -> Self {
        Self {
            budget,
            mood: Mood::Sleeps(0),
            needed: PROMISING,
            asleep: Duration::ZERO,
            since: None,
            waited: None,
            brought: 0,
        }
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
            Some(since) => matches!(self.mood, Mood::Looks(_)) && since.elapsed() <= self.longest(),
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
        self.mood = match self.mood {
            Mood::Sleeps(_) if is_stream || waited > self.budget.saturating_mul(REACH) => Mood::Sleeps(0),
            Mood::Sleeps(count) => {
                self.asleep = if count == 0 { waited } else { (self.asleep * (MEAN - 1) + waited) / MEAN };
                if count + 1 >= self.needed { Mood::Looks(Window::default()) } else { Mood::Sleeps(count + 1) }
            }
            Mood::Looks(window) => self.judge(self.counted(window, waited, is_stream)),
        };
    }

    /// A wait that was looked through.
    fn counted(&self, mut window: Window, waited: Duration, is_stream: bool) -> Window {
        let is_short = waited <= self.budget / 4 * 3;
        let is_worth = !is_stream && (is_short || waited <= self.asleep / 2);
        window.waits += 1;
        window.misses += u32::from(is_stream || waited > self.longest());
        if window.waits > WINDOW / 2 {
            window.worth += u32::from(is_worth);
            window.halved += u32::from(is_worth && !is_short);
            window.vain += if is_worth { Duration::ZERO } else { waited.min(self.longest()) };
        }
        window
    }

    fn judge(&mut self, window: Window) -> Mood {
        let gives_up = |needed: &mut u32| {
            *needed = needed.saturating_mul(MORE_PROMISING).min(MOST_PROMISING);
            Mood::Sleeps(0)
        };
        if window.misses >= MISSES {
            return gives_up(&mut self.needed);
        }
        if window.waits < WINDOW {
            return Mood::Looks(window);
        }
        if window.vain > self.budget.mul_f64(SAVED).saturating_mul(window.worth) {
            return gives_up(&mut self.needed);
        }
        self.needed = self.needed.saturating_sub(WINDOW).max(PROMISING);
        let is_unmeasured = window.halved > WINDOW / 4;
        let unmeasured = if is_unmeasured { window.unmeasured + 1 } else { 0 };
        if unmeasured >= UNMEASURED {
            self.needed = MEASURED.max(self.needed);
            return Mood::Sleeps(0);
        }
        Mood::Looks(Window { unmeasured, ..Window::default() })
    }

    /// How long a look may take.
    fn longest(&self) -> Duration {
        self.budget.max(self.asleep.saturating_mul(2)).min(self.budget.saturating_mul(REACH))
    }

    /// Looks until there is something (`true`) or it has looked for as long as it may, and is to sleep. Between two looks
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
        if self.since.is_none_or(|since| since.elapsed() > self.longest()) {
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

    /// How many of these waits, again and again, are looked through.
    fn looked(waits: &[u64], times: usize) -> usize {
        let mut busy = BusyPoll::with_budget(BUDGET);
        let waits = waits.iter().cycle().take(times);
        waits.filter(|wait| looks_after(&mut busy, [**wait])).count()
    }

    #[test]
    fn looks_when_answers_come_soon_and_goes_on_when_that_makes_them_come_sooner() {
        let mut busy = BusyPoll::with_budget(BUDGET);
        assert!(!looks_after(&mut busy, [90; 3]), "three waits may be chance");
        assert!(looks_after(&mut busy, [90]));
        assert!(looks_after(&mut busy, [10; 10_000]));
        assert!(looks_after(&mut busy, [10, 90, 10, 3000, 10, 10, 10, 10, 10, 10, 10, 10]), "exceptions are forgiven");
        assert!(looked(&[10, 10, 10, 10, 10, 10, 10, 10, 10, 100], 100_000) > 99_000, "and some more");
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
    fn looks_for_longer_where_that_halves_the_waits() {
        let mut busy = BusyPoll::with_budget(BUDGET);
        assert!(!looks_after(&mut busy, [380; 3]));
        assert!(looks_after(&mut busy, [380]));
        assert!(busy.longest() > BUDGET * 3 && busy.longest() <= BUDGET * REACH);
        let one_begins_later = [380; WINDOW as usize / 2];
        assert!(looks_after(&mut busy, one_begins_later), "whoever answers sleeps yet");
        assert!(looks_after(&mut busy, [180; WINDOW as usize]), "sleeping, each took 200 us more");
        assert!(!looks_after(&mut busy, [380; WINDOW as usize / 2]), "it gains nothing any more");
        assert!(!looks_after(&mut busy, [401; 10_000]), "farther than it looks");
    }

    /// Waits that take `asleep` for who sleeps and `awake` for who looks: how many of 100,000 are looked through.
    fn looked_of(asleep: u64, awake: u64, busy: &mut BusyPoll) -> usize {
        let mut looked = 0;
        for _ in 0..100_000 {
            let looks = matches!(busy.mood, Mood::Looks(_));
            looked += usize::from(looks);
            looks_after(busy, [if looks { awake } else { asleep }]);
        }
        looked
    }

    #[test]
    fn what_looking_gains_is_measured_again() {
        let mut busy = BusyPoll::with_budget(BUDGET);
        assert!(looked_of(380, 180, &mut busy) > 99_000, "it halves the waits");
        assert!(looked_of(180, 180, &mut busy) < 100_000 / 20, "a timer that has become faster");
        assert!(looked_of(380, 180, &mut busy) > 90_000, "it does again");
        assert!(looked_of(90, 30, &mut busy) > 99_000);
    }

    #[test]
    fn a_timer_that_looking_does_not_make_faster_is_hardly_ever_looked_for() {
        for period in [150, 250, 390] {
            let looked = looked(&[period], 100_000);
            assert!(looked < 100_000 / 100, "{period}: looked {looked} times");
        }
    }

    #[test]
    fn ticks_of_several_frames_are_hardly_ever_looked_for() {
        let frames_apart = [5; 8];
        for (tick, apart) in [(240, &[10][..]), (390, &[10]), (140, &[60]), (240, &[10, 10]), (390, &frames_apart)] {
            let waits: Vec<u64> = apart.iter().copied().chain([tick]).collect();
            let looked = looked(&waits, 100_000);
            assert!(looked < 100_000 / 50, "{waits:?}: looked {looked} times");
        }
    }

    #[test]
    fn a_budget_without_end_is_one() {
        let mut busy = BusyPoll::with_budget(Duration::MAX);
        assert!(looks_after(&mut busy, (0..1000).map(|wait| wait * 1_000_000)));
        assert_eq!(busy.longest(), Duration::MAX);
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

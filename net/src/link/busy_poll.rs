//! Looking for a while before sleeping.
//!
//! To wake a sleeping processor takes longer (20 us on a virtual machine) than many looks at a ring or a socket, so
//! that who expects an answer soon does better to look for it. Who looks in vain burns a processor, though: the budget
//! is about what a sleep and a wake-up would have cost (competitive spinning; Karlin, Li, Manasse and Owicki, SOSP
//! 1991), and it is spent only where recent waits say that it is worth it, as in the halt polling of hypervisors.
//! Whether it is, the frames say: where looking pays, more of them come in the same time, as the answers to what was sent
//! sooner, while a timer does not tick faster for it; or they come so fast that their sender would do little else than
//! wake somebody. What a wake-up costs differs from machine to machine: a look may take up to four budgets where waits
//! are as long.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{Readiness, Socket};

/// Waits within what is looked through after which looking is tried; a longer one counts against as many. At first ...
const PROMISING: u32 = 4;
/// ... after a trial that failed so many times as many, ...
const MORE_PROMISING: u32 = 8;
/// ... but not more than this.
const MOST_PROMISING: u32 = 4096;
/// Budgets that a look takes at most: where waking a processor takes 50 us, an answer over four hops takes 250.
const REACH: u32 = 4;
/// Waits that are judged together, to look on or not, ...
const WINDOW: u32 = 32;
/// ... but for the first: who answers may have begun to look a moment later, and only when both do the waits are short.
const GRACE: u32 = 8;
/// Looks in a row that ended without anything, or in a stream, and end looking at once.
const MISSES: u32 = 4;
/// Looking has gained something if frames come after so many percent of the time that they took before.
const GAIN: u32 = 80;
/// Windows after which it sleeps for a few waits, to measure again what it gains; each time twice as many, ...
const UNMEASURED: u32 = 64;
/// ... but not more than this.
const MOST_UNMEASURED: u32 = 512;
/// So few waits.
const MEASURED: u32 = 8;
/// Frames that a wait of a stream brings: to be woken costs each of them little, and who looks instead finds few at a
/// time, chases their sender through the memory that it has just written, and makes both slower.
const STREAM: usize = 24;

/// Decides for one who waits, again and again, whether to look for a while before sleeping.
#[derive(Debug)]
pub struct BusyPoll {
    /// How long a look may take where waits are short; zero: never.
    budget: Duration,
    mood: Mood,
    /// Waits after which it tries.
    needed: u32,
    /// What came while it slept last.
    asleep: Pace,
    /// Windows after which it measures again.
    measured_after: u32,
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
    pace: Pace,
    /// Time in waits that took less than a wake-up does.
    short: Duration,
    misses: u32,
    /// Windows before it since what it gains was measured.
    unmeasured: u32,
}

/// Some waits, and what they brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pace {
    time: Duration,
    waits: u32,
    frames: u32,
}

impl Pace {
    /// Waits from when on those before count half.
    const MANY: u32 = 64;

    fn add(&mut self, waited: Duration, frames: usize) {
        if self.waits >= Self::MANY {
            *self = Self { time: self.time / 2, waits: self.waits / 2, frames: self.frames / 2 };
        }
        self.time += waited;
        self.waits += 1;
        // What brings no frame may be a confirmation.
        self.frames += u32::try_from(frames.clamp(1, STREAM)).unwrap_or(1);
    }

    fn of_a_wait(&self) -> Duration {
        self.time / self.waits.max(1)
    }

    fn of_a_frame(&self) -> Duration {
        self.time / self.frames.max(1)
    }
}

impl BusyPoll {
    /// What is usually enough: about the time in which both sides of a hop are woken on a machine that is fast at it.
    pub const BUDGET: Duration = Duration::from_micros(100);

    /// One that looks for at most `budget` at a time, or four times as long where waits are as long; on a single
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
            asleep: Pace::default(),
            measured_after: UNMEASURED,
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
        let frames = std::mem::take(&mut self.brought);
        let is_stream = frames >= STREAM;
        // Longer ones say nothing about looking, and would outweigh all others.
        let time = waited.min(self.reach());
        self.mood = match self.mood {
            Mood::Sleeps(_) if is_stream => self.sleep(),
            Mood::Sleeps(count) => {
                let count = if waited > self.reach() { count.saturating_sub(PROMISING) } else { count + 1 };
                if count == 0 {
                    return self.mood = self.sleep();
                }
                self.asleep.add(time, frames);
                if count >= self.needed { Mood::Looks(Window::default()) } else { Mood::Sleeps(count) }
            }
            Mood::Looks(mut window) => {
                let is_miss = is_stream || waited > self.longest();
                window.misses = if is_miss { window.misses + 1 } else { 0 };
                window.waits += 1;
                if window.waits > GRACE {
                    window.pace.add(time, frames);
                    window.short += if waited <= self.budget / 4 { waited } else { Duration::ZERO };
                }
                self.judge(window)
            }
        };
    }

    fn judge(&mut self, window: Window) -> Mood {
        let Window { waits, pace, short, misses, unmeasured } = window;
        if misses < MISSES && waits < WINDOW {
            return Mood::Looks(window);
        }
        let has_gained = pace.of_a_frame() <= self.asleep.of_a_frame() * GAIN / 100;
        // Most of the time went into waits that were over before a processor could have been woken, which is dear to
        // whoever would have to do it as well.
        let is_cheap = short >= pace.time / 2;
        if misses >= MISSES || !has_gained && !is_cheap {
            self.needed = self.needed.saturating_mul(MORE_PROMISING).min(MOST_PROMISING);
            self.measured_after = UNMEASURED;
            return self.sleep();
        }
        self.needed = PROMISING;
        let unmeasured = if is_cheap { 0 } else { unmeasured + 1 };
        if unmeasured >= self.measured_after {
            self.measured_after = (self.measured_after * 2).min(MOST_UNMEASURED);
            self.needed = MEASURED;
            return self.sleep();
        }
        Mood::Looks(Window { unmeasured, ..Window::default() })
    }

    fn sleep(&mut self) -> Mood {
        self.asleep = Pace::default();
        Mood::Sleeps(0)
    }

    /// How long a look may take.
    fn longest(&self) -> Duration {
        self.budget.max(self.asleep.of_a_wait() * 2).min(self.reach())
    }

    /// How long a look may take at most.
    fn reach(&self) -> Duration {
        self.budget.saturating_mul(REACH)
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
mod tests;

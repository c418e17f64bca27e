//! A client's question for an arena, and who waits for the answer.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use busway_shm::ArenaKind;
use parking_lot::Mutex;

/// After the broker has refused an arena it is not asked again for this long.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// How long an answer is waited for: to be scheduled on a busy machine ...
const PATIENCE: Duration = Duration::from_millis(100);
/// ... and for each MiB. Its pages are made by clearing them, which takes half a millisecond, or several times that when
/// others want the memory, too.
const PATIENCE_FOR_MIB: Duration = Duration::from_millis(10);

/// The one question that may be open.
#[derive(Debug, Default)]
pub(super) struct ArenaQuestion {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Option<Open>,
    refused: Option<Instant>,
    waiting: Vec<Waker>,
    /// The lane has ended: nobody asks or answers any more.
    is_closed: bool,
}

/// What the broker was asked for and has not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) length: usize,
    pub(super) kind: ArenaKind,
    since: Instant,
    /// It was waited for long enough: from now on nobody waits.
    is_overdue: bool,
}

impl State {
    fn may_ask(&self) -> bool {
        let is_refused = self.refused.is_some_and(|since| since.elapsed() < REFUSED_FOR);
        !self.is_closed && self.open.is_none() && !is_refused
    }
}

impl ArenaQuestion {
    /// Whether the broker is to be asked for such an arena now; then the question is open.
    pub(super) fn ask(&self, length: usize, kind: ArenaKind) -> bool {
        let mut state = self.state.lock();
        if !state.may_ask() {
            return false;
        }
        state.open = Some(Open { length, kind, since: Instant::now(), is_overdue: false });
        true
    }

    /// Whether a question could be asked now.
    pub(super) fn may_ask(&self) -> bool {
        self.state.lock().may_ask()
    }

    /// What is asked for, if there is an open question.
    pub(super) fn open(&self) -> Option<Open> {
        self.state.lock().open
    }

    /// Ready when there is nothing to wait for: the broker has answered, or will not within its time, or the question
    /// is one that does not help.
    pub(super) fn poll_answer(&self, context: &mut Context<'_>, helps: impl FnOnce(&Open) -> bool) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.open.as_ref().is_some_and(|open| !open.is_overdue && helps(open)) {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// The broker has answered. What it has granted can be used before this is called, so that who is woken finds it.
    pub(super) fn answered(&self, is_granted: bool) {
        self.change(|state| {
            state.open = None;
            if !is_granted {
                state.refused = Some(Instant::now());
            }
        });
    }

    /// Until when the answer is waited for, if somebody waits.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.state.lock();
        let open = state.open.filter(|_| !state.waiting.is_empty())?;
        let mib = u32::try_from(open.length >> 20).unwrap_or(u32::MAX);
        Some(open.since + PATIENCE + PATIENCE_FOR_MIB.saturating_mul(mib))
    }

    /// Nobody waits for this answer any longer.
    pub(super) fn give_up(&self) {
        self.change(|state| {
            if let Some(open) = &mut state.open {
                open.is_overdue = true;
            }
        });
    }

    /// The lane has ended.
    pub(super) fn close(&self) {
        self.change(|state| {
            state.is_closed = true;
            state.open = None;
        });
    }

    /// Whatever changes is a reason to look again.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whoever waits is woken by each change, once, and waits no longer than there is something to wait for.
    #[test]
    fn who_waits_is_woken_by_whatever_happens_to_the_question() {
        let changes: [fn(&ArenaQuestion); 4] =
            [|it| it.answered(true), |it| it.answered(false), ArenaQuestion::give_up, ArenaQuestion::close];
        for (number, change) in changes.into_iter().enumerate() {
            let woken = Arc::new(Count::default());
            let waker = Waker::from(Arc::clone(&woken));
            let question = ArenaQuestion::default();
            let poll = |helps: bool| question.poll_answer(&mut Context::from_waker(&waker), |_| helps);
            assert!(poll(true).is_ready(), "nobody was asked");
            assert!(question.ask(4096, ArenaKind::Shared));
            assert!(!question.ask(4096, ArenaKind::Shared), "one question at a time");
            assert!(poll(false).is_ready() && question.deadline().is_none());
            assert!(poll(true).is_pending() && poll(true).is_pending() && question.deadline().is_some());
            change(&question);
            assert_eq!(woken.0.load(Ordering::Relaxed), 1, "change {number}");
            assert!(poll(true).is_ready() && question.deadline().is_none(), "change {number}");
            assert_eq!(question.ask(4096, ArenaKind::Shared), number == 0, "change {number}");
        }
    }
}

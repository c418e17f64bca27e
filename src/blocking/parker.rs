//! A thread that sleeps while a future is pending.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Wakes one thread.
pub(crate) struct Parker {
    thread: Thread,
    /// Somebody wants the future to be polled. A thread may wake for reasons of its own: this one counts.
    is_woken: AtomicBool,
}

/// The future is pending, and this thread may not wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct MayNotWait;

thread_local! {
    /// The last one that this thread has used; a future that waits for another amid its poll finds none, and makes one.
    static SPARE: Cell<Option<Arc<Parker>>> = const { Cell::new(None) };
}

impl Parker {
    /// Polls a future on this thread until it is ready.
    #[cfg(feature = "rpc")]
    pub(crate) fn block_on<F: Future>(future: F) -> Option<F::Output> {
        Self::wait(future, None, || true).ok().flatten()
    }

    /// Polls a future on this thread until it is ready, for so long at most, if at all; `None` when it is late.
    ///
    /// # Errors
    /// When it is not ready at once, and `may_wait` says no.
    pub(super) fn wait<F: Future>(
        future: F,
        patience: Option<Duration>,
        may_wait: impl FnOnce() -> bool,
    ) -> Result<Option<F::Output>, MayNotWait> {
        let parker = Self::take();
        let waker = Waker::from(Arc::clone(&parker));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        let mut output = future.as_mut().poll(&mut context);
        if output.is_pending() {
            if !may_wait() {
                return Err(MayNotWait);
            }
            // Later than all time is never.
            let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
            while output.is_pending() && parker.park(deadline) {
                output = future.as_mut().poll(&mut context);
            }
        }
        parker.put_back();
        Ok(match output {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    }

    /// Sleeps until somebody wakes it; says whether that was in time.
    fn park(&self, deadline: Option<Instant>) -> bool {
        while !self.is_woken.swap(false, Ordering::Acquire) {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(left) if left.is_zero() => return false,
                Some(left) => thread::park_timeout(left),
            }
        }
        true
    }

    fn take() -> Arc<Self> {
        // A thread that ends has none any more.
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        spare.unwrap_or_else(|| Arc::new(Self { thread: thread::current(), is_woken: AtomicBool::new(false) }))
    }

    fn put_back(self: Arc<Self>) {
        let _ = SPARE.try_with(|spare| spare.set(Some(self)));
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use super::*;

    fn run<F: Future>(future: F) -> F::Output {
        Parker::wait(future, None, || true).ok().flatten().expect("there is all the time")
    }

    /// Pending until another thread has woken it so many times.
    async fn woken(times: usize) {
        let mut left = times;
        poll_fn(move |context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            let waker = context.waker().clone();
            thread::spawn(move || waker.wake());
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn a_future_is_polled_whenever_it_is_woken() {
        assert_eq!(run(ready(7)), 7);
        run(woken(100));
    }

    #[test]
    fn a_wake_that_was_meant_for_somebody_else_is_none() {
        thread::current().unpark();
        run(woken(3));
        thread::current().unpark();
        let late = Parker::wait(pending::<()>(), Some(Duration::from_millis(5)), || true);
        assert!(matches!(late, Ok(None)));
    }

    #[test]
    fn a_future_may_wait_for_another_amid_its_poll() {
        let mut is_first = true;
        run(poll_fn(move |context| {
            if !is_first {
                return Poll::Ready(());
            }
            is_first = false;
            // The inner one must not swallow this.
            context.waker().wake_by_ref();
            run(woken(2));
            Poll::Pending
        }));
    }

    #[test]
    fn who_may_not_wait_is_told_only_if_it_would_have_to() {
        assert!(matches!(Parker::wait(ready(7), None, || false), Ok(Some(7))));
        assert!(Parker::wait(pending::<()>(), None, || false).is_err());
    }
}

//! On what the handlers of a service run.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::blocking::Parker;

/// On what the handlers of a service run.
#[derive(Clone, Debug)]
pub(crate) enum Workers {
    /// On tasks: they await.
    Tasks,
    /// On threads: they block.
    Threads(Arc<Starting>),
}

/// Whether a thread is on its way to the requests that wait. It starts the next one if it finds more than it takes: so
/// a burst of requests that are quickly handled does not start a thread for each.
#[derive(Debug, Default)]
pub(crate) struct Starting(AtomicBool);

/// A thread on its way; it has arrived when this is dropped.
pub(super) struct OnItsWay(Option<Arc<Starting>>);

impl Workers {
    /// Threads, none yet.
    pub(crate) fn threads() -> Self {
        Self::Threads(Arc::default())
    }

    /// Whether one more may be started; none when another is about to look for work.
    pub(super) fn begin(&self) -> Option<OnItsWay> {
        match self {
            Self::Tasks => Some(OnItsWay(None)),
            Self::Threads(starting) => {
                let is_free = !starting.0.swap(true, Ordering::AcqRel);
                is_free.then(|| OnItsWay(Some(Arc::clone(starting))))
            }
        }
    }

    /// Starts work that ends by itself.
    pub(super) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Tasks => drop(tokio::spawn(work)),
            // A task in between: if the system has no thread, it alone panics, and not who reads.
            Self::Threads(_) => drop(tokio::spawn(on_thread(work))),
        }
    }
}

/// Work on a thread of its own.
pub(super) async fn on_thread(work: impl Future<Output = ()> + Send + 'static) {
    // A panic of a handler's is caught where it runs, and the runtime does not end before the process.
    let _ = tokio::task::spawn_blocking(|| Parker::block_on(work)).await;
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        if let Some(starting) = &self.0 {
            starting.0.store(false, Ordering::Release);
        }
    }
}

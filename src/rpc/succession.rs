//! RPC layers that follow each other on one client.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::calls::Calls;

/// What the RPC layers of a client have in common: the newest reads, for the calls of those before it, too, whose handlers
/// may still run.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    pub(super) calls: Arc<Calls>,
    /// Ends the reading of the newest.
    stop: Mutex<Arc<Notify>>,
    /// What is done to learn who leaves, for the calls of all; held while that changes.
    pub(super) watching: tokio::sync::Mutex<Watching>,
    /// All of it is done.
    pub(super) is_watching: AtomicBool,
}

/// Steps on the way to the announcements: who calls may give up amid them, and the next one goes on.
#[derive(Debug, Default)]
pub(super) struct Watching {
    pub(super) is_counted: bool,
    pub(super) is_subscribed: bool,
}

impl Succession {
    /// One more begins to read, and the one before it ends. Returns what ends this one.
    pub(super) fn begin(&self) -> Arc<Notify> {
        let stop = Arc::new(Notify::new());
        mem::replace(&mut *self.stop.lock(), Arc::clone(&stop)).notify_one();
        stop
    }

    /// Whether no other has begun to read since the one that this ends.
    pub(super) fn is_newest(&self, stop: &Arc<Notify>) -> bool {
        Arc::ptr_eq(&self.stop.lock(), stop)
    }
}

//! RPC layers that follow each other on one client.

use std::mem;
use std::sync::Arc;

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
}

impl Succession {
    /// One more begins to read, and the one before it ends. Returns what ends this one.
    pub(super) fn begin(&self) -> Arc<Notify> {
        let stop = Arc::new(Notify::new());
        mem::replace(&mut *self.stop.lock(), Arc::clone(&stop)).notify_one();
        stop
    }
}

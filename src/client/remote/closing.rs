//! The end of a connection: what was accepted is still written.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;

#[cfg(feature = "shm")]
use super::lane_receiving::Side;
use super::{CLOSED, Remote};
use crate::client::ConnectionState;
use crate::client::error::SendError;
use crate::client::waiting_room::WaitingRoom;

/// How long a dropped client may block its thread, or the end of its runtime, to write what it had accepted ...
const LAST_WRITE: Duration = Duration::from_secs(5);
/// ... and then to let the broker read it.
const LINGER: Duration = Duration::from_secs(1);

impl Remote {
    pub(in crate::client) async fn flush(&self, room: &WaitingRoom) -> Result<(), SendError> {
        let losses = self.losses.load(Ordering::Acquire);
        self.flush_all();
        // Others may go on sending: what they send meanwhile is not waited for.
        let bytes = self.outbox.level().taken_bytes;
        #[cfg(feature = "shm")]
        if let Some(lane) = self.lane.current() {
            let frames = lane.taken();
            if !room.until(|context| lane.poll_written(context, frames)).await {
                return Err(SendError::Disconnected);
            }
        }
        let is_written = room.until(|context| self.outbox.poll_written_to(context, bytes)).await;
        // A new connection that has everything says nothing of what was lost with the old one.
        if is_written && self.losses.load(Ordering::Acquire) == losses { Ok(()) } else { Err(SendError::Disconnected) }
    }

    pub(in crate::client) async fn close(&self) {
        self.close_within(self.options.timeout).await;
    }

    /// As [`close`](Remote::close), with the patience of the last clone.
    pub(in crate::client) async fn leave(&self) {
        self.close_within(LAST_WRITE).await;
    }

    async fn close_within(&self, patience: Duration) {
        self.begin_closing();
        if self.is_of_parent() {
            return;
        }
        self.flush_all();
        if !self.is_closed() {
            let limited = self.within_runtime(|| tokio::time::timeout(patience, self.wind_up()));
            let _ = limited.await;
        }
        self.end(CLOSED);
    }

    /// Makes a timer, also where the caller has no runtime.
    pub(in crate::client) fn within_runtime<T>(&self, make: impl FnOnce() -> T) -> T {
        let _entered = Handle::try_current().is_err().then(|| self.runtime.enter());
        make()
    }

    /// The last clone is gone: what was accepted is written, without anybody waiting for it if possible.
    pub(in crate::client) fn abandon(remote: &Arc<Self>) {
        remote.begin_closing();
        if remote.is_closed() || remote.is_of_parent() {
            return;
        }
        remote.flush_all();
        if Handle::try_current().is_err() {
            // Nobody knows whether the runtime runs again before the program ends.
            #[cfg(feature = "shm")]
            if let Some(lane) = remote.lane.current()
                && remote.outbox.flush_blocking(LAST_WRITE)
            {
                lane.flush_blocking(LAST_WRITE);
            }
            remote.outbox.flush_blocking(LAST_WRITE);
        }
        // When the runtime ends before the task does, or has ended, dropping the task writes what is left.
        let last = LastWrite::of(remote);
        remote.runtime.spawn(async move {
            let _ = tokio::time::timeout(LAST_WRITE, last.remote.wind_up()).await;
            last.remote.end(CLOSED);
        });
    }

    /// Whether this process is a child that was forked with the connection: the socket is its parent's, too, who goes on
    /// with it. One system call.
    fn is_of_parent(&self) -> bool {
        self.process != std::process::id()
    }

    /// From now on nothing more is accepted.
    fn begin_closing(&self) {
        self.closing.store(true, Ordering::Release);
        // Who waits to read goes on to the end.
        self.queue.room().notify_waiters();
    }

    /// Writes what was accepted, and reads on until the broker has closed its end: who closes with confirmations or
    /// frames on their way makes the other end's writing fail, and some then do not read on.
    async fn wind_up(&self) {
        #[cfg(feature = "shm")]
        if let Some(lane) = self.lane.current() {
            let frames = lane.finish();
            poll_fn(|context| lane.poll_written(context, frames)).await;
        }
        if poll_fn(|context| self.outbox.poll_finish(context)).await {
            let _ = self.state.subscribe().wait_for(ConnectionState::is_closed).await;
        }
    }

    /// Ends the connection for good.
    pub(super) fn end(&self, reason: &str) {
        self.lose(ConnectionState::closed(reason));
        self.queue.close();
        self.queued.notify_one();
        self.closed.notify_one();
    }

    /// The connection is gone: so is what waited to be written or confirmed.
    pub(super) fn lose(&self, state: ConnectionState) {
        self.losses.fetch_add(1, Ordering::AcqRel);
        // Whoever learns of it by an operation finds it in the state, and the other way round.
        ConnectionState::change(&self.state, state, || {
            self.outbox.close();
            #[cfg(feature = "shm")]
            self.lane.lose();
        });
        self.pending.fail();
        #[cfg(feature = "rpc")]
        self.questions.fail();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().is_closed()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn flush_all(&self) {
        self.outbox.flush();
        #[cfg(feature = "shm")]
        if let Some(lane) = self.lane.current() {
            lane.flush();
        }
    }
}

/// Writes what is left and ends the connection when it is dropped before its task has done that.
pub(super) struct LastWrite {
    remote: Arc<Remote>,
    /// What the connection's task has of a lane. It goes last: until the connection has ended the broker hands things out
    /// that only this gives back.
    #[cfg(feature = "shm")]
    pub(super) side: Option<Side>,
}

impl LastWrite {
    pub(super) fn of(remote: &Arc<Remote>) -> Self {
        Self {
            remote: Arc::clone(remote),
            #[cfg(feature = "shm")]
            side: None,
        }
    }
}

impl Drop for LastWrite {
    fn drop(&mut self) {
        if !self.remote.is_closed() && !self.remote.is_of_parent() {
            // What waits before the socket comes before what waits before the lane, and lets the broker read that.
            #[cfg(feature = "shm")]
            if let Some(lane) = self.remote.lane.current()
                && self.remote.outbox.flush_blocking(LAST_WRITE)
            {
                lane.flush_blocking(LAST_WRITE);
            }
            self.remote.outbox.finish_blocking(LAST_WRITE, LINGER);
            self.remote.end(CLOSED);
        }
    }
}

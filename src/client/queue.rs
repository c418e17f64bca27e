//! The frames that wait for the application.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
#[cfg(feature = "broker")]
use tokio::sync::watch;

#[cfg(feature = "broker")]
use super::ConnectionState;
use super::frame_batch::FrameBatch;
use super::frame_store::FrameStore;
use super::queue_rules::QueueRules;
#[cfg(any(feature = "broker", feature = "rpc"))]
use super::queue_state::Unpushed;
use super::queue_state::{AtWait, State};
use crate::frame::Frame;

/// A bounded queue, filled by the connection and shared by all clones of a client.
#[derive(Clone, Debug)]
pub(crate) struct ReceiveQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    arrived: Notify,
    /// How many wait for a frame. Who waits is counted before it looks whether there is one, under the lock; who takes
    /// one looks at the count after that, so that one of them sees the other.
    waiting: AtomicUsize,
    rules: Arc<QueueRules>,
    /// Something was taken, for those that wait for room.
    room: Notify,
    /// The state of an in-process client, whose connection this queue is.
    #[cfg(feature = "broker")]
    connection: Option<Arc<watch::Sender<ConnectionState>>>,
}

/// Frames that are taken at once by a full queue: for each alone its reader would have to be woken.
#[cfg(feature = "shm")]
const SHORTEST_TURN: usize = 8;

/// Counts itself among those that wait.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a queue holds and has taken.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(not(feature = "broker"), expect(dead_code, reason = "only an embedded broker counts per client"))]
pub(crate) struct QueueLevel {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
    pub(crate) taken_frames: u64,
    pub(crate) taken_bytes: u64,
    /// Frames that had arrived up to the one received last.
    pub(crate) position: u64,
}

impl ReceiveQueue {
    /// A queue that takes frames while it holds fewer than `frames` and less than `bytes` of payload. An empty one
    /// takes any frame.
    pub(crate) fn new(frames: usize, bytes: usize) -> Self {
        Self::with(Shared::new((frames, bytes), Arc::default(), AtWait::Take))
    }

    /// As [`new`](ReceiveQueue::new); its end is the end of this connection.
    #[cfg(feature = "broker")]
    pub(crate) fn of(connection: Arc<watch::Sender<ConnectionState>>, frames: usize, bytes: usize) -> Self {
        Self::with(Shared { connection: Some(connection), ..Shared::new((frames, bytes), Arc::default(), AtWait::Ask) })
    }

    /// As [`new`](ReceiveQueue::new), with the policies of another queue; whoever fills it does not wait.
    #[cfg(feature = "rpc")]
    pub(crate) fn with_rules_of(other: &Self, frames: usize, bytes: usize) -> Self {
        Self::with(Shared::new((frames, bytes), Arc::clone(&other.shared.rules), AtWait::Drop))
    }

    fn with(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Adds what one read brought, and the number of frames that the broker dropped behind it. What does not fit is
    /// dropped as the policies say, newest first without any, and counted. Returns how many frames had arrived before.
    pub(crate) fn extend(&self, batch: &mut FrameBatch, gap: u64) -> u64 {
        let mut state = self.shared.state.lock();
        let arrived = state.arrived;
        if batch.frames.is_empty() && gap == 0 {
            return arrived;
        }
        state.lost += batch.gaps;
        if state.closed || self.shared.rules.is_set() || !state.frames.has_room_for(batch) {
            for frame in batch.frames.drain(..) {
                let _ = state.push(frame, &self.shared.rules);
            }
        } else {
            state.arrived += batch.arrived();
            state.taken_frames += batch.frames.len() as u64;
            state.taken_bytes += batch.bytes;
            state.frames.append_batch(batch);
        }
        batch.reset();
        state.lose(gap);
        drop(state);
        self.shared.arrived.notify_one();
        arrived
    }

    /// Adds one frame.
    ///
    /// # Errors
    /// When there is no room.
    #[cfg(any(feature = "broker", feature = "rpc"))]
    pub(crate) fn push(&self, frame: Frame) -> Result<(), Unpushed> {
        let mut state = self.shared.state.lock();
        let pushed = state.push(frame, &self.shared.rules);
        drop(state);
        if pushed.is_ok() {
            self.shared.arrived.notify_one();
        }
        pushed
    }

    /// What is done with frames for which there is no room.
    #[cfg(any(feature = "broker", feature = "rpc"))]
    pub(crate) fn rules(&self) -> &QueueRules {
        &self.shared.rules
    }

    /// Tells those that wait for room that there is some.
    pub(crate) fn room(&self) -> &Notify {
        &self.shared.room
    }

    /// Whether the connection is not to be read from, because senders are to wait.
    pub(crate) fn holds_reader(&self) -> bool {
        if !self.shared.rules.has_wait() {
            return false;
        }
        let state = self.shared.state.lock();
        state.frames.is_full() && !state.closed
    }

    /// How many frames may be taken at once: where senders are to wait, about as many as there is room for, so that the
    /// broker sees each time that some were received.
    #[cfg(feature = "shm")]
    pub(crate) fn turn(&self) -> usize {
        if !self.shared.rules.has_wait() {
            return usize::MAX;
        }
        self.shared.state.lock().frames.room().max(SHORTEST_TURN)
    }

    /// A sender has waited for so long in vain: its frame is lost.
    #[cfg(feature = "broker")]
    pub(crate) fn stall(&self, bound: Duration) {
        let mut state = self.shared.state.lock();
        state.stalled_for = state.stalled_for.max(bound);
        state.lose(1);
    }

    /// A frame for which its sender should have waited is lost without that.
    #[cfg(feature = "broker")]
    pub(crate) fn miss(&self) {
        self.shared.state.lock().lose(1);
    }

    /// Frames that were dropped after they had been taken.
    #[cfg(feature = "broker")]
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.state.lock().dropped
    }

    /// The next frame; `None` when the queue is closed and empty.
    pub(crate) async fn recv(&self) -> Option<Frame> {
        // Not as one with the rest: each future within another moves the frame once more.
        if let Some(answer) = self.take(0, |frame, _| frame) {
            return answer;
        }
        self.wait(|frame, _| frame).await
    }

    /// As [`recv`](ReceiveQueue::recv), with the frame's place among all that have arrived, lost ones included.
    #[cfg(feature = "rpc")]
    pub(crate) async fn recv_placed(&self) -> Option<(Frame, u64)> {
        if let Some(answer) = self.take(0, |frame, position| (frame, position)) {
            return answer;
        }
        self.wait(|frame, position| (frame, position)).await
    }

    /// What comes next, or the end.
    async fn wait<T>(&self, place: impl Fn(Frame, u64) -> T) -> Option<T> {
        let _waiting = Waiting::new(&self.shared);
        loop {
            let arrived = self.shared.arrived.notified();
            if let Some(answer) = self.take(1, &place) {
                return answer;
            }
            arrived.await;
        }
    }

    /// The next frame if there is one.
    pub(crate) fn try_recv(&self) -> Option<Frame> {
        self.take(0, |frame, _| frame).flatten()
    }

    /// What there is, or the end. `own` is how many of those that wait are the caller itself.
    #[inline]
    fn take<T>(&self, own: usize, place: impl Fn(Frame, u64) -> T) -> Option<Option<T>> {
        let mut state = self.shared.state.lock();
        let Some(frame) = state.frames.pop() else {
            let is_end = state.closed;
            drop(state);
            if is_end && self.shared.is_awaited(own) {
                self.shared.arrived.notify_one();
            }
            return is_end.then_some(None);
        };
        state.position += 1 + frame.lost_before();
        state.stalled_for = Duration::ZERO;
        let position = state.position;
        // Another clone may be waiting for what is left.
        let is_awaited = (!state.frames.is_empty() || state.closed) && self.shared.is_awaited(own);
        drop(state);
        if is_awaited || self.shared.rules.has_wait() {
            self.shared.tell_others(is_awaited);
        }
        Some(Some(place(frame, position)))
    }

    /// No more frames will come; what is there can still be received.
    pub(crate) fn close(&self) {
        #[cfg(feature = "broker")]
        if let Some(connection) = &self.shared.connection {
            ConnectionState::change(connection, ConnectionState::closed("the broker ended the connection"), || {});
        }
        self.shared.state.lock().closed = true;
        self.shared.room.notify_waiters();
        self.shared.arrived.notify_waiters();
        self.shared.arrived.notify_one();
    }

    /// Frames that were dropped, here or by the broker, ever.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.state.lock().lost
    }

    /// How many frames have arrived, lost ones included.
    #[cfg(feature = "rpc")]
    pub(crate) fn arrived(&self) -> u64 {
        self.shared.state.lock().arrived
    }

    /// Whether nothing waits.
    #[cfg(feature = "rpc")]
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.state.lock().frames.is_empty()
    }

    /// What it holds and has taken.
    #[cfg_attr(not(feature = "broker"), expect(dead_code, reason = "only an embedded broker counts per client"))]
    pub(crate) fn level(&self) -> QueueLevel {
        let state = self.shared.state.lock();
        QueueLevel {
            frames: state.frames.len(),
            bytes: state.frames.waiting_bytes(),
            taken_frames: state.taken_frames,
            taken_bytes: state.taken_bytes,
            position: state.position,
        }
    }
}

impl Shared {
    fn new((frames, bytes): (usize, usize), rules: Arc<QueueRules>, at_wait: AtWait) -> Self {
        Self {
            state: Mutex::new(State::new(FrameStore::new(frames, bytes), at_wait)),
            arrived: Notify::new(),
            waiting: AtomicUsize::new(0),
            rules,
            room: Notify::new(),
            #[cfg(feature = "broker")]
            connection: None,
        }
    }

    /// Whether somebody waits besides `own` callers.
    fn is_awaited(&self, own: usize) -> bool {
        self.waiting.load(Ordering::Relaxed) > own
    }

    /// Something was taken.
    #[cold]
    fn tell_others(&self, is_more_awaited: bool) {
        if self.rules.has_wait() {
            self.room.notify_waiters();
        }
        if is_more_awaited {
            self.arrived.notify_one();
        }
    }
}

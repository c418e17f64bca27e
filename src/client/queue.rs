//! The frames that wait for the application.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
#[cfg(feature = "broker")]
use tokio::sync::watch;

#[cfg(feature = "broker")]
use super::ConnectionState;
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
    frames: usize,
    bytes: usize,
    /// The state of an in-process client, whose connection this queue is.
    #[cfg(feature = "broker")]
    connection: Option<Arc<watch::Sender<ConnectionState>>>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    bytes: usize,
    lost_since: u64,
    lost: u64,
    taken_frames: u64,
    taken_bytes: u64,
    /// Frames that had arrived up to the one taken last, lost ones included.
    position: u64,
    closed: bool,
    /// How many wait for a frame.
    waiting: usize,
}

/// Counts itself among those that wait.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.state.lock().waiting += 1;
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting -= 1;
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
}

impl ReceiveQueue {
    /// A queue that takes frames while it holds fewer than `frames` and less than `bytes` of payload. An empty one
    /// takes any frame.
    pub(crate) fn new(frames: usize, bytes: usize) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            arrived: Notify::new(),
            frames: frames.max(1),
            bytes: bytes.max(1),
            #[cfg(feature = "broker")]
            connection: None,
        };
        Self { shared: Arc::new(shared) }
    }

    /// As [`new`](ReceiveQueue::new); its end is the end of this connection.
    #[cfg(feature = "broker")]
    pub(crate) fn of(connection: Arc<watch::Sender<ConnectionState>>, frames: usize, bytes: usize) -> Self {
        let mut queue = Self::new(frames, bytes);
        if let Some(shared) = Arc::get_mut(&mut queue.shared) {
            shared.connection = Some(connection);
        }
        queue
    }

    /// Adds what one read brought. What does not fit is dropped, newest first, and counted. Returns how many frames
    /// had arrived before.
    pub(crate) fn extend(&self, frames: &mut Vec<Frame>) -> u64 {
        let mut state = self.shared.state.lock();
        let arrived = state.taken_frames + state.lost;
        if frames.is_empty() {
            return arrived;
        }
        for frame in frames.drain(..) {
            let _ = self.shared.push(&mut state, frame);
        }
        drop(state);
        self.shared.arrived.notify_one();
        arrived
    }

    /// Adds one frame, or gives it back when there is no room (which is counted).
    #[cfg(any(feature = "broker", feature = "rpc"))]
    pub(crate) fn push(&self, frame: Frame) -> Result<(), Box<Frame>> {
        let mut state = self.shared.state.lock();
        let pushed = self.shared.push(&mut state, frame);
        drop(state);
        if pushed.is_ok() {
            self.shared.arrived.notify_one();
        }
        pushed
    }

    /// The next frame; `None` when the queue is closed and empty.
    pub(crate) async fn recv(&self) -> Option<Frame> {
        self.recv_placed().await.map(|(frame, _)| frame)
    }

    /// As [`recv`](ReceiveQueue::recv), with the frame's place among all that have arrived, lost ones included.
    pub(crate) async fn recv_placed(&self) -> Option<(Frame, u64)> {
        if let Some(answer) = self.take(0) {
            return answer;
        }
        let _waiting = Waiting::new(&self.shared);
        loop {
            let arrived = self.shared.arrived.notified();
            if let Some(answer) = self.take(1) {
                return answer;
            }
            arrived.await;
        }
    }

    /// The next frame if there is one.
    pub(crate) fn try_recv(&self) -> Option<Frame> {
        self.take(0).flatten().map(|(frame, _)| frame)
    }

    /// `own` is how many of those that wait are the caller itself.
    fn take(&self, own: usize) -> Option<Option<(Frame, u64)>> {
        let mut state = self.shared.state.lock();
        let frame = state.frames.pop_front();
        if let Some(frame) = &frame {
            state.bytes -= frame.payload.weight();
            state.position += 1 + frame.lost_before;
        }
        let position = state.position;
        let more = !state.frames.is_empty() || state.closed;
        let is_awaited = state.waiting > own;
        drop(state);
        if more && is_awaited {
            // Another clone may be waiting for what is left.
            self.shared.arrived.notify_one();
        }
        match frame {
            Some(frame) => Some(Some((frame, position))),
            None if more => Some(None),
            None => None,
        }
    }

    /// No more frames will come; what is there can still be received.
    pub(crate) fn close(&self) {
        #[cfg(feature = "broker")]
        if let Some(connection) = &self.shared.connection {
            ConnectionState::change(connection, ConnectionState::closed("the broker ended the connection"), || {});
        }
        self.shared.state.lock().closed = true;
        self.shared.arrived.notify_waiters();
        self.shared.arrived.notify_one();
    }

    /// Frames that were dropped because the queue was full, ever.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.state.lock().lost
    }

    /// How many frames have arrived, lost ones included.
    #[cfg(feature = "rpc")]
    pub(crate) fn arrived(&self) -> u64 {
        let state = self.shared.state.lock();
        state.taken_frames + state.lost
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
            bytes: state.bytes,
            taken_frames: state.taken_frames,
            taken_bytes: state.taken_bytes,
        }
    }
}

impl Shared {
    fn push(&self, state: &mut State, mut frame: Frame) -> Result<(), Box<Frame>> {
        if state.closed || state.frames.len() >= self.frames || state.bytes >= self.bytes {
            state.lost += 1;
            state.lost_since += 1;
            return Err(Box::new(frame));
        }
        frame.lost_before += std::mem::take(&mut state.lost_since);
        state.bytes += frame.payload.weight();
        state.taken_frames += 1;
        state.taken_bytes += frame.payload.len() as u64;
        state.frames.push_back(frame);
        Ok(())
    }
}

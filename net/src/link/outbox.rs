//! The bounded queue before a socket, and who writes it.
//!
//! Whoever queued a frame also writes it, with one non-blocking call at the end of its batch. Only when the socket
//! takes no more does a task of the outbox's own wait for room. At any time at most one party writes; it takes the
//! whole queue under the lock and writes without it.

mod lent;
mod state;
mod writing;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::batch::Batch;
use super::socket::Socket;
pub use lent::{LendingPatience, Lent};
pub use state::Level;
use state::State;

/// How much an outbox holds. A frame is accepted while the outbox is below both limits before it, so that an empty
/// one takes any frame. Of the bytes, those of the body whose turn comes next do not count where frames are offered that
/// cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Frames.
    pub frames: usize,
    /// Bytes, bodies included.
    pub bytes: usize,
}

impl Default for OutboxLimits {
    /// 8192 frames and 64 MiB.
    fn default() -> Self {
        Self { frames: 8192, bytes: 64 << 20 }
    }
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The outbox is over a limit.
    Full,
    /// There is no connection, or it is broken.
    Closed,
    /// Frames of this connection go another way since [`Outbox::switch`].
    Switched,
}

/// Whether a batch has come by for the first time, and so has to remember to flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The first frame of this batch.
    First,
    /// Not the first.
    Again,
    /// Not the first, and so much waits that whoever writes now instead of when the batch is over needs less memory,
    /// and has it in the caches.
    Due,
}

/// A bounded queue of frames before a socket.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    limits: OutboxLimits,
    runtime: Handle,
}

impl Outbox {
    /// An outbox without a connection. `runtime` runs the task that waits when the socket takes no more.
    pub fn new(limits: OutboxLimits, runtime: Handle) -> Self {
        // An empty one takes any frame.
        let limits = OutboxLimits { frames: limits.frames.max(1), bytes: limits.bytes.max(1) };
        Self { state: Mutex::default(), limits, runtime }
    }

    /// Gives the outbox a connection and `first`, bytes to go out before all else. While corked, frames are taken
    /// but not written.
    pub fn attach(&self, socket: Arc<Socket>, first: &[u8], corked: bool) {
        let mut queue = Batch::default();
        if !first.is_empty() {
            queue.append(|batch| batch.inline().extend_from_slice(first));
        }
        let mut state = self.state.lock();
        // Whoever writes just now finds the connection replaced, and goes on with this one.
        let new = State { socket: Some(socket), queue, corked, busy: state.busy, ..State::default() };
        let mut old = std::mem::replace(&mut *state, new);
        drop(state);
        old.take_waiting().for_each(Waker::wake);
    }

    /// Allows writing; the caller flushes.
    pub fn uncork(&self) {
        self.state.lock().corked = false;
    }

    /// Queues a frame that `write` appends. `token` names the caller's batch; the caller flushes each outbox that
    /// answers [`Touch::First`] once, when the batch is over, and may flush at [`Touch::Due`].
    ///
    /// # Errors
    /// When the outbox is full or has no connection; `write` has not been called then.
    pub fn offer(&self, token: u64, write: impl FnOnce(&mut Batch)) -> Result<Touch, Refused> {
        self.offer_within(token, self.limits, write)
    }

    /// As [`offer`](Outbox::offer), also when the outbox is full: for answers, which are as many as the peer asks for,
    /// and whoever reads from the peer stops doing so when it does not take them.
    ///
    /// # Errors
    /// When there is no connection.
    pub fn offer_answer(&self, token: u64, write: impl FnOnce(&mut Batch)) -> Result<Touch, Refused> {
        self.offer_within(token, OutboxLimits { frames: usize::MAX, bytes: usize::MAX }, write)
    }

    /// As [`offer`](Outbox::offer), for frames one behind the other, which `frames` appends, as many as there is room
    /// for. Says how many these were.
    ///
    /// # Errors
    /// When there is no connection for them.
    pub fn offer_run<W: FnOnce(&mut Batch)>(
        &self,
        token: u64,
        frames: impl IntoIterator<Item = W>,
    ) -> Result<(usize, Touch), Refused> {
        let mut state = self.state.lock();
        if let Some(refused) = state.refuses_frames() {
            return Err(refused);
        }
        let mut taken = 0;
        let (mut waiting, mut bytes) = (state.frames(), state.bytes());
        for write in frames {
            if (waiting >= self.limits.frames || bytes >= self.limits.bytes) && state.is_full(self.limits) {
                break;
            }
            bytes += state.take(write);
            waiting += 1;
            taken += 1;
        }
        Ok((taken, if taken > 0 { state.touch(token) } else { Touch::Again }))
    }

    fn offer_within(&self, token: u64, limits: OutboxLimits, write: impl FnOnce(&mut Batch)) -> Result<Touch, Refused> {
        let mut state = self.state.lock();
        if let Some(refused) = state.refuses_frames() {
            return Err(refused);
        }
        if state.is_full(limits) {
            return Err(Refused::Full);
        }
        state.take(write);
        Ok(state.touch(token))
    }

    /// As [`offer`](Outbox::offer), but a full outbox is asked to wake the task when it is half empty. Says how many
    /// bytes wait.
    pub fn poll_offer(
        &self,
        context: &mut Context<'_>,
        write: impl FnOnce(&mut Batch),
    ) -> Poll<Result<(Touch, usize), Refused>> {
        let mut state = self.state.lock();
        if let Some(refused) = state.refuses_frames() {
            return Poll::Ready(Err(refused));
        }
        if state.frames() >= self.limits.frames || state.bytes() >= self.limits.bytes {
            state.wait(context);
            return Poll::Pending;
        }
        let touch = if state.queue.is_empty() { Touch::First } else { Touch::Again };
        state.take(write);
        Poll::Ready(Ok((touch, state.bytes())))
    }

    /// Queues `last` behind everything that was taken and takes no frames after it: they go another way from now on.
    /// Says whether there was a connection to switch.
    pub fn switch(&self, last: &[u8]) -> bool {
        let mut state = self.state.lock();
        let switches = state.refuses_frames().is_none();
        if switches {
            state.queue.append(|batch| batch.inline().extend_from_slice(last));
            state.switched = true;
        }
        switches
    }

    /// Queues what belongs to the connection itself and not to its frames: it goes out also when the outbox is full or
    /// the frames go another way. Says whether there is a connection.
    pub fn offer_control(&self, write: impl FnOnce(&mut Batch)) -> bool {
        let mut state = self.state.lock();
        let is_open = state.is_open();
        if is_open {
            state.queue.append(write);
        }
        is_open
    }

    /// Ends the connection; its reader sees the end.
    pub fn shut_down(&self) {
        let socket = self.state.lock().socket.clone();
        if let Some(socket) = socket {
            socket.shut_down();
        }
    }

    /// Whether the peer sends no more, or the connection has ended.
    pub fn has_left(&self) -> bool {
        let socket = self.state.lock().socket.clone();
        socket.is_none_or(|socket| socket.has_left())
    }

    /// Whether there is a connection over a UNIX socket.
    pub fn is_local(&self) -> bool {
        self.state.lock().socket.as_ref().is_some_and(|socket| socket.is_local())
    }

    /// Lets the system take less ahead of a peer on a UNIX socket: it is told sooner then that the peer reads.
    pub fn narrow(&self) {
        let socket = self.state.lock().socket.clone();
        if let Some(socket) = socket {
            socket.narrow();
        }
    }

    /// Whether more than half of a limit waits.
    pub fn is_half_full(&self) -> bool {
        self.over_half(&self.state.lock())
    }

    /// Ready when at most half of each limit waits, or the connection is gone.
    pub fn poll_half_empty(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_until(context, |state| !self.over_half(state))
    }

    /// Ready when nothing waits any longer, or the connection is gone.
    pub fn poll_empty(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_until(context, |state| state.bytes() == 0)
    }

    /// As [`poll_empty`](Outbox::poll_empty); says whether everything was written, not lost with the connection.
    pub fn poll_written(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state.lock();
        if !state.is_open() || state.bytes() == 0 {
            return Poll::Ready(state.is_open());
        }
        state.wait(context);
        Poll::Pending
    }

    /// Ready with `true` when less than `limits` waits, with `false` when the connection is gone.
    pub fn poll_below(&self, context: &mut Context<'_>, limits: OutboxLimits) -> Poll<bool> {
        let mut state = self.state.lock();
        let is_below = state.frames() < limits.frames && state.bytes() < limits.bytes;
        if !state.is_open() || is_below {
            return Poll::Ready(state.is_open());
        }
        state.wait_for_progress(context);
        Poll::Pending
    }

    /// As [`poll_written`](Outbox::poll_written), for the first `bytes` that were taken (as [`Level::taken_bytes`] counts
    /// them): what is taken meanwhile is not waited for.
    pub fn poll_written_to(&self, context: &mut Context<'_>, bytes: u64) -> Poll<bool> {
        let mut state = self.state.lock();
        if !state.is_open() || state.taken_bytes < bytes {
            // Another connection has begun to count.
            return Poll::Ready(false);
        }
        if state.taken_bytes.saturating_sub(state.bytes() as u64) >= bytes {
            return Poll::Ready(true);
        }
        state.wait_for_progress(context);
        Poll::Pending
    }

    /// Takes no more frames; when everything is written, tells the peer that nothing more will come; what the peer sends
    /// can still be read. Says whether the peer was told.
    pub fn poll_finish(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state.lock();
        if state.is_open() {
            state.finishing = true;
            if state.bytes() > 0 {
                state.wait(context);
                return Poll::Pending;
            }
            state.finished = true;
            if let Some(socket) = &state.socket {
                socket.finish_writing();
            }
            state.take_waiting().for_each(Waker::wake);
        }
        Poll::Ready(state.finished)
    }

    fn poll_until(&self, context: &mut Context<'_>, is_there: impl Fn(&State) -> bool) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.is_open() || is_there(&state) {
            return Poll::Ready(());
        }
        state.wait(context);
        Poll::Pending
    }

    fn over_half(&self, state: &State) -> bool {
        state.frames() > self.limits.frames / 2 || state.bytes() > self.limits.bytes / 2
    }

    /// What it holds and has taken.
    pub fn level(&self) -> Level {
        self.state.lock().level()
    }

    /// Takes the connection away, shuts it down and drops what was queued; says what that was.
    pub fn close(&self) -> Level {
        let mut state = self.state.lock();
        let level = state.level();
        if let Some(socket) = state.socket.take() {
            socket.shut_down();
        }
        let queue = std::mem::take(&mut state.queue);
        // A writer that is busy just now has taken its part, and drops it when it sees that the connection is gone.
        let writing = std::mem::take(&mut state.writing);
        (state.in_flight, state.body_in_flight) = ((0, 0), 0);
        let waiting = state.take_waiting();
        drop(state);
        drop((queue, writing));
        waiting.for_each(Waker::wake);
        level
    }
}

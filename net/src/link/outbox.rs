//! The bounded queue before a socket, and who writes it.
//!
//! Whoever queued a frame also writes it, with one non-blocking call at the end of its batch. Only when the socket
//! takes no more does a task of the outbox's own wait for room. At any time at most one party writes; it takes the
//! whole queue under the lock and writes without it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;

use super::batch::{Batch, Writing};
use super::socket::Socket;

/// How much an outbox holds. A frame is accepted while the outbox is below both limits before it, so that an empty
/// one takes any frame.
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
    /// There is no connection.
    Closed,
}

/// Whether a batch has come by for the first time, and so has to remember to flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The first frame of this batch.
    First,
    /// Not the first.
    Again,
}

/// What an outbox holds and has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Frames that wait.
    pub frames: usize,
    /// Bytes that wait.
    pub bytes: usize,
    /// Frames taken since the connection began.
    pub taken_frames: u64,
    /// Bytes taken since then.
    pub taken_bytes: u64,
    /// System calls' worth of progress: changes whenever bytes were written.
    pub progress: u64,
}

/// A bounded queue of frames before a socket.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    limits: OutboxLimits,
    runtime: Handle,
}

#[derive(Debug, Default)]
struct State {
    socket: Option<Arc<Socket>>,
    queue: Batch,
    writing: Writing,
    /// Frames and bytes that whoever is writing has taken.
    in_flight: (usize, usize),
    /// Somebody is writing, without the lock.
    busy: bool,
    /// The socket took no more; the drain task goes on.
    blocked: bool,
    /// Nothing is written yet (the handshake has not ended).
    corked: bool,
    token: u64,
    taken_frames: u64,
    taken_bytes: u64,
    progress: u64,
    waiting: Vec<Waker>,
}

impl State {
    fn frames(&self) -> usize {
        self.queue.frames() + self.writing.frames_left() + self.in_flight.0
    }

    fn bytes(&self) -> usize {
        self.queue.bytes() + self.writing.bytes_left() + self.in_flight.1
    }

    fn take(&mut self, token: u64, write: impl FnOnce(&mut Batch)) -> Touch {
        let added = self.queue.append(write);
        self.taken_frames += 1;
        self.taken_bytes += added as u64;
        if self.token == token {
            return Touch::Again;
        }
        self.token = token;
        Touch::First
    }

    fn wait(&mut self, context: &Context<'_>) {
        if !self.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            self.waiting.push(context.waker().clone());
        }
    }
}

/// A party writes at most this many batches before it hands over: frames of others must not hold it for ever.
const MAX_ROUNDS: usize = 8;

enum Outcome {
    Done,
    Blocked,
    Closed,
}

impl Outbox {
    /// An outbox without a connection. `runtime` runs the task that waits when the socket takes no more.
    pub fn new(limits: OutboxLimits, runtime: Handle) -> Self {
        Self { state: Mutex::default(), limits, runtime }
    }

    /// Gives the outbox a connection and `first`, bytes to go out before all else. While corked, frames are taken
    /// but not written.
    pub fn attach(&self, socket: Arc<Socket>, first: &[u8], corked: bool) {
        let mut state = self.state.lock();
        *state = State {
            socket: Some(socket),
            corked,
            waiting: std::mem::take(&mut state.waiting),
            busy: state.busy,
            ..State::default()
        };
        if !first.is_empty() {
            state.queue.append(|batch| batch.inline().extend_from_slice(first));
        }
    }

    /// Allows writing.
    pub fn uncork(&self) {
        self.state.lock().corked = false;
    }

    /// Queues a frame that `write` appends. `token` names the caller's batch; the caller flushes each outbox that
    /// answers [`Touch::First`] once, when the batch is over.
    ///
    /// # Errors
    /// When the outbox is full or has no connection; `write` has not been called then.
    pub fn offer(&self, token: u64, write: impl FnOnce(&mut Batch)) -> Result<Touch, Refused> {
        let mut state = self.state.lock();
        if state.socket.is_none() {
            return Err(Refused::Closed);
        }
        if state.frames() >= self.limits.frames || state.bytes() >= self.limits.bytes {
            return Err(Refused::Full);
        }
        Ok(state.take(token, write))
    }

    /// As [`offer`](Outbox::offer), but a full outbox is asked to wake the task when it is half empty. Says how many
    /// bytes wait.
    pub fn poll_offer(
        &self,
        context: &mut Context<'_>,
        write: impl FnOnce(&mut Batch),
    ) -> Poll<Result<(Touch, usize), Refused>> {
        let mut state = self.state.lock();
        if state.socket.is_none() {
            return Poll::Ready(Err(Refused::Closed));
        }
        if state.frames() >= self.limits.frames || state.bytes() >= self.limits.bytes {
            state.wait(context);
            return Poll::Pending;
        }
        let touch = if state.queue.is_empty() { Touch::First } else { Touch::Again };
        let token = state.token;
        state.take(token, write);
        Poll::Ready(Ok((touch, state.bytes())))
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

    fn poll_until(&self, context: &mut Context<'_>, is_there: impl Fn(&State) -> bool) -> Poll<()> {
        let mut state = self.state.lock();
        if state.socket.is_none() || is_there(&state) {
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
        let state = self.state.lock();
        Level {
            frames: state.frames(),
            bytes: state.bytes(),
            taken_frames: state.taken_frames,
            taken_bytes: state.taken_bytes,
            progress: state.progress,
        }
    }

    /// Writes what is queued, as far as the socket takes it at once. Never blocks; callable from any thread.
    pub fn flush(self: &Arc<Self>) {
        let state = self.state.lock();
        if state.busy || state.blocked || state.corked || state.bytes() == 0 {
            return;
        }
        if let Outcome::Blocked = self.write(state) {
            let outbox = Arc::clone(self);
            self.runtime.spawn(async move { outbox.drain().await });
        }
    }

    /// Writes until nothing is left, blocking the thread for at most `patience`. Says whether all was written.
    pub fn flush_blocking(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let mut state = self.state.lock();
            let Some(socket) = state.socket.clone() else { return false };
            if state.bytes() == 0 && !state.busy {
                return true;
            }
            let mut is_blocked = true;
            if !state.busy {
                state.blocked = false;
                match self.write(state) {
                    Outcome::Done => return true,
                    Outcome::Closed => return false,
                    Outcome::Blocked => {}
                }
            } else {
                drop(state);
                is_blocked = false;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if !is_blocked || !socket.wait_writable(left.min(Duration::from_millis(100))) {
                std::thread::sleep(Duration::from_micros(100).min(left));
            }
        }
    }

    /// Takes the connection away, shuts it down and drops what was queued; says what that was.
    pub fn close(&self) -> Level {
        let mut state = self.state.lock();
        let level = Level {
            frames: state.frames(),
            bytes: state.bytes(),
            taken_frames: state.taken_frames,
            taken_bytes: state.taken_bytes,
            progress: state.progress,
        };
        if let Some(socket) = state.socket.take() {
            socket.shut_down();
        }
        let queue = std::mem::take(&mut state.queue);
        // A writer that is busy just now puts an empty one back when it sees that the connection is gone.
        let writing = std::mem::take(&mut state.writing);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop((queue, writing));
        waiting.into_iter().for_each(Waker::wake);
        level
    }

    /// Waits for room and goes on writing until nothing is left.
    async fn drain(self: Arc<Self>) {
        loop {
            let Some(socket) = self.state.lock().socket.clone() else { return };
            if let Err(error) = socket.writable().await {
                tracing::warn!(%error, "cannot wait for a socket to take more; closing the connection");
                socket.shut_down();
                return;
            }
            let mut state = self.state.lock();
            // Somebody else may have taken over, or a new connection may be in place.
            let same = state.socket.as_ref().is_some_and(|current| Arc::ptr_eq(current, &socket));
            if !same || !state.blocked {
                return;
            }
            state.blocked = false;
            if !matches!(self.write(state), Outcome::Blocked) {
                return;
            }
        }
    }

    /// Writes in rounds; the caller has seen that nobody else does.
    fn write<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Outcome {
        let Some(socket) = state.socket.clone() else { return Outcome::Closed };
        state.busy = true;
        for _ in 0..MAX_ROUNDS {
            let mut writing = std::mem::take(&mut state.writing);
            if writing.is_done() {
                if state.queue.is_empty() {
                    state.writing = writing;
                    state.busy = false;
                    return Outcome::Done;
                }
                writing.swap(&mut state.queue);
            }
            state.in_flight = (writing.frames_left(), writing.bytes_left());
            drop(state);
            let mut outcome = Ok(true);
            while !writing.is_done() && matches!(outcome, Ok(true)) {
                outcome = writing.write_once(&socket);
            }
            state = self.state.lock();
            let same = state.socket.as_ref().is_some_and(|current| Arc::ptr_eq(current, &socket));
            if !same {
                state.busy = false;
                drop(state);
                return Outcome::Closed;
            }
            state.in_flight = (0, 0);
            state.progress += 1;
            state.writing = writing;
            self.wake_waiting(&mut state);
            match outcome {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    // The reader of this connection sees the end and does the rest.
                    state.busy = false;
                    socket.shut_down();
                    return Outcome::Closed;
                }
            }
        }
        state.busy = false;
        state.blocked = true;
        Outcome::Blocked
    }

    fn wake_waiting(&self, state: &mut State) {
        if !state.waiting.is_empty() && !self.over_half(state) {
            state.waiting.drain(..).for_each(Waker::wake);
        }
    }
}

//! The bounded queue before a socket, and who writes it.
//!
//! Whoever queued a frame also writes it, with one non-blocking call at the end of its batch. Only when the socket
//! takes no more does a task of the outbox's own wait for room. At any time at most one party writes; it takes the
//! whole queue under the lock and writes without it.

mod state;

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;

use super::batch::Batch;
use super::socket::Socket;
pub use state::Level;
use state::State;

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

/// A party writes at most this many batches before it hands over: frames of others must not hold it for ever.
const MAX_ROUNDS: usize = 8;
/// Between two looks at a blocked socket, when the system has no descriptor for a proper wait.
const RETRY: Duration = Duration::from_millis(10);

enum Outcome {
    /// Nothing is left.
    Done,
    /// The socket takes no more, or others should have their turn.
    Blocked,
    /// There is no connection, or it is broken.
    Closed,
    /// The connection was closed or replaced meanwhile; what a new one was to write is left to this party.
    Replaced,
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
        old.waiting.drain(..).for_each(Waker::wake);
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
            if waiting >= self.limits.frames || bytes >= self.limits.bytes {
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
        if state.frames() >= limits.frames || state.bytes() >= limits.bytes {
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

    /// When everything is written, takes no more and tells the peer that nothing more will come; what the peer sends
    /// can still be read. Says whether the peer was told.
    pub fn poll_finish(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state.lock();
        if state.is_open() {
            if state.bytes() > 0 {
                state.wait(context);
                return Poll::Pending;
            }
            state.finished = true;
            if let Some(socket) = &state.socket {
                socket.finish_writing();
            }
            state.waiting.drain(..).for_each(Waker::wake);
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

    /// Writes what is queued, as far as the socket takes it at once. Never blocks; callable from any thread.
    pub fn flush(self: &Arc<Self>) {
        loop {
            let state = self.state.lock();
            if state.busy || state.blocked || state.corked || state.broken || state.bytes() == 0 {
                return;
            }
            match self.write(state) {
                Outcome::Replaced => {}
                Outcome::Blocked => return self.spawn_drain(),
                Outcome::Done | Outcome::Closed => return,
            }
        }
    }

    /// Writes until nothing is left, blocking the thread for at most `patience`. Says whether all was written; what
    /// was not still goes out as the peer reads, as long as there is a runtime.
    pub fn flush_blocking(self: &Arc<Self>, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let mut state = self.state.lock();
            let Some(socket) = state.socket.clone() else { return false };
            if state.broken {
                return false;
            }
            if state.bytes() == 0 && !state.busy {
                return true;
            }
            let may_write = !state.busy && !state.corked;
            if may_write {
                state.blocked = false;
                match self.write(state) {
                    Outcome::Done => return true,
                    Outcome::Closed => return false,
                    Outcome::Replaced => continue,
                    Outcome::Blocked => {}
                }
            } else {
                drop(state);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if may_write {
                    self.spawn_drain();
                }
                return false;
            }
            if !may_write || !socket.wait_writable(left.min(Duration::from_millis(100))) {
                std::thread::sleep(Duration::from_micros(100).min(left));
            }
        }
    }

    /// As [`flush_blocking`](Outbox::flush_blocking); then tells the peer that nothing more will come and waits for
    /// it to close, for at most `linger`: a peer that cannot answer may not read on.
    pub fn finish_blocking(self: &Arc<Self>, patience: Duration, linger: Duration) {
        if !self.flush_blocking(patience) {
            return;
        }
        let socket = self.state.lock().socket.clone();
        if let (Some(socket), Poll::Ready(true)) = (socket, self.poll_finish(&mut Context::from_waker(Waker::noop()))) {
            socket.wait_end(linger);
        }
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
        state.in_flight = (0, 0);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop((queue, writing));
        waiting.into_iter().for_each(Waker::wake);
        level
    }

    fn spawn_drain(self: &Arc<Self>) {
        let outbox = Arc::clone(self);
        self.runtime.spawn(async move { outbox.drain().await });
    }

    /// Waits for room and goes on writing until nothing is left. More than one of these may be about: each goes on
    /// only while its connection is the current one and blocked.
    async fn drain(self: Arc<Self>) {
        loop {
            let Some(socket) = self.state.lock().socket.clone() else { return };
            if socket.writable().await.is_err() {
                // Out of descriptors, which is not this peer's fault: look again instead of being told.
                tokio::time::sleep(RETRY).await;
            }
            let mut state = self.state.lock();
            // Somebody else may have taken over, or a new connection may be in place.
            if !state.is_attached_to(&socket) || !state.blocked {
                return;
            }
            state.blocked = false;
            match self.write(state) {
                Outcome::Blocked => {}
                Outcome::Replaced => return self.flush(),
                Outcome::Done | Outcome::Closed => return,
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
            let before = writing.bytes_left();
            state.in_flight = (writing.frames_left(), before);
            drop(state);
            let mut outcome = Ok(true);
            while !writing.is_done() && matches!(outcome, Ok(true)) {
                outcome = writing.write_once(&socket);
            }
            state = self.state.lock();
            state.in_flight = (0, 0);
            if !state.is_attached_to(&socket) {
                state.busy = false;
                drop(state);
                return Outcome::Replaced;
            }
            state.progress += u64::from(writing.bytes_left() < before);
            state.writing = writing;
            self.wake_waiting(&mut state);
            match outcome {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    state.busy = false;
                    self.give_up(state, &socket);
                    return Outcome::Closed;
                }
            }
        }
        state.busy = false;
        state.blocked = true;
        Outcome::Blocked
    }

    /// The connection is of no use any longer. Its reader sees the end and closes it, also one that does not read
    /// because it waits for the peer to do so.
    fn give_up(&self, mut state: MutexGuard<'_, State>, socket: &Socket) {
        state.broken = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        socket.shut_down();
        waiting.into_iter().for_each(Waker::wake);
    }

    fn wake_waiting(&self, state: &mut State) {
        if !state.waiting.is_empty() && !self.over_half(state) {
            state.waiting.drain(..).for_each(Waker::wake);
        }
    }
}

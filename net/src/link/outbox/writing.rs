//! Who writes an outbox, and how far.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::Outbox;
use super::state::State;
use crate::link::Socket;

/// A party writes at most this many batches before it hands over: frames of others must not hold it for ever.
const MAX_ROUNDS: usize = 8;
/// A party writes about as many bytes before others have their turn: a large payload must not keep small ones waiting
/// that are written by the same thread.
const TURN: usize = 512 << 10;
/// Between two looks at a blocked socket, when the system has no descriptor for a proper wait.
const RETRY: Duration = Duration::from_millis(10);

enum Outcome {
    /// Nothing is left.
    Done,
    /// The socket takes no more.
    Blocked,
    /// Others should have their turn.
    Paused,
    /// There is no connection, or it is broken.
    Closed,
    /// The connection was closed or replaced meanwhile; what a new one was to write is left to this party.
    Replaced,
}

impl Outbox {
    /// Writes what is queued, as far as the socket takes it at once. Never blocks; callable from any thread.
    pub fn flush(self: &Arc<Self>) {
        loop {
            let state = self.state.lock();
            if state.busy || state.blocked || state.corked || state.broken || state.bytes() == 0 {
                return;
            }
            match self.write(state) {
                Outcome::Replaced => {}
                Outcome::Blocked => return self.spawn_drain(true),
                Outcome::Paused => return self.spawn_drain(false),
                Outcome::Done | Outcome::Closed => return,
            }
        }
    }

    /// Writes what the socket has room for although it was full: the system tells of room only when there is much of it.
    pub fn write_on(self: &Arc<Self>) {
        let state = self.state.lock();
        if !state.blocked || state.busy || state.broken || state.bytes() == 0 {
            return;
        }
        // It stays blocked meanwhile, so that the task that waits for the socket goes on with what is left.
        match self.write(state) {
            Outcome::Blocked | Outcome::Paused | Outcome::Closed => {}
            Outcome::Replaced => self.flush(),
            Outcome::Done => {
                self.state.lock().blocked = false;
                // What came meanwhile was left to that task.
                self.flush();
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
                    Outcome::Paused if Instant::now() < deadline => continue,
                    Outcome::Paused | Outcome::Blocked => {}
                }
            } else {
                drop(state);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if may_write {
                    self.spawn_drain(true);
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

    pub(super) fn spawn_drain(self: &Arc<Self>, is_full: bool) {
        let outbox = Arc::clone(self);
        self.runtime.spawn(async move { outbox.drain(is_full).await });
    }

    /// Waits for room in a full socket, or for the turns of others, and goes on writing until nothing is left. More than
    /// one of these may be about: each goes on only while its connection is the current one and blocked.
    async fn drain(self: Arc<Self>, mut is_full: bool) {
        loop {
            let Some(socket) = self.state.lock().socket.clone() else { return };
            if !is_full {
                tokio::task::yield_now().await;
            } else if socket.writable().await.is_err() {
                // Out of descriptors, which is not this peer's fault: look again instead of being told.
                tokio::time::sleep(RETRY).await;
            }
            let mut state = self.state.lock();
            // Somebody else may have taken over, or a new connection may be in place.
            if !state.is_attached_to(&socket) || !state.blocked {
                return;
            }
            if state.busy {
                // Somebody tries whether there is room.
                is_full = false;
                continue;
            }
            state.blocked = false;
            match self.write(state) {
                Outcome::Blocked => is_full = true,
                Outcome::Paused => is_full = false,
                Outcome::Replaced => return self.flush(),
                Outcome::Done | Outcome::Closed => return,
            }
        }
    }

    /// Writes in rounds; the caller has seen that nobody else does.
    fn write<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Outcome {
        let Some(socket) = state.socket.clone() else { return Outcome::Closed };
        state.busy = true;
        let mut left = TURN;
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
            (state.in_flight, state.body_in_flight) = ((writing.frames_left(), before), writing.first_body_left());
            drop(state);
            let mut outcome = Ok(true);
            while !writing.is_done() && matches!(outcome, Ok(true)) && left > 0 {
                let before = writing.bytes_left();
                outcome = writing.write_once(&socket, left);
                left = left.saturating_sub(before - writing.bytes_left());
            }
            state = self.state.lock();
            (state.in_flight, state.body_in_flight) = ((0, 0), 0);
            if !state.is_attached_to(&socket) {
                state.busy = false;
                drop(state);
                return Outcome::Replaced;
            }
            state.progress += u64::from(writing.bytes_left() < before);
            state.writing = writing;
            self.wake_waiting(&mut state);
            match outcome {
                Ok(true) if left > 0 || state.bytes() == 0 => {}
                Ok(true) => break,
                Ok(false) => return Self::pause(&mut state, Outcome::Blocked),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Self::pause(&mut state, Outcome::Blocked);
                }
                Err(_) => {
                    state.busy = false;
                    self.give_up(state, &socket);
                    return Outcome::Closed;
                }
            }
        }
        Self::pause(&mut state, Outcome::Paused)
    }

    /// Whoever hears of the outcome goes on with the rest.
    fn pause(state: &mut State, outcome: Outcome) -> Outcome {
        state.busy = false;
        state.blocked = true;
        outcome
    }

    /// The connection is of no use any longer. Its reader sees the end and closes it, also one that does not read
    /// because it waits for the peer to do so.
    pub(super) fn give_up(&self, mut state: MutexGuard<'_, State>, socket: &Socket) {
        state.broken = true;
        let waiting = state.take_waiting();
        drop(state);
        socket.shut_down();
        waiting.for_each(Waker::wake);
    }

    pub(super) fn wake_waiting(&self, state: &mut State) {
        state.flushing.drain(..).for_each(Waker::wake);
        if !state.waiting.is_empty() && !self.over_half(state) {
            state.waiting.drain(..).for_each(Waker::wake);
        }
    }
}

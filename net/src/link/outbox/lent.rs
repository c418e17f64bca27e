//! A frame whose payload the caller only lends: it is written from where it lies.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Outbox, Refused};
use crate::Pool;
use crate::link::Socket;
use crate::link::batch::{Batch, Body, Writing};

/// One call writes at most so much.
const LONGEST_WRITE: usize = 512 << 10;

/// How long the thread of whoever lends a payload waits for a peer.
#[derive(Clone, Copy, Debug)]
pub struct LendingPatience {
    /// For the whole payload.
    pub in_all: Duration,
    /// While the peer reads nothing.
    pub standstill: Duration,
}

/// What became of a frame whose payload was lent. The payload is not needed any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lent {
    /// All of it is written.
    Written,
    /// The peer was too slow: what was left is copied, and goes out before all else.
    Copied,
    /// Other bytes are before it: the frame is not taken, and has to be queued.
    Behind,
}

impl Outbox {
    /// Takes a frame if nothing waits before it, and writes it at once, the payload from where it lies. What the peer has
    /// not taken when the patience ends is copied. `head` appends what comes before the payload; it is called under the
    /// lock if the frame is taken, and not otherwise. What is offered meanwhile goes behind it.
    ///
    /// Blocks the thread for that time at most; callable from any thread.
    ///
    /// # Errors
    /// When there is no connection, or it ended before the frame was written.
    pub fn offer_lent(
        self: &Arc<Self>,
        payload: &[u8],
        head: impl FnOnce(&mut Vec<u8>),
        patience: LendingPatience,
        pool: &Pool,
    ) -> Result<Lent, Refused> {
        let mut state = self.state.lock();
        if let Some(refused) = state.refuses_frames() {
            return Err(refused);
        }
        if state.bytes() > 0 || state.busy || state.blocked || state.corked {
            return Ok(Lent::Behind);
        }
        let Some(socket) = state.socket.clone() else { return Err(Refused::Closed) };
        let mut front = Vec::new();
        head(&mut front);
        let total = front.len() + payload.len();
        state.taken_frames += 1;
        state.taken_bytes += total as u64;
        // As who writes a queue: nobody else writes now.
        state.busy = true;
        (state.in_flight, state.body_in_flight) = ((1, total), payload.len());
        drop(state);
        let mut loan = Loan { front, payload, written: 0 };
        let outcome = loan.write(&socket, patience);
        let rest = if outcome.is_ok() { loan.copy_rest(pool) } else { None };

        let mut state = self.state.lock();
        state.busy = false;
        (state.in_flight, state.body_in_flight) = ((0, 0), 0);
        if !state.is_attached_to(&socket) {
            drop(state);
            // What a new connection was to write is left to this party.
            self.flush();
            return Err(Refused::Closed);
        }
        if outcome.is_err() {
            self.give_up(state, &socket);
            return Err(Refused::Closed);
        }
        state.progress += u64::from(loan.written > 0);
        let lent = match rest {
            None => Lent::Written,
            Some(rest) => {
                state.writing = rest;
                // The task that waits for room goes on with it.
                state.blocked = true;
                Lent::Copied
            }
        };
        self.wake_waiting(&mut state);
        drop(state);
        match lent {
            Lent::Copied => self.spawn_drain(true),
            // What came meanwhile was left to this party.
            _ => self.flush(),
        }
        Ok(lent)
    }
}

/// A frame on its way out.
struct Loan<'a> {
    front: Vec<u8>,
    payload: &'a [u8],
    written: usize,
}

impl Loan<'_> {
    /// What is left of both parts.
    fn rest(&self) -> (&[u8], &[u8]) {
        let in_front = self.written.min(self.front.len());
        (&self.front[in_front..], &self.payload[self.written - in_front..])
    }

    /// Writes until all is written or the patience ends.
    fn write(&mut self, socket: &Socket, patience: LendingPatience) -> io::Result<()> {
        let deadline = Instant::now() + patience.in_all;
        loop {
            let (front, payload) = self.rest();
            if front.is_empty() && payload.is_empty() {
                return Ok(());
            }
            let part = &payload[..payload.len().min(LONGEST_WRITE)];
            let sent = if front.is_empty() {
                socket.try_write(&[IoSlice::new(part)])
            } else {
                socket.try_write(&[IoSlice::new(front), IoSlice::new(part)])
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !socket.wait_writable(left.min(patience.standstill)) {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A copy of what is not written, as a batch that is amid being written.
    fn copy_rest(&self, pool: &Pool) -> Option<Writing> {
        let (front, payload) = self.rest();
        if front.is_empty() && payload.is_empty() {
            return None;
        }
        let mut batch = Batch::default();
        batch.append(|batch| {
            batch.inline().extend_from_slice(front);
            batch.push_body(Body::Bytes(pool.share_copy(payload)));
        });
        let mut writing = Writing::default();
        writing.swap(&mut batch);
        Some(writing)
    }
}

//! What an outbox holds, and who is at it.

use std::sync::Arc;
use std::task::{Context, Waker};

use super::{OutboxLimits, Refused, Touch};
use crate::link::Socket;
use crate::link::batch::{Batch, Writing};

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
    /// Turns in which bytes were written: it stands still as long as the peer reads nothing.
    pub progress: u64,
}

/// Bytes of a queue that are written before their batch is over.
const WRITE_AT: usize = 64 << 10;

/// Everything under an outbox's lock.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) socket: Option<Arc<Socket>>,
    pub(super) queue: Batch,
    pub(super) writing: Writing,
    /// Frames and bytes that whoever is writing has taken, ...
    pub(super) in_flight: (usize, usize),
    /// ... and those of the first body among them.
    pub(super) body_in_flight: usize,
    /// Somebody is writing, without the lock.
    pub(super) busy: bool,
    /// The socket took no more; the drain task goes on.
    pub(super) blocked: bool,
    /// Nothing is written yet (the handshake has not ended).
    pub(super) corked: bool,
    /// A write has failed; the reader of the connection closes it.
    pub(super) broken: bool,
    /// No frame is taken any more, and the peer is told so when everything is written.
    pub(super) finishing: bool,
    /// The peer was told that nothing more will come.
    pub(super) finished: bool,
    /// Frames go another way; what is offered beside that way still goes out.
    pub(super) switched: bool,
    pub(super) token: Option<u64>,
    pub(super) taken_frames: u64,
    pub(super) taken_bytes: u64,
    pub(super) progress: u64,
    pub(super) waiting: Vec<Waker>,
    /// Who waits until something is written, and looks at each progress.
    pub(super) flushing: Vec<Waker>,
}

impl State {
    pub(super) fn frames(&self) -> usize {
        self.queue.frames() + self.writing.frames_left() + self.in_flight.0
    }

    pub(super) fn bytes(&self) -> usize {
        self.queue.bytes() + self.writing.bytes_left() + self.in_flight.1
    }

    /// Whether so much waits that no frame of another is taken. The body whose turn comes next does not count: a payload
    /// that is allowed is no sign that its receiver is slow.
    #[inline]
    pub(super) fn is_full(&self, limits: OutboxLimits) -> bool {
        self.frames() >= limits.frames
            || self.bytes() >= limits.bytes && self.bytes() - self.first_body() >= limits.bytes
    }

    /// Bytes that are left of the first body that waits.
    #[cold]
    fn first_body(&self) -> usize {
        let places = [self.body_in_flight, self.writing.first_body_left(), self.queue.first_body()];
        places.into_iter().find(|bytes| *bytes > 0).unwrap_or(0)
    }

    pub(super) fn is_open(&self) -> bool {
        self.socket.is_some() && !self.broken && !self.finished
    }

    /// Why a frame is not taken, limits aside.
    pub(super) fn refuses_frames(&self) -> Option<Refused> {
        match self {
            _ if !self.is_open() || self.finishing => Some(Refused::Closed),
            Self { switched: true, .. } => Some(Refused::Switched),
            _ => None,
        }
    }

    pub(super) fn is_attached_to(&self, socket: &Arc<Socket>) -> bool {
        self.socket.as_ref().is_some_and(|current| Arc::ptr_eq(current, socket))
    }

    pub(super) fn level(&self) -> Level {
        Level {
            frames: self.frames(),
            bytes: self.bytes(),
            taken_frames: self.taken_frames,
            taken_bytes: self.taken_bytes,
            progress: self.progress,
        }
    }

    /// Queues a frame, and says how many bytes it has.
    #[inline]
    pub(super) fn take(&mut self, write: impl FnOnce(&mut Batch)) -> usize {
        let added = self.queue.append(write);
        self.taken_frames += 1;
        self.taken_bytes += added as u64;
        added
    }

    /// The batch `token` has queued something.
    #[inline]
    pub(super) fn touch(&mut self, token: u64) -> Touch {
        if self.token.replace(token) != Some(token) {
            return Touch::First;
        }
        if self.queue.bytes() < WRITE_AT || self.busy || self.blocked || self.corked {
            Touch::Again
        } else {
            Touch::Due
        }
    }

    pub(super) fn wait(&mut self, context: &Context<'_>) {
        add(&mut self.waiting, context);
    }

    pub(super) fn wait_for_progress(&mut self, context: &Context<'_>) {
        add(&mut self.flushing, context);
    }

    /// Everybody who waits, to be woken.
    pub(super) fn take_waiting(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.waiting).into_iter().chain(std::mem::take(&mut self.flushing))
    }
}

fn add(wakers: &mut Vec<Waker>, context: &Context<'_>) {
    if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
        wakers.push(context.waker().clone());
    }
}

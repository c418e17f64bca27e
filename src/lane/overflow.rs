//! What waits before the sink of a slow client, where it can still be dropped, and what moves it on.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use busway_net::link::{Level, OutboxLimits};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use super::{Declined, RemoteSink, StoredFrame};
use crate::policy::{PolicyQueue, Queued, Rules};

/// What the sink within may hold before frames wait here.
const WINDOW: OutboxLimits = OutboxLimits { frames: 256, bytes: 256 << 10 };

/// What waits, and what may be done with it.
pub(super) struct Overflow {
    pub(super) state: Mutex<State>,
    window: OutboxLimits,
    /// Something waits for the task that moves it on, or everything has ended.
    pub(super) filled: Notify,
    pub(super) room: Notify,
    pub(super) dropped: AtomicU64,
}

pub(super) struct State {
    pub(super) rules: Rules,
    pub(super) queue: PolicyQueue<StoredFrame>,
    /// The longest bound for which a sender has waited in vain, and how far the receiver had come then: until it has
    /// come further, only who may wait for longer waits.
    pub(super) stalled: (Duration, u64),
    pub(super) is_closed: bool,
}

/// How far moving frames on has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    /// Nothing waits any longer.
    All,
    Some,
    Closed,
}

impl Overflow {
    /// With room for so much.
    pub(super) fn new(limits: OutboxLimits) -> Self {
        let state = State {
            rules: Rules::default(),
            queue: PolicyQueue::new(limits.frames, limits.bytes),
            stalled: (Duration::ZERO, 0),
            is_closed: false,
        };
        // The rest is for acknowledgements, which do not wait here.
        let window = OutboxLimits {
            frames: WINDOW.frames.min(limits.frames / 2).max(1),
            bytes: WINDOW.bytes.min(limits.bytes / 2).max(1),
        };
        Self {
            state: Mutex::new(state),
            window,
            filled: Notify::new(),
            room: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Whether the sink within takes frames, of which so much waits.
    pub(super) fn is_below(&self, level: Level) -> bool {
        level.frames < self.window.frames && level.bytes < self.window.bytes
    }

    /// Takes no more; says how many frames and bytes waited.
    pub(super) fn close(&self) -> (usize, usize) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let waiting = std::mem::replace(&mut state.queue, PolicyQueue::new(1, 1));
        drop(state);
        self.filled.notify_one();
        self.room.notify_waiters();
        (waiting.len(), waiting.waiting_bytes())
    }

    /// Moves what waits on, until the connection ends.
    pub(super) async fn move_on<S: RemoteSink>(self: Arc<Self>, within: S) {
        loop {
            self.filled.notified().await;
            loop {
                if !poll_fn(|context| within.poll_below(context, self.window)).await {
                    return;
                }
                let moved = self.refill(&within);
                within.flush();
                match moved {
                    // A peer that takes one frame at a time must not keep others from running.
                    Moved::Some => consume_budget().await,
                    Moved::All => break,
                    Moved::Closed => return,
                }
            }
        }
    }

    /// Moves as much as the window takes.
    fn refill<S: RemoteSink>(&self, within: &S) -> Moved {
        let mut state = self.state.lock();
        let Level { mut frames, mut bytes, .. } = within.level();
        while !state.is_closed && frames < self.window.frames && bytes < self.window.bytes {
            let gap = state.queue.take_gap();
            if gap > 0 {
                tell_gap(within, gap);
            }
            let Some(frame) = state.queue.front() else { break };
            match within.offer(0, &frame.outgoing()) {
                Ok(_) => {}
                // Acknowledgements have filled it meanwhile.
                Err(Declined::Full) => break,
                Err(_) => return Moved::Closed,
            }
            frames += 1;
            bytes += frame.weight();
            drop(state.queue.pop());
        }
        let (is_closed, is_empty) = (state.is_closed, state.queue.is_empty());
        if is_empty && !is_closed {
            let gap = state.queue.take_last_gap();
            if gap > 0 {
                tell_gap(within, gap);
            }
        }
        drop(state);
        self.room.notify_waiters();
        match (is_closed, is_empty) {
            (true, _) => Moved::Closed,
            (false, true) => Moved::All,
            (false, false) => Moved::Some,
        }
    }
}

fn tell_gap(within: &impl RemoteSink, frames: u64) {
    within.tell_gap(u32::try_from(frames).unwrap_or(u32::MAX));
}

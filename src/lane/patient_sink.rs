//! The sink of a client in another process that has policies for when it is slow.
//!
//! Until a policy is set this is the sink within. Then the sink within is kept nearly empty, and what it has no room for
//! waits here, where frames can still be dropped: bytes that are encoded for a socket or a ring cannot. A task moves
//! frames on whenever the sink within has taken some.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use busway_net::link::{Level, OutboxLimits, Touch};
use busway_net::wire::ResultCode;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::overflow::{Overflow, State};
use super::{Declined, FrameRun, LaneStatus, Outgoing, RemoteSink, Sink, StoredFrame};
use crate::policy::{Pushed, SlowPolicy};

/// A sink with room for frames that may be dropped.
pub(crate) struct PatientSink<S> {
    within: S,
    receiver: u64,
    limits: OutboxLimits,
    runtime: Handle,
    overflow: OnceLock<Arc<Overflow>>,
    /// Nobody would end the task of an overflow that comes after the end.
    is_closed: Mutex<bool>,
}

impl<S: RemoteSink> PatientSink<S> {
    /// The sink of a peer. A task of the current runtime moves on what waits.
    pub(crate) fn new(within: S, receiver: u64, limits: OutboxLimits) -> Self {
        Self {
            within,
            receiver,
            limits,
            runtime: Handle::current(),
            overflow: OnceLock::new(),
            is_closed: Mutex::default(),
        }
    }

    /// What becomes of a frame that finds no room, and none that may be dropped for it.
    fn refuse(&self, state: &mut State, policy: SlowPolicy) -> Declined {
        match policy {
            SlowPolicy::Wait(bound) if bound > state.stalled.0 => Declined::Wait(bound),
            SlowPolicy::Wait(bound) if self.within.level().progress != state.stalled.1 => {
                state.stalled.0 = Duration::ZERO;
                Declined::Wait(bound)
            }
            SlowPolicy::Cut => Declined::Full,
            _ => {
                state.queue.add_gap(1);
                Declined::Dropped
            }
        }
    }

    fn offer_patiently(&self, overflow: &Overflow, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Declined> {
        let mut state = overflow.state.lock();
        if state.is_closed {
            return Err(Declined::Closed);
        }
        // Under the lock, so that nothing overtakes what waits.
        if state.queue.is_empty() && overflow.is_below(self.within.level()) {
            return self.within.offer(token, frame);
        }
        let topic = frame.names.topic.as_deref();
        let policy = match state.rules.of(topic) {
            // Also about this client and its losses: it is not cut for being told of them.
            SlowPolicy::Cut if topic.is_some_and(is_announcement) => SlowPolicy::DropNewest,
            policy => policy,
        };
        // Before the frame is made, which may copy a large payload.
        let may_make_room = policy.may_drop_waiting() || policy == SlowPolicy::Cut && state.queue.has_droppable();
        if state.queue.is_full() && !may_make_room {
            return Err(self.refuse(&mut state, policy));
        }
        match state.queue.push(StoredFrame::new(frame, self.receiver), policy) {
            Pushed::Taken { dropped } => {
                drop(state);
                overflow.dropped.fetch_add(dropped, Ordering::Relaxed);
                overflow.filled.notify_one();
                Ok(Touch::Again)
            }
            Pushed::Dropped { older } => {
                overflow.dropped.fetch_add(older, Ordering::Relaxed);
                Err(Declined::Dropped)
            }
            Pushed::Full(_) => Err(self.refuse(&mut state, policy)),
        }
    }
}

impl<S: RemoteSink> Sink for PatientSink<S> {
    fn offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Declined> {
        match self.overflow.get() {
            None => self.within.offer(token, frame),
            Some(overflow) => self.offer_patiently(overflow, token, frame),
        }
    }

    fn offer_run(&self, token: u64, frame: &Outgoing<'_>, run: &FrameRun<'_>) -> (usize, Touch) {
        // With policies each frame is asked about.
        if self.has_policies() { (0, Touch::Again) } else { self.within.offer_run(token, frame, run) }
    }

    fn has_policies(&self) -> bool {
        self.overflow.get().is_some()
    }

    fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Declined> {
        self.within.acknowledge(token, op_id, code)
    }

    fn ping(&self) {
        self.within.ping();
    }

    fn tidy(&self) {
        self.within.tidy();
    }

    fn flush(&self) {
        self.within.flush();
    }

    fn close(&self) -> Level {
        *self.is_closed.lock() = true;
        let waiting = self.overflow.get().map_or((0, 0), |overflow| overflow.close());
        let level = self.within.close();
        Level { frames: level.frames + waiting.0, bytes: level.bytes + waiting.1, ..level }
    }

    fn has_left(&self) -> bool {
        self.within.has_left()
    }

    fn takes_pipes(&self) -> bool {
        !self.has_policies() && self.within.takes_pipes()
    }

    fn poll_relief(&self, context: &mut Context<'_>, bytes: usize) -> Poll<()> {
        self.within.poll_relief(context, bytes)
    }

    fn level(&self) -> Level {
        let level = self.within.level();
        let Some(overflow) = self.overflow.get() else { return level };
        let state = overflow.state.lock();
        let (frames, bytes) = (state.queue.len(), state.queue.waiting_bytes());
        Level { frames: level.frames + frames, bytes: level.bytes + bytes, ..level }
    }

    fn lane_status(&self) -> LaneStatus {
        self.within.lane_status()
    }

    fn set_policy(&self, filter: Option<&str>, policy: SlowPolicy) -> bool {
        let is_closed = self.is_closed.lock();
        if *is_closed {
            return true;
        }
        let overflow = self.overflow.get_or_init(|| {
            let overflow = Arc::new(Overflow::new(self.limits));
            self.runtime.spawn(Arc::clone(&overflow).move_on(self.within.clone()));
            overflow
        });
        drop(is_closed);
        if let SlowPolicy::Wait(_) = policy {
            self.within.narrow();
        }
        let is_set = {
            let mut state = overflow.state.lock();
            match filter {
                None => {
                    state.rules.set_general(policy);
                    true
                }
                Some(filter) => state.rules.set(filter, policy),
            }
        };
        // Who waits for room may no longer have to.
        overflow.room.notify_waiters();
        is_set
    }

    fn forget_policy(&self, filter: &str) {
        if let Some(overflow) = self.overflow.get() {
            overflow.state.lock().rules.remove(filter);
        }
    }

    fn room(&self) -> Option<&Notify> {
        self.overflow.get().map(|overflow| &overflow.room)
    }

    fn progress(&self) -> u64 {
        self.within.move_on();
        self.within.level().progress
    }

    fn stall(&self, bound: Duration) {
        if let Some(overflow) = self.overflow.get() {
            let mut state = overflow.state.lock();
            let progress = self.within.level().progress;
            let before = if progress == state.stalled.1 { state.stalled.0 } else { Duration::ZERO };
            state.stalled = (before.max(bound), progress);
            state.queue.add_gap(1);
        }
    }

    fn miss(&self) {
        if let Some(overflow) = self.overflow.get() {
            overflow.state.lock().queue.add_gap(1);
        }
    }

    fn dropped(&self) -> u64 {
        self.overflow.get().map_or(0, |overflow| overflow.dropped.load(Ordering::Relaxed))
    }
}

/// What the broker itself publishes.
fn is_announcement(topic: &str) -> bool {
    topic.starts_with(".broker/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink whose connection is there until it is closed.
    #[derive(Clone)]
    struct Idle;

    impl Sink for Idle {
        fn offer(&self, _token: u64, _frame: &Outgoing<'_>) -> Result<Touch, Declined> {
            Ok(Touch::Again)
        }

        fn acknowledge(&self, _token: u64, _op_id: u32, _code: ResultCode) -> Result<Touch, Declined> {
            Ok(Touch::Again)
        }

        fn flush(&self) {}

        fn close(&self) -> Level {
            Level::default()
        }

        fn level(&self) -> Level {
            Level::default()
        }
    }

    impl RemoteSink for Idle {
        fn poll_below(&self, _context: &mut Context<'_>, _window: OutboxLimits) -> Poll<bool> {
            Poll::Ready(true)
        }

        fn move_on(&self) {}

        fn narrow(&self) {}

        fn tell_gap(&self, _frames: u32) {}
    }

    #[tokio::test]
    async fn no_task_outlives_the_end_whenever_the_policy_came() {
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let limits = OutboxLimits { frames: 10, bytes: 1000 };
        let early = PatientSink::new(Idle, 1, limits);
        early.set_policy(None, SlowPolicy::Latest);
        assert_eq!(tasks(), before + 1);
        early.close();
        let late = PatientSink::new(Idle, 2, limits);
        late.close();
        assert!(late.set_policy(None, SlowPolicy::Latest), "nobody is there to be told otherwise");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks(), before);
    }
}

//! The bounded queue before a lane's ring, of the broker and of a client alike.
//!
//! A frame goes into the ring if there is room and nothing waits; otherwise it waits in the backlog, and whoever owns
//! the queue is woken when the other side has made room. What cannot be read in place is copied: into one record if
//! it fits, otherwise as fragments, which take turns with room in the ring.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use busway_net::link::{Level, Outbox, OutboxLimits, Refused, Touch};
use busway_net::wire::Payloads;
use busway_shm::layout::Head;
use busway_shm::{Descriptor, OwnSegment, Parts, PeerSegment, Producer, Violation};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::backlog::Large;
use super::bell::Bell;
use super::placing::{PlacedRun, Placing};
use super::queue_state::State;

/// The producing end of a lane's ring.
pub(super) type LaneProducer = Producer<Arc<OwnSegment>, Arc<PeerSegment>>;

/// A frame to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Item<'a> {
    pub(super) head: Head,
    pub(super) parts: Parts<'a>,
}

/// Its payload.
#[derive(Debug)]
pub(super) enum Load<'a, H> {
    /// Copied by the call; at most [`COPY_MAX`](super::COPY_MAX) bytes.
    Borrowed(&'a [u8]),
    /// Shared.
    Large(Large<H>),
}

impl<H> From<Bytes> for Load<'_, H> {
    fn from(bytes: Bytes) -> Self {
        Self::Large(Large::Shared(bytes))
    }
}

pub(super) struct LaneQueue<P: Placing, B> {
    state: Mutex<State<P>>,
    bell: B,
    /// The socket beside the lane, which ends with it.
    outbox: Arc<Outbox>,
}

/// What became of a frame that was offered by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Everything that has to be done is done.
    Done,
    /// It is the first of a batch, after which somebody has to look whether the other side sleeps.
    First,
}

impl<P: Placing, B: Bell> LaneQueue<P, B> {
    pub(super) fn new(producer: LaneProducer, placing: P, limits: OutboxLimits, bell: B, outbox: Arc<Outbox>) -> Self {
        let limits = OutboxLimits { frames: limits.frames.max(1), bytes: limits.bytes.max(1) };
        Self { state: Mutex::new(State::new(producer, placing, limits)), bell, outbox }
    }

    /// Takes a frame without waiting; as [`Outbox::offer`]. `bytes` is what it would be on a socket.
    #[inline]
    pub(super) fn offer(
        &self,
        token: u64,
        item: &Item<'_>,
        load: Load<'_, P::Held>,
        bytes: usize,
    ) -> Result<Touch, Refused> {
        let mut state = self.state.lock();
        if state.closed || state.violation.is_some() {
            // What would be taken now would stay for as long as somebody remembers the peer.
            return Err(Refused::Closed);
        }
        let taken = state.has_space().and_then(|has_space| {
            if has_space {
                state.take(item, load, bytes)?;
            }
            Ok(has_space)
        });
        match self.settle(&mut state, taken) {
            None => Err(Refused::Closed),
            Some(false) => Err(Refused::Full),
            Some(true) => Ok(state.touch(token)),
        }
    }

    /// As [`offer`](Self::offer) for each of these payloads, as many as there is room for; says how many. `head` is what
    /// a frame has beside its payload on a socket. `place` hands over in place those from an index on, if it can: it is
    /// asked when there is room for that.
    pub(super) fn offer_run(
        &self,
        token: u64,
        item: &Item<'_>,
        (payloads, head): (Payloads<'_>, usize),
        mut place: impl FnMut(&mut P, usize) -> Result<Option<PlacedRun>, Violation>,
    ) -> Result<(usize, Touch), Refused> {
        let mut state = self.state.lock();
        if state.closed || state.violation.is_some() {
            return Err(Refused::Closed);
        }
        let mut count = 0;
        let taken = loop {
            let rest = (payloads.skip(count), head);
            let taken = match state.take_placed(item, rest, |placing| place(placing, count)) {
                Ok(0) => state.take_some(item, rest),
                taken => taken,
            };
            match taken {
                Ok(0) => break Ok(()),
                Ok(more) => count += more,
                Err(violation) => break Err(violation),
            }
        };
        if let Err(violation) = taken {
            self.fail(&mut state, violation);
        }
        let touch = if count > 0 { state.touch(token) } else { Touch::Again };
        Ok((count, touch))
    }

    /// Takes an answer without waiting, limits or not; as [`Outbox::offer_answer`].
    pub(super) fn offer_answer(&self, token: u64, item: &Item<'_>, bytes: usize) -> Result<Touch, Refused> {
        let mut state = self.state.lock();
        if state.closed || state.violation.is_some() {
            return Err(Refused::Closed);
        }
        let taken = state.take(item, Load::Borrowed(&[]), bytes);
        match self.settle(&mut state, taken) {
            None => Err(Refused::Closed),
            Some(()) => Ok(state.touch(token)),
        }
    }

    /// Takes a frame of a client. One that waits for room in the ring does so only as long as the other side reads,
    /// and only if somebody would wake it. `op_id` is called when the frame is taken, under the lock.
    pub(super) fn poll_offer(
        &self,
        context: &mut Context<'_>,
        item: &Item<'_>,
        load: Load<'_, P::Held>,
        (is_urgent, op_id): (bool, impl FnOnce() -> u32),
    ) -> Poll<Result<Offered, Refused>> {
        let mut state = self.state.lock();
        if state.finishing {
            return Poll::Ready(Err(Refused::Closed));
        }
        if !is_urgent
            && let Load::Borrowed(payload) = &load
            && state.extend_run(item, payload)
        {
            op_id();
            let is_late = state.is_batch_full();
            if is_late {
                self.ring(&mut state);
            }
            return Poll::Ready(Ok(Offered::Done));
        }
        // Looking for room may move on what waits, without ringing for it.
        let is_first = state.producer.unsignaled() == 0;
        let is_patient = !context.waker().will_wake(Waker::noop());
        let room = state.has_space().and_then(|has_space| {
            let may_wait = is_patient && !state.spills && state.backlog.is_empty();
            // Whatever is longer than a record goes by the backlog anyway.
            Ok(has_space && (!may_wait || state.has_room_for(item, &load)?))
        });
        match self.settle(&mut state, room) {
            None => return Poll::Ready(Err(Refused::Closed)),
            Some(false) => {
                state.wait(context);
                // Who sleeps until there is room must not leave the other side asleep.
                self.ring(&mut state);
                return Poll::Pending;
            }
            Some(true) => {}
        }
        if let Load::Large(Large::Held(held)) = &load {
            state.payloads.add(P::length(held));
        }
        let head = item.head.with_op_id(op_id());
        let taken = match &load {
            // Somebody ends the batch: until then what follows may share a record that nobody sees yet.
            Load::Borrowed(payload) if !is_first && !is_urgent => state.open_run(item, payload),
            _ => Ok(false),
        };
        let taken =
            taken.and_then(|is_taken| if is_taken { Ok(()) } else { state.take(&Item { head, ..*item }, load, 0) });
        if self.settle(&mut state, taken).is_none() {
            return Poll::Ready(Err(Refused::Closed));
        }
        let is_late = is_urgent || !state.backlog.is_empty() || state.is_batch_full();
        if is_late {
            self.ring(&mut state);
        }
        // Whether the other side sleeps is looked at once a batch: the look costs a fence, which waits until the records
        // written before have left this processor.
        Poll::Ready(Ok(if is_first && !is_late { Offered::First } else { Offered::Done }))
    }

    /// Takes what belongs to the lane itself, limits or not, and rings. It overtakes the frames that wait: they may be
    /// copies that are made only because it has not arrived yet.
    pub(super) fn control(&self, descriptor: Descriptor) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.urgent.push_back(descriptor);
        let pumped = state.pump();
        self.settle(&mut state, pumped);
        self.ring(&mut state);
    }

    /// Takes what stands in order between the frames and is none, limits or not.
    pub(super) fn note(&self, head: Head) {
        let mut state = self.state.lock();
        if state.closed || state.violation.is_some() {
            return;
        }
        let item = Item { head, parts: Parts::default() };
        let taken = state.take(&item, Load::Borrowed(&[]), 0);
        state.taken_frames -= 1;
        self.settle(&mut state, taken);
    }

    /// Rings if the other side sleeps and something came for it.
    pub(super) fn flush(&self) {
        self.ring(&mut self.state.lock());
    }

    /// Rings: the other side waits for room in its own ring.
    pub(super) fn ring_anyway(&self) {
        self.bell.ring();
    }

    /// Moves what waits into the ring, as far as there is room, and wakes who waits for that. For the owner of the
    /// queue, whenever it was rung.
    ///
    /// # Errors
    /// When the peer has broken the rules.
    pub(super) fn pump(&self) -> Result<(), Violation> {
        let mut state = self.state.lock();
        if let Some(violation) = state.violation {
            return Err(violation);
        }
        if state.backlog.is_empty() && state.waiting.is_empty() && state.flushing.is_empty() && state.urgent.is_empty()
        {
            return Ok(());
        }
        self.advance(&mut state);
        state.violation.map_or(Ok(()), Err)
    }

    /// Since when somebody has waited for room in the ring.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        if state.waiting.is_empty() || state.spills { None } else { state.waiting_since }
    }

    /// Frames that were taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.state.lock().taken_frames
    }

    /// As [`taken`](Self::taken); there will be no more of a client.
    pub(super) fn finish(&self) -> u64 {
        let mut state = self.state.lock();
        state.finishing = true;
        state.taken_frames
    }

    /// Ready with `true` when the first `frames` that were taken are in the ring and the other side was rung, with `false`
    /// when the lane is closed.
    pub(super) fn poll_written_to(&self, context: &mut Context<'_>, frames: u64) -> Poll<bool> {
        let mut state = self.state.lock();
        if state.closed || state.taken_frames - state.backlog.frames() as u64 >= frames {
            self.ring(&mut state);
            return Poll::Ready(!state.closed);
        }
        state.wait_for_progress(context);
        Poll::Pending
    }

    /// The other side does not make room: who waits for it may use the backlog, up to its limits.
    pub(super) fn spill(&self) {
        let mut state = self.state.lock();
        state.spills = true;
        state.spills_since = state.producer.head();
        state.waiting.drain(..).for_each(Waker::wake);
    }

    /// Ready with `true` when less than `limits` waits and the other side was rung, with `false` when the lane is closed.
    pub(super) fn poll_below(&self, context: &mut Context<'_>, limits: OutboxLimits) -> Poll<bool> {
        let mut state = self.state.lock();
        let is_below = state.waiting_frames() < limits.frames && state.backlog.weight() < limits.bytes;
        if state.closed || is_below {
            self.ring(&mut state);
            return Poll::Ready(!state.closed);
        }
        state.wait_for_progress(context);
        Poll::Pending
    }

    /// Whether more than half of a limit waits. Then nothing waits for an answer of the peer, who may not be read from
    /// because of that.
    pub(super) fn is_half_full(&self) -> bool {
        let mut state = self.state.lock();
        if !state.is_half_full() {
            return false;
        }
        self.advance(&mut state);
        state.is_half_full()
    }

    pub(super) fn level(&self) -> Level {
        self.state.lock().level()
    }

    /// Works on what hands payloads over; `None` when the lane is closed, or the work finds a violation.
    pub(super) fn placing<T>(&self, work: impl FnOnce(&mut P) -> Result<T, Violation>) -> Option<T> {
        let mut state = self.state.lock();
        let done = if state.closed { return None } else { work(&mut state.placing) };
        self.settle(&mut state, done)
    }

    /// Takes no more; drops what waits and says what that was. `last` looks at what hands payloads over.
    pub(super) fn close<T>(&self, last: impl FnOnce(&mut P) -> T) -> (Level, T) {
        let mut state = self.state.lock();
        let level = state.level();
        state.producer.close_run();
        state.closed = true;
        state.urgent.clear();
        let backlog = std::mem::take(&mut state.backlog);
        let (waiting, flushing) = (std::mem::take(&mut state.waiting), std::mem::take(&mut state.flushing));
        let last = last(&mut state.placing);
        drop(state);
        drop(backlog);
        waiting.into_iter().chain(flushing).for_each(Waker::wake);
        (level, last)
    }

    fn advance(&self, state: &mut MutexGuard<'_, State<P>>) {
        let pumped = state.pump().and_then(|()| state.is_at_ease());
        let is_at_ease = self.settle(state, pumped);
        self.ring(state);
        state.flushing.drain(..).for_each(Waker::wake);
        if is_at_ease != Some(false) {
            state.waiting.drain(..).for_each(Waker::wake);
        }
    }

    #[inline]
    fn ring(&self, state: &mut MutexGuard<'_, State<P>>) {
        state.payloads.end();
        if state.producer.must_ring() {
            self.bell.ring();
        }
    }

    /// Remembers a violation and ends the connection for it; `None` when the lane is closed.
    #[inline]
    fn settle<T>(&self, state: &mut MutexGuard<'_, State<P>>, outcome: Result<T, Violation>) -> Option<T> {
        if let Err(violation) = &outcome {
            self.fail(state, *violation);
        }
        if state.closed || state.violation.is_some() { None } else { outcome.ok() }
    }

    #[cold]
    fn fail(&self, state: &mut MutexGuard<'_, State<P>>, violation: Violation) {
        if state.violation.is_none() {
            state.violation = Some(violation);
            // The task that serves the connection sees the end, and why.
            self.outbox.shut_down();
        }
    }
}

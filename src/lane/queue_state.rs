//! What stands before a lane's ring, and the ring: all that the queue's lock guards.

use std::collections::VecDeque;
use std::task::{Context, Waker};
use std::time::Instant;

use busway_net::link::{Level, OutboxLimits, Touch};
use busway_net::wire::Payloads;
use busway_shm::layout::{GRANULE, Head, flag};
use busway_shm::{Descriptor, Parts, Violation, record_length, short_record_length};

use super::backlog::{Backlog, Front, Large};
use super::payload_batch::PayloadBatch;
use super::placing::{PlacedRun, Placing};
use super::queue::{Item, LaneProducer, Load};
use super::record::{Progress, push_large};

/// Bytes that a sleeping consumer is not woken for while their sender may go on: the bell is then rung by whoever
/// ends the batch.
const RING_AT: u64 = 32 << 10;
/// Fragments are this fraction of the ring: small enough that several fit whenever half of it is free.
const FRAGMENT_FRACTION: usize = 8;

pub(super) struct State<P: Placing> {
    pub(super) producer: LaneProducer,
    pub(super) placing: P,
    pub(super) limits: OutboxLimits,
    pub(super) backlog: Backlog<P::Held>,
    /// What overtakes the backlog.
    pub(super) urgent: VecDeque<Descriptor>,
    pub(super) next_stream: u32,
    pub(super) token: Option<u64>,
    pub(super) taken_frames: u64,
    pub(super) taken_bytes: u64,
    pub(super) waiting: Vec<Waker>,
    /// Who waits until something is in the ring, and looks whenever there was room.
    pub(super) flushing: Vec<Waker>,
    /// Nothing is taken any more: the client is closing.
    pub(super) finishing: bool,
    /// Since when somebody waits for room.
    pub(super) waiting_since: Option<Instant>,
    /// Who waits for room in the ring may use the backlog instead: the other side does not read at the moment.
    pub(super) spills: bool,
    /// The consumer's position when it began to.
    pub(super) spills_since: u64,
    pub(super) payloads: PayloadBatch,
    pub(super) closed: bool,
    pub(super) violation: Option<Violation>,
}

impl<P: Placing> State<P> {
    pub(super) fn new(producer: LaneProducer, placing: P, limits: OutboxLimits) -> Self {
        Self {
            producer,
            placing,
            limits,
            backlog: Backlog::default(),
            urgent: VecDeque::new(),
            next_stream: 0,
            token: None,
            taken_frames: 0,
            taken_bytes: 0,
            waiting: Vec::new(),
            flushing: Vec::new(),
            finishing: false,
            waiting_since: None,
            spills: false,
            spills_since: 0,
            payloads: PayloadBatch::default(),
            closed: false,
            violation: None,
        }
    }

    #[inline]
    pub(super) fn touch(&mut self, token: u64) -> Touch {
        let before = self.token.replace(token);
        if before == Some(token) { Touch::Again } else { Touch::First }
    }

    /// Remembers who waits.
    pub(super) fn wait(&mut self, context: &Context<'_>) {
        if self.waiting.is_empty() {
            self.waiting_since = Some(Instant::now());
        }
        if !self.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            self.waiting.push(context.waker().clone());
        }
    }

    /// Remembers who looks whenever there was room.
    pub(super) fn wait_for_progress(&mut self, context: &Context<'_>) {
        if !self.flushing.iter().any(|waker| waker.will_wake(context.waker())) {
            self.flushing.push(context.waker().clone());
        }
    }

    /// Whether a sleeping consumer is woken although its sender may go on.
    pub(super) fn is_batch_full(&self) -> bool {
        self.producer.unsignaled() >= RING_AT || self.payloads.is_full()
    }

    pub(super) fn level(&self) -> Level {
        Level {
            frames: self.backlog.frames(),
            bytes: self.backlog.weight(),
            taken_frames: self.taken_frames,
            taken_bytes: self.taken_bytes,
            progress: self.producer.head(),
        }
    }

    /// What is the lane's own counts, too: a peer that asks for things and never reads the answers is held like one
    /// that is sent too much.
    pub(super) fn waiting_frames(&self) -> usize {
        self.backlog.frames() + self.urgent.len()
    }

    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.waiting_frames() >= self.limits.frames || self.backlog.weight_behind() >= self.limits.bytes
    }

    pub(super) fn is_half_full(&self) -> bool {
        self.waiting_frames() > self.limits.frames / 2 || self.backlog.weight() > self.limits.bytes / 2
    }

    /// Whether those who wait can go on; if not, asks to be woken when they can.
    pub(super) fn is_at_ease(&mut self) -> Result<bool, Violation> {
        if self.spills && self.producer.head() != self.spills_since {
            self.spills = false;
        }
        if self.waiting.is_empty() || !self.backlog.is_empty() || self.spills {
            return Ok(!self.is_half_full());
        }
        self.producer.arm_space(GRANULE)
    }

    #[inline]
    pub(super) fn has_space(&mut self) -> Result<bool, Violation> {
        if self.is_over() {
            // There may be room that nobody has looked at.
            self.pump()?;
        }
        Ok(!self.is_over())
    }

    /// Whether the ring has room for a frame at once; if not, asks to be woken.
    #[inline]
    pub(super) fn has_room_for(&mut self, item: &Item<'_>, load: &Load<'_, P::Held>) -> Result<bool, Violation> {
        let (name, second) = (item.parts.name.len(), item.parts.second.len());
        let length = match load {
            Load::Borrowed(bytes) => short_record_length(name, second, bytes.len()),
            Load::Large(Large::Shared(bytes)) => record_length(name, second, bytes.len()),
            Load::Large(Large::Held(_)) => record_length(name, second, 0),
        };
        if length > self.producer.max_record() || self.producer.has_room_for(length)? {
            return Ok(true);
        }
        self.producer.arm_space(length)
    }

    #[inline]
    pub(super) fn take(&mut self, item: &Item<'_>, load: Load<'_, P::Held>, bytes: usize) -> Result<(), Violation> {
        self.taken_frames += 1;
        self.taken_bytes += bytes as u64;
        let is_first = self.backlog.is_empty() && self.urgent.is_empty();
        match load {
            Load::Borrowed(payload) => {
                if is_first && self.producer.push_frame(item.head, item.parts, payload)? {
                    return Ok(());
                }
                self.backlog.push(&item.head.into(), item.parts, payload);
            }
            Load::Large(large) => self.backlog.push_large(&item.head.into(), item.parts, large),
        }
        // What waited before has asked to be woken.
        if is_first { self.pump() } else { Ok(()) }
    }

    /// Takes the first of these payloads, several if they can share a record; says how many, none when there is no
    /// space. `head` is what a frame has beside its payload on a socket.
    #[inline]
    pub(super) fn take_some(
        &mut self,
        item: &Item<'_>,
        (payloads, head): (Payloads<'_>, usize),
    ) -> Result<usize, Violation> {
        let Some(first) = payloads.iter().next() else { return Ok(0) };
        if !self.has_space()? {
            return Ok(0);
        }
        if self.backlog.is_empty() && self.urgent.is_empty() {
            let count = self.producer.push_run(item.head, item.parts, payloads.iter())?;
            if count > 0 {
                self.count_taken((payloads, head), count);
                return Ok(count);
            }
        }
        self.take(item, Load::Borrowed(first), head + first.len())?;
        Ok(1)
    }

    /// Takes the first of these payloads in place, as many as `place` hands over; says how many. It is asked when there is
    /// room for the record.
    #[inline]
    pub(super) fn take_placed(
        &mut self,
        item: &Item<'_>,
        payloads: (Payloads<'_>, usize),
        place: impl FnOnce(&mut P) -> Result<Option<PlacedRun>, Violation>,
    ) -> Result<usize, Violation> {
        if payloads.0.is_empty() || !self.backlog.is_empty() || !self.urgent.is_empty() {
            return Ok(0);
        }
        let length = record_length(item.parts.name.len(), item.parts.second.len(), 0);
        let Some(mut reservation) = self.producer.reserve(length)? else { return Ok(0) };
        let Some(run) = place(&mut self.placing)? else { return Ok(0) };
        let descriptor = run.place.descriptor(item.head.into(), item.parts, run.bytes);
        reservation.write_parts(item.parts);
        reservation.commit_dense(&Descriptor { flags: descriptor.flags | flag::RUN, ..descriptor });
        self.count_taken(payloads, run.frames);
        Ok(run.frames)
    }

    fn count_taken(&mut self, (payloads, head): (Payloads<'_>, usize), count: usize) {
        self.taken_frames += count as u64;
        self.taken_bytes += payloads.iter().take(count).map(|payload| (head + payload.len()) as u64).sum::<u64>();
    }

    /// Adds a frame that nobody waits for to the record that the one before it is in, if that is open and nothing stands
    /// against it.
    #[inline]
    pub(super) fn extend_run(&mut self, item: &Item<'_>, payload: &[u8]) -> bool {
        let is_next = self.backlog.is_empty() && !self.closed && self.violation.is_none();
        let is_taken = is_next && self.producer.extend_run(item.head, item.parts, payload);
        self.taken_frames += u64::from(is_taken);
        is_taken
    }

    /// Takes a frame that nobody waits for, and leaves its record open for more; says whether it could be done.
    #[inline]
    pub(super) fn open_run(&mut self, item: &Item<'_>, payload: &[u8]) -> Result<bool, Violation> {
        let is_next = self.backlog.is_empty() && self.urgent.is_empty();
        let is_taken = is_next && self.producer.open_run(item.head, item.parts, payload)?;
        self.taken_frames += u64::from(is_taken);
        Ok(is_taken)
    }

    /// Moves the backlog into the ring. What stays has asked to be woken.
    pub(super) fn pump(&mut self) -> Result<(), Violation> {
        let fragment = self.producer.max_record() * 4 / FRAGMENT_FRACTION;
        while let Some(descriptor) = self.urgent.front() {
            if self.producer.push(descriptor, Parts::default(), &[])? {
                self.urgent.pop_front();
            } else if !self.producer.arm_space(GRANULE)? {
                return Ok(());
            }
        }
        // A peer that floods itself is not read from, and could not say what is waited for.
        let may_wait = !self.is_half_full();
        while let Some(front) = self.backlog.front() {
            let Front { descriptor, parts, payload, body } = front;
            let progress = match body {
                None if self.producer.push_frame(Head::from(&descriptor), parts, payload)? => Progress::Done,
                None => Progress::Needs(short_record_length(parts.name.len(), parts.second.len(), payload.len())),
                Some(body) => {
                    let how = (fragment, &mut self.next_stream, may_wait);
                    push_large(&mut self.producer, &mut self.placing, (&descriptor, parts), body, how)?
                }
            };
            match progress {
                Progress::Done => self.backlog.pop(),
                Progress::Needs(length) => {
                    if !self.producer.arm_space(length)? {
                        break;
                    }
                }
                Progress::Later => break,
            }
        }
        Ok(())
    }
}

//! The broker's end of a lane, as a sink of frames.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use busway_net::link::{Level, Outbox, OutboxLimits, Refused, Touch};
use busway_net::wire::{BrokerHeader, FrameKind, ResultCode};
use busway_shm::layout::{Head, flag, operation};
use busway_shm::{Descriptor, DownBell, Parts, PeerSegment, ReturnReader, Slots, Violation};
use bytes::Bytes;

use super::account::{OnLane, Pin, Segment};
use super::backlog::Large;
use super::budget::Spent;
use super::common::{CHUNKS_OF_ONE, CommonArena, CommonRun};
use super::frame_run::FrameRun;
use super::introductions::{Acquaintance, Introductions};
use super::options::ShmTrust;
use super::placing::{Place, Placed, PlacedRun, Placing};
use super::queue::{Item, LaneProducer, LaneQueue, Load};
use super::{COPY_MAX, Outgoing, Routed, WAIT_MIN};

/// Returned leases that are taken back in one go.
const RETURNS_AT_ONCE: usize = 256;
/// How often that is done when somebody tidies up.
const TIDY_ROUNDS: usize = 4;

/// What the broker sends to one client.
pub(crate) struct DownLane {
    queue: LaneQueue<Leases, DownBell>,
    receiver: u64,
    counters: Arc<Counters>,
    /// Of the client's user: what it gets of it with others is soon to come.
    common: Option<Arc<CommonArena>>,
    /// Counts for as long as somebody remembers the client, which may be longer than its connection lasts.
    _spent: Arc<Spent>,
}

/// Payloads that went to a client, by how.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) in_place: AtomicU64,
    pub(crate) copied: AtomicU64,
}

/// What a client holds, and which segments it has mapped.
pub(super) struct Leases {
    /// The lane of which this is a part.
    own: Weak<DownLane>,
    slots: Slots<Leased>,
    /// Slots with what was written once for several receivers.
    common: u32,
    returned: ReturnReader<Arc<PeerSegment>>,
    introductions: Introductions,
    counters: Arc<Counters>,
}

/// What a client holds under a slot until it gives it back.
enum Leased {
    Payload { _pin: Pin },
    Common { _run: Arc<CommonRun> },
}

impl DownLane {
    pub(super) fn new(
        producer: LaneProducer,
        returned: ReturnReader<Arc<PeerSegment>>,
        slots: u32,
        bell: DownBell,
        outbox: &Arc<Outbox>,
        (limits, user, trust, receiver): (OutboxLimits, u32, ShmTrust, u64),
        (spent, common): (Arc<Spent>, Option<Arc<CommonArena>>),
    ) -> Arc<Self> {
        let counters = Arc::new(Counters::default());
        let leases = |own: &Weak<Self>| Leases {
            own: Weak::clone(own),
            slots: Slots::new(slots),
            common: 0,
            returned,
            introductions: Introductions::new(user, trust, outbox),
            counters: Arc::clone(&counters),
        };
        Arc::new_cyclic(|own| {
            let queue = LaneQueue::new(producer, leases(own), limits, bell, Arc::clone(outbox));
            Self { queue, receiver, counters: Arc::clone(&counters), common, _spent: spent }
        })
    }

    /// Where what the client and others are sent together is written.
    pub(crate) fn common(&self) -> Option<&Arc<CommonArena>> {
        self.common.as_ref()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Refused> {
        let (item, head) = item_of(frame);
        let length = frame.prefix.len() + frame.content.len();
        let prefixed;
        let load = if !frame.prefix.is_empty() {
            // Answers of the broker itself.
            prefixed = frame.content.with_prefix(frame.prefix);
            if prefixed.len() <= COPY_MAX { Load::Borrowed(&prefixed) } else { Bytes::from(prefixed.clone()).into() }
        } else {
            match &frame.content {
                Routed::Borrowed(bytes) => Load::Borrowed(bytes),
                Routed::Owned(payload) if payload.len() <= COPY_MAX => Load::Borrowed(payload),
                Routed::Owned(payload) => payload.bytes().into(),
                Routed::Piped(piped) => piped.copy().clone().into(),
                Routed::Lane(place) => self.hold(*place),
            }
        };
        self.queue.offer(token, &item, load, head + length)
    }

    /// As [`Sink::offer_run`](super::Sink::offer_run).
    ///
    /// # Errors
    /// When the lane has ended.
    pub(super) fn offer_run(
        &self,
        token: u64,
        frame: &Outgoing<'_>,
        run: &FrameRun<'_>,
    ) -> Result<(usize, Touch), Refused> {
        let (item, head) = item_of(frame);
        let arena = run.arena();
        let place = |leases: &mut Leases, start| match arena {
            Some(arena) => leases.place_run(arena, || run.common_run(start)),
            None => Ok(None),
        };
        self.queue.offer_run(token, &item, (run.payloads(), head), place)
    }

    /// A payload of another lane: held in place, or copied if this client holds too much of it.
    fn hold(&self, place: OnLane<'_>) -> Load<'static, Pin> {
        let pin = place.pin(self.receiver).or_else(|| {
            // It may have given back meanwhile what nobody has looked at since.
            self.queue.placing(Leases::take_back)?;
            place.pin(self.receiver)
        });
        match pin {
            Some(pin) => Load::Large(Large::Held(pin)),
            None => {
                self.counters.copied.fetch_add(1, Ordering::Relaxed);
                let mut bytes = Vec::with_capacity(place.payload().len());
                place.payload().copy_all(&mut bytes);
                Bytes::from(bytes).into()
            }
        }
    }

    pub(crate) fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Refused> {
        let head = Head::new(FrameKind::ACKNOWLEDGEMENT, 0, code.0, op_id);
        let item = Item { head, parts: Parts::default() };
        self.queue.offer_answer(token, &item, BrokerHeader::SIZE)
    }

    /// How many frames the client has lost before the next one.
    pub(super) fn tell_gap(&self, frames: u32) {
        self.queue.note(Head::new(operation::GAP, 0, 0, frames));
    }

    /// As [`LaneQueue::poll_below`].
    pub(super) fn poll_below(&self, context: &mut Context<'_>, limits: OutboxLimits) -> Poll<bool> {
        self.queue.poll_below(context, limits)
    }

    pub(crate) fn flush(&self) {
        self.queue.flush();
    }

    /// Wakes the client: it waits for room.
    pub(super) fn ring(&self) {
        self.queue.ring_anyway();
    }

    /// For the connection's task, whenever the client has rung.
    pub(crate) fn pump(&self) -> Result<(), Violation> {
        self.queue.pump()
    }

    pub(crate) fn is_half_full(&self) -> bool {
        self.queue.is_half_full()
    }

    pub(crate) fn level(&self) -> Level {
        self.queue.level()
    }

    /// Something of the lane itself.
    pub(super) fn control(&self, descriptor: Descriptor) {
        self.queue.control(descriptor);
    }

    /// Takes back what the client has given back, and tells it which segments are gone. Now and then, so that neither
    /// waits for the next frame.
    pub(crate) fn tidy(&self) {
        let gone = self.queue.placing(|leases| {
            for _ in 0..TIDY_ROUNDS {
                if leases.take_back()? < RETURNS_AT_ONCE {
                    break;
                }
            }
            Ok(leases.introductions.look())
        });
        for number in gone.unwrap_or_default() {
            let descriptor =
                Descriptor { operation: operation::SEGMENT_GONE, segment: number.into(), ..Descriptor::default() };
            self.queue.control(descriptor);
        }
        // What has waited too long for an introduction is copied.
        self.resume();
    }

    /// The lane is in use from now on: the client is to map what is written for it and others together, before the first of
    /// that comes.
    pub(super) fn begin(&self) {
        if let Some(arena) = &self.common {
            self.introduce(arena.segment());
        }
        self.flush();
    }

    /// A sender whose payloads the client reads in place has got a new arena.
    pub(super) fn introduce(&self, segment: &Arc<Segment>) {
        self.queue.placing(|leases| {
            leases.introductions.of(segment, &mut false);
            Ok(())
        });
    }

    /// The client has mapped a segment, or cannot.
    pub(super) fn introduced(&self, number: u32, token: u64, is_mapped: bool) {
        self.queue.placing(|leases| leases.introductions.answered(number, token, is_mapped));
        self.resume();
    }

    /// Goes on with what may have waited for an introduction, or for room. Who breaks the rules is seen by its
    /// connection's task.
    pub(super) fn resume(&self) {
        let _ = self.queue.pump();
    }

    /// Ends the lane; what the client still holds is what is returned.
    pub(crate) fn close(&self) -> (Level, Zombie) {
        self.queue.close(|leases| {
            let _ = leases.take_back();
            let slots = std::mem::replace(&mut leases.slots, Slots::new(0));
            leases.introductions.clear();
            Zombie { slots, returned: leases.returned.clone() }
        })
    }
}

/// A frame without its payload, and how many bytes that would be on a socket.
fn item_of<'a>(frame: &Outgoing<'a>) -> (Item<'a>, usize) {
    let (sender, topic) = (frame.names.sender.as_bytes(), frame.names.topic.as_ref().map(|topic| topic.as_bytes()));
    let names = sender.len() + 1 + topic.map_or(0, |topic| topic.len() + 1);
    let head = Head::new(frame.kind as u8, if frame.realtime { flag::REALTIME } else { 0 }, 0, 0);
    let parts = Parts { name: sender, second: topic.unwrap_or_default() };
    (Item { head, parts }, BrokerHeader::SIZE + names)
}

/// What a client holds whose connection has ended: its process may still read it.
pub(crate) struct Zombie {
    slots: Slots<Leased>,
    returned: ReturnReader<Arc<PeerSegment>>,
}

impl Zombie {
    /// Takes back what was given back meanwhile; says whether anything is left. A process that breaks the rules keeps
    /// what it has until it ends.
    pub(crate) fn holds_something(&mut self) -> bool {
        for _ in 0..RETURNS_AT_ONCE * 4 {
            match self.returned.next_returned() {
                Ok(Some((slot, generation))) => drop(self.slots.take(slot, generation)),
                _ => break,
            }
        }
        self.slots.out() > 0
    }
}

impl Leases {
    /// Takes back what the client has given back, some of it; says how much.
    fn take_back(&mut self) -> Result<usize, Violation> {
        for count in 0..RETURNS_AT_ONCE {
            let Some((slot, generation)) = self.returned.next_returned()? else { return Ok(count) };
            if let Leased::Common { .. } = self.slots.take(slot, generation)? {
                self.common -= 1;
            }
        }
        Ok(RETURNS_AT_ONCE)
    }

    /// Hands over what was written once for several receivers, if the client may read it there and does not hold much.
    fn place_run(
        &mut self,
        arena: &CommonArena,
        run: impl FnOnce() -> Option<Arc<CommonRun>>,
    ) -> Result<Option<PlacedRun>, Violation> {
        self.take_back()?;
        let may_read = self.introductions.of(arena.segment(), &mut false) == Acquaintance::Mapped;
        if !may_read || self.common >= CHUNKS_OF_ONE || !self.slots.has_free() {
            return Ok(None);
        }
        let Some(run) = run() else { return Ok(None) };
        let (frames, bytes, offset) = (run.frames, run.bytes, run.offset() as u64);
        let Ok((slot, generation)) = self.slots.put(Leased::Common { _run: run }) else { return Ok(None) };
        self.common += 1;
        let place = Place { segment: arena.segment().number, offset, slot, generation };
        Ok(Some(PlacedRun { frames, bytes, place }))
    }
}

impl Placing for Leases {
    type Held = Pin;

    fn place(&mut self, pin: Pin, may_wait: bool) -> Result<Placed<Pin>, Violation> {
        self.take_back()?;
        let payload = Arc::clone(pin.payload());
        let mut is_new = false;
        let acquaintance = self.introductions.of(payload.segment(), &mut is_new);
        if is_new {
            payload.account().add_reader(&self.own);
        }
        match acquaintance {
            Acquaintance::Mapped => {}
            Acquaintance::Coming if may_wait && payload.len() >= WAIT_MIN => return Ok(Placed::Later(pin)),
            _ => return Ok(Placed::Copy(pin)),
        }
        if !self.slots.has_free() {
            return Ok(Placed::Copy(pin));
        }
        // One was free.
        let (slot, generation) = self.slots.put(Leased::Payload { _pin: pin }).map_err(|_| Violation::Slot)?;
        self.counters.in_place.fetch_add(1, Ordering::Relaxed);
        let offset = payload.offset() as u64;
        Ok(Placed::There(Place { segment: payload.segment().number, offset, slot, generation }))
    }

    fn length(pin: &Pin) -> usize {
        pin.payload().len()
    }

    fn copy(pin: &Pin, position: usize, bytes: &mut [u8]) {
        pin.payload().copy(position, bytes);
    }

    fn count_copy(&mut self) {
        self.counters.copied.fetch_add(1, Ordering::Relaxed);
    }
}

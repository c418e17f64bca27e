//! What the broker sends by a lane, as the client reads it.

use std::sync::Arc;

use busway_net::Pool;
use busway_net::wire::{FrameKind, ResultCode};
use busway_shm::layout::{flag, operation};
use busway_shm::{Consumer, GiveBack, OwnSegment, PeerSegment, Record, RecordPlace, Sample, Violation};

use super::fragments::{Fragments, Piece};
use super::run_at_hand::RunAtHand;
use super::up::UpLane;
use crate::frame_names::FrameNames;
use crate::payload::{Payload, SHORT};

/// Ring bytes that are read before their room is given back.
const RELEASE_AT: u64 = 16 << 10;
/// Payloads of different senders that may arrive in pieces at the same time.
const MAX_STREAMS: usize = 256;
/// What the broker sends by a lane, as the client reads it.
pub(crate) struct DownIntake {
    consumer: Consumer<Arc<OwnSegment>, Arc<PeerSegment>>,
    lane: Arc<UpLane>,
    fragments: Fragments<Head>,
    /// Where the record at hand is, if the names of its frame are in it: they are looked at there.
    place: Option<RecordPlace>,
    /// Otherwise, or when they are new, the names of the frame at hand, ...
    names: Vec<u8>,
    /// ... and where the topic begins.
    topic: usize,
    /// Its payload, unless that is a short one in the record.
    whole: Option<Payload>,
    /// Frames that share a record, of which one is at hand if `is_run`.
    run: RunAtHand,
    is_run: bool,
}

/// What the first fragment says of a frame.
struct Head {
    kind: FrameKind,
    realtime: bool,
    names: Vec<u8>,
    first: usize,
}

/// Something for the application.
// So small that it is handed on in registers: in memory it would be waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrival {
    Confirmation {
        op_id: u32,
        code: ResultCode,
    },
    /// Frames that the broker has dropped before the next one.
    Gap {
        frames: u32,
    },
    /// A frame; the intake has the rest of it until the next arrival.
    Delivery {
        kind: FrameKind,
        realtime: bool,
    },
}

impl DownIntake {
    pub(super) fn new(
        consumer: Consumer<Arc<OwnSegment>, Arc<PeerSegment>>,
        lane: &Arc<UpLane>,
        max_payload: usize,
    ) -> Self {
        let fragments = Fragments::new(MAX_STREAMS, max_payload);
        Self {
            consumer,
            lane: Arc::clone(lane),
            fragments,
            place: None,
            names: Vec::new(),
            topic: 0,
            whole: None,
            run: RunAtHand::default(),
            is_run: false,
        }
    }

    /// Whether the frame at hand has these names: its topic counts if there is one in `names`.
    #[inline]
    pub(crate) fn has_names(&self, names: &FrameNames) -> bool {
        if self.is_run {
            return self.run.has_names(names);
        }
        let topic = names.topic.as_deref().map(str::as_bytes);
        self.place.is_some_and(|place| self.consumer.holds_names(place, names.sender.as_bytes(), topic))
    }

    /// Sender and topic of the frame at hand; what is in the topic's place where it is no publication.
    pub(crate) fn names(&mut self) -> (&[u8], &[u8]) {
        if self.is_run {
            return self.run.names();
        }
        if let Some(place) = self.place {
            self.topic = self.consumer.copy_names(place, &mut self.names);
        }
        self.names.split_at(self.topic)
    }

    /// The payload of the frame at hand, unless it is a short one that is to be copied.
    pub(crate) fn take_payload(&mut self) -> Option<Payload> {
        if self.whole.is_some() { self.whole.take() } else { None }
    }

    /// The payload of the frame at hand, if it is a short one: at most [`SHORT`] bytes, read where it lies.
    #[inline(always)]
    pub(crate) fn short_payload(&self) -> Payload {
        if self.is_run {
            return Payload::short(self.run.payload());
        }
        let Some(place) = self.place else { return Payload::new() };
        Payload::of_words(place.payload_length(), self.consumer.short_payload(place))
    }

    /// The next thing for the application; what concerns the lane itself is done on the way.
    ///
    /// # Errors
    /// When the broker breaks the rules.
    pub(crate) fn next_arrival(&mut self, pool: &Pool) -> Result<Option<Arrival>, Violation> {
        if self.run.has_more() {
            return self.next_of_run();
        }
        self.is_run = false;
        loop {
            if self.consumer.unreleased() >= RELEASE_AT {
                self.release();
            }
            let Some(record) = self.consumer.next_record()? else { return Ok(None) };
            let descriptor = &record.descriptor;
            let number = descriptor.segment.get();
            match descriptor.operation {
                operation::SEGMENT_GONE => drop(self.lane.segments.lock().remove(&number)),
                operation::ARENA_READY => self.lane.arena_answer(number, true),
                operation::ARENA_REFUSED => self.lane.arena_answer(number, false),
                FrameKind::ACKNOWLEDGEMENT => {
                    let code = ResultCode(descriptor.code);
                    return Ok(Some(Arrival::Confirmation { op_id: descriptor.op_id.get(), code }));
                }
                operation::GAP => return Ok(Some(Arrival::Gap { frames: descriptor.op_id.get() })),
                kind => {
                    let kind = FrameKind::from_byte(kind).ok_or(Violation::Descriptor)?;
                    if record.is_run() {
                        if descriptor.flags & flag::IN_PLACE == 0 {
                            self.run.begin(&self.consumer, &record, kind)?;
                        } else {
                            // It goes back at once: what is small is copied.
                            let sample = self.sample(&record)?;
                            self.run.begin_in_place(&self.consumer, &record, kind, &sample)?;
                        }
                        self.is_run = true;
                        return self.next_of_run();
                    }
                    if record.descriptor.flags & flag::FRAGMENT == 0 {
                        return self.whole(&record, kind).map(Some);
                    }
                    if let Some((head, memory)) = self.piece(&record, kind, pool)? {
                        let Head { kind, realtime, names, first } = head;
                        (self.place, self.topic) = (None, first);
                        // Keeps the memory, too.
                        self.names = names;
                        self.whole = Some(pool.share(memory).into());
                        return Ok(Some(Arrival::Delivery { kind, realtime }));
                    }
                }
            }
        }
    }

    /// The next of the frames that share a record.
    #[inline]
    fn next_of_run(&mut self) -> Result<Option<Arrival>, Violation> {
        let arrival = self.run.next_arrival()?;
        let payload = self.run.payload();
        if payload.len() > SHORT {
            self.whole = Some(payload.to_vec().into());
        }
        Ok(arrival)
    }

    /// Takes a record that is a whole frame. Its names, and a short payload, stay where they are until they are asked for.
    #[inline]
    fn whole(&mut self, record: &Record, kind: FrameKind) -> Result<Arrival, Violation> {
        let descriptor = &record.descriptor;
        let place = RecordPlace::from(record);
        self.place = Some(place);
        if descriptor.flags & flag::IN_PLACE == 0 {
            if place.payload_length() > SHORT {
                let mut payload = Vec::new();
                self.consumer.copy_payload(place, &mut payload);
                self.whole = Some(payload.into());
            }
        } else {
            self.whole = Some(Payload::in_place(Arc::new(self.sample(record)?)));
        }
        Ok(Arrival::Delivery { kind, realtime: descriptor.flags & flag::REALTIME != 0 })
    }

    /// What a record names in place.
    fn sample(&self, record: &Record) -> Result<Sample, Violation> {
        let descriptor = &record.descriptor;
        let segment = self.lane.segments.lock().get(&descriptor.segment.get()).cloned();
        let Some(segment) = segment else {
            self.give_back(record);
            return Err(Violation::Range);
        };
        let range = (descriptor.offset.get(), descriptor.payload.get());
        let slot = (descriptor.slot.get(), descriptor.generation.get());
        Sample::new(segment, range, slot, Arc::clone(&self.lane.releases) as Arc<dyn GiveBack>)
    }

    /// Gives back what a record lends and nobody will read.
    fn give_back(&self, record: &Record) {
        let descriptor = &record.descriptor;
        if descriptor.flags & flag::IN_PLACE != 0 {
            self.lane.releases.push(descriptor.slot.get(), descriptor.generation.get());
        }
    }

    /// Copies a fragment; `None` when more are to come.
    #[inline(never)]
    fn piece(&mut self, record: &Record, kind: FrameKind, pool: &Pool) -> Result<Option<(Head, Vec<u8>)>, Violation> {
        let mut names = Vec::new();
        let first = self.consumer.copy_names(record, &mut names);
        let head = Head { kind, realtime: record.descriptor.flags & flag::REALTIME != 0, names, first };
        let consumer = &self.consumer;
        let copy = |memory: &mut Vec<u8>| consumer.copy_payload(record, memory);
        self.fragments.add(Piece::of(&record.descriptor), pool, || Ok(head), copy)
    }

    /// Gives the room of what was read back to the broker. Others may have their turn after it.
    pub(crate) fn release(&mut self) {
        self.run.pause();
        if self.consumer.release() {
            self.lane.ring();
        }
    }

    /// Says whether there is nothing to read; only then may the caller sleep.
    ///
    /// # Errors
    /// When the broker breaks the rules.
    pub(crate) fn arm(&mut self) -> Result<bool, Violation> {
        self.consumer.arm()
    }

    /// Whether there is something to read.
    ///
    /// # Errors
    /// When the broker breaks the rules.
    pub(crate) fn poll(&mut self) -> Result<bool, Violation> {
        self.consumer.poll()
    }
}

impl Drop for DownIntake {
    /// What was not read before the end of the connection goes back: the broker counts it as held for as long as this
    /// process lives, because nobody else can say that it is not.
    fn drop(&mut self) {
        if !self.lane.is_here() {
            return;
        }
        // No room is given back: there is not more than a ring of it.
        while let Ok(Some(record)) = self.consumer.next_record() {
            if FrameKind::from_byte(record.descriptor.operation).is_some() {
                self.give_back(&record);
            }
        }
    }
}

//! What the broker sends by a lane, as the client reads it.

use std::sync::Arc;

use busway_net::Pool;
use busway_net::wire::{FrameKind, ResultCode};
use busway_shm::layout::{flag, operation};
use busway_shm::{Consumer, OwnSegment, PeerSegment, Record, Sample, Violation};

use super::fragments::{Fragments, Piece};
use super::up::UpLane;
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
    /// What the record at hand holds behind its descriptor.
    body: Vec<u8>,
}

/// What the first fragment says of a frame.
struct Head {
    kind: FrameKind,
    realtime: bool,
    names: Vec<u8>,
    first: usize,
}

/// Something for the application.
pub(crate) enum Arrival<'a> {
    Confirmation {
        op_id: u32,
        code: ResultCode,
    },
    /// Frames that the broker has dropped before the next one.
    Gap {
        frames: u32,
    },
    Delivery {
        kind: FrameKind,
        realtime: bool,
        sender: &'a [u8],
        topic: &'a [u8],
        payload: Payload,
    },
}

impl DownIntake {
    pub(super) fn new(
        consumer: Consumer<Arc<OwnSegment>, Arc<PeerSegment>>,
        lane: &Arc<UpLane>,
        max_payload: usize,
    ) -> Self {
        let fragments = Fragments::new(MAX_STREAMS, max_payload);
        Self { consumer, lane: Arc::clone(lane), fragments, body: Vec::new() }
    }

    /// The next thing for the application; what concerns the lane itself is done on the way.
    ///
    /// # Errors
    /// When the broker breaks the rules.
    pub(crate) fn next_arrival(&mut self, pool: &Pool) -> Result<Option<Arrival<'_>>, Violation> {
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
                    if record.descriptor.flags & flag::FRAGMENT == 0 {
                        return self.whole(&record, kind).map(Some);
                    }
                    if let Some((head, memory)) = self.piece(&record, kind, pool)? {
                        let Head { kind, realtime, names, first } = head;
                        // Keeps the memory, too.
                        self.body = names;
                        let (sender, topic) = self.body.split_at(first);
                        let payload = pool.share(memory).into();
                        return Ok(Some(Arrival::Delivery { kind, realtime, sender, topic, payload }));
                    }
                }
            }
        }
    }

    /// Copies a record that is a whole frame.
    #[inline]
    fn whole(&mut self, record: &Record, kind: FrameKind) -> Result<Arrival<'_>, Violation> {
        let descriptor = &record.descriptor;
        self.consumer.copy_body(record, &mut self.body);
        let payload = if descriptor.flags & flag::IN_PLACE == 0 {
            let bytes = &self.body[record.payload_place()];
            if bytes.len() <= SHORT { Payload::short(bytes) } else { bytes.to_vec().into() }
        } else {
            let segment = self.lane.segments.lock().get(&descriptor.segment.get()).cloned();
            let range = (descriptor.offset.get(), descriptor.payload.get());
            let slot = (descriptor.slot.get(), descriptor.generation.get());
            let releases = Arc::clone(&self.lane.releases);
            Payload::in_place(Arc::new(Sample::new(segment.ok_or(Violation::Range)?, range, slot, releases)?))
        };
        let realtime = descriptor.flags & flag::REALTIME != 0;
        let (sender, topic) = (&self.body[record.name_place()], &self.body[record.second_place()]);
        Ok(Arrival::Delivery { kind, realtime, sender, topic, payload })
    }

    /// Copies a fragment; `None` when more are to come.
    fn piece(&mut self, record: &Record, kind: FrameKind, pool: &Pool) -> Result<Option<(Head, Vec<u8>)>, Violation> {
        let mut names = Vec::new();
        let first = self.consumer.copy_names(record, &mut names);
        let head = Head { kind, realtime: record.descriptor.flags & flag::REALTIME != 0, names, first };
        let consumer = &self.consumer;
        let copy = |memory: &mut Vec<u8>| consumer.copy_payload(record, memory);
        self.fragments.add(Piece::of(&record.descriptor), pool, || Ok(head), copy)
    }

    /// Gives the room of what was read back to the broker.
    pub(crate) fn release(&mut self) {
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

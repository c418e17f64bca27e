//! What the broker sends by a lane, as the client reads it.

use std::sync::Arc;

use busway_net::Pool;
use busway_net::wire::{FrameKind, ResultCode};
use busway_shm::layout::{flag, operation};
use busway_shm::{Consumer, OwnSegment, PeerSegment, Sample, Violation};

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
    names: Vec<u8>,
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
        Self { consumer, lane: Arc::clone(lane), fragments, names: Vec::new() }
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
                    if let Some((head, payload)) = self.read(&record, kind, pool)? {
                        return Ok(Some(self.delivery(head, payload)));
                    }
                }
            }
        }
    }

    fn read(
        &mut self,
        record: &busway_shm::Record,
        kind: FrameKind,
        pool: &Pool,
    ) -> Result<Option<(Head, Payload)>, Violation> {
        let descriptor = &record.descriptor;
        let mut names = std::mem::take(&mut self.names);
        let first = self.consumer.copy_names(record, &mut names);
        let head = Head { kind, realtime: descriptor.flags & flag::REALTIME != 0, names, first };
        let length = descriptor.payload.get() as usize;
        if descriptor.flags & flag::FRAGMENT != 0 {
            let piece = Piece::of(descriptor);
            let consumer = &self.consumer;
            let done = self.fragments.add(piece, pool, || Ok(head), |memory| consumer.copy_payload(record, memory))?;
            return Ok(done.map(|(head, memory)| (head, pool.share(memory).into())));
        }
        let payload = if descriptor.flags & flag::IN_PLACE == 0 {
            self.payload(record, length)
        } else {
            let segment = self.lane.segments.lock().get(&descriptor.segment.get()).cloned();
            let range = (descriptor.offset.get(), descriptor.payload.get());
            let slot = (descriptor.slot.get(), descriptor.generation.get());
            let releases = Arc::clone(&self.lane.releases);
            Payload::in_place(Arc::new(Sample::new(segment.ok_or(Violation::Range)?, range, slot, releases)?))
        };
        Ok(Some((head, payload)))
    }

    /// A payload that is in the ring.
    fn payload(&self, record: &busway_shm::Record, length: usize) -> Payload {
        if length <= SHORT {
            let mut bytes = [0; SHORT];
            self.consumer.read_payload(record, &mut bytes[..length]);
            return Payload::short(&bytes[..length]);
        }
        let mut bytes = Vec::with_capacity(length);
        self.consumer.copy_payload(record, &mut bytes);
        bytes.into()
    }

    fn delivery(&mut self, head: Head, payload: Payload) -> Arrival<'_> {
        let Head { kind, realtime, names, first } = head;
        // Keeps the memory for the names of the next record.
        self.names = names;
        let (sender, topic) = self.names.split_at(first);
        Arrival::Delivery { kind, realtime, sender, topic, payload }
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

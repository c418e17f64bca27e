//! What one client sends over its lane, as the broker reads it. Everything here is hostile input.

mod arenas;
mod run;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use busway_net::Pool;
use busway_net::link::Outbox;
use busway_net::wire::{Limits, Operation, Payloads, QoS, has_nul};
use busway_shm::layout::{GRANULE, flag, operation};
use busway_shm::{Consumer, Descriptor, OwnSegment, PeerSegment, Record, Violation};

use super::account::{Account, Arena, Incoming, OnLane};
use super::budget::ClientArenas;
use super::control_frame::Questions;
use super::down::DownLane;
use super::fragments::{Fragments, Piece};
use super::host::LaneHost;
use super::intake::arenas::PendingArena;
pub(crate) use super::intake::arenas::{Adopted, Adoption};
use super::intake::run::Rest;
use super::{COPY_MAX, Routed};
use crate::payload::Payload;

/// Ring bytes that are read before their room is given back.
const RELEASE_AT: u64 = 16 << 10;
/// Bytes of payloads after which a run ends.
const RUN_BYTES: usize = 32 << 10;

/// The reading end of a client's lane.
pub(crate) struct Intake {
    consumer: Consumer<Arc<OwnSegment>, Arc<PeerSegment>>,
    down: Arc<DownLane>,
    account: Arc<Account>,
    host: Arc<LaneHost>,
    outbox: Arc<Outbox>,
    limits: Limits,
    arena_bytes: u64,
    segments: HashMap<u32, Arena>,
    /// They, and those that are gone from here and still held.
    arenas: Arc<ClientArenas>,
    /// The arena that the client has been given and has not taken over.
    pending: Option<PendingArena>,
    /// The same, when it has: until somebody takes it to wait for it, ...
    adoption: Option<Adoption>,
    /// ... and as long as it takes.
    is_adopting: bool,
    questions: Questions,
    /// Records that may be read before others have their turn.
    turn: usize,
    fragments: Fragments<Head>,
    /// What the record at hand holds behind its descriptor, or the payloads of a run ...
    body: Vec<u8>,
    /// ... and where they are.
    places: Vec<Range<usize>>,
    /// What is left of a record that holds several frames.
    rest: Option<Rest>,
    /// The payload of the frame at hand, if it is not in the body.
    held: Option<Held>,
}

/// A payload that is lent to the router.
enum Held {
    Heap(Payload),
    Place(Arc<Incoming>),
}

/// What the first fragment says of a frame.
struct Head {
    op_id: u32,
    operation: Operation,
    qos: QoS,
    names: Vec<u8>,
    first: usize,
}

/// A frame from a lane.
pub(crate) struct LaneFrame<'a> {
    pub(crate) op_id: u32,
    pub(crate) operation: Operation,
    pub(crate) qos: QoS,
    pub(crate) address: &'a [u8],
    pub(crate) receiver: &'a [u8],
    pub(crate) content: Routed<'a>,
}

impl Held {
    fn routed(&self) -> Routed<'_> {
        match self {
            Self::Heap(payload) => Routed::Owned(payload),
            Self::Place(incoming) => Routed::Lane(OnLane::Arrived(incoming)),
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.account.end();
    }
}

impl Intake {
    pub(super) fn new(
        consumer: Consumer<Arc<OwnSegment>, Arc<PeerSegment>>,
        (down, account): (&Arc<DownLane>, Arc<Account>),
        host: &Arc<LaneHost>,
        outbox: &Arc<Outbox>,
        limits: Limits,
        arena_bytes: u64,
    ) -> Self {
        Self {
            consumer,
            down: Arc::clone(down),
            account,
            host: Arc::clone(host),
            outbox: Arc::clone(outbox),
            limits,
            arena_bytes,
            segments: HashMap::new(),
            arenas: Arc::default(),
            pending: None,
            adoption: None,
            is_adopting: false,
            questions: Questions::default(),
            turn: 0,
            fragments: Fragments::new(1, limits.max_payload),
            body: Vec::new(),
            places: Vec::new(),
            rest: None,
            held: None,
        }
    }

    /// Begins a turn of so many records; a piece of a payload counts for as many as would be as long.
    pub(crate) fn begin_turn(&mut self, records: usize) {
        self.turn = records;
    }

    /// Ends a turn of so many records, and says how many were read.
    pub(crate) fn end_turn(&mut self, records: usize) -> usize {
        self.held = None;
        records - self.turn
    }

    /// Whether the turn is over: then there may be more.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.turn == 0
    }

    /// The next frame, if one comes within the turn; what concerns the lane itself is done on the way.
    ///
    /// # Errors
    /// When the client breaks the rules.
    pub(crate) fn next_frame(&mut self, pool: &Pool) -> Result<Option<LaneFrame<'_>>, Violation> {
        if self.held.is_some() {
            self.held = None;
        }
        if self.rest.is_some() {
            return self.next_of_rest();
        }
        loop {
            if self.consumer.unreleased() >= RELEASE_AT {
                self.release();
            }
            // Each counts, also those that make no frame: what a client asks of the lane, and pieces.
            let Some(turn) = self.turn.checked_sub(1) else { return Ok(None) };
            let Some(record) = self.consumer.next_record()? else { return Ok(None) };
            self.turn = turn;
            let code = record.descriptor.operation;
            if code >= operation::SEGMENT_OK {
                self.control(&record.descriptor)?;
                continue;
            }
            let operation = Operation::from_flags(code).filter(|operation| *operation as u8 == code);
            let operation = operation.filter(|operation| *operation != Operation::Nop).ok_or(Violation::Descriptor)?;
            if record.descriptor.code > 3 || record.descriptor.flags & flag::REALTIME != 0 {
                return Err(Violation::Descriptor);
            }
            let qos = QoS::from_flags(record.descriptor.code << 6);
            if record.is_run() {
                return self.first_of_run(&record, (operation, qos));
            }
            if record.descriptor.flags & flag::FRAGMENT == 0 {
                return self.whole(&record, (operation, qos)).map(Some);
            }
            // By its length: a turn is a ring full at most, whatever the client puts behind it meanwhile.
            self.turn = self.turn.saturating_sub(record.inline_length() / GRANULE);
            if let Some((head, memory)) = self.piece(&record, (operation, qos), pool)? {
                let Head { op_id, operation, qos, names, first } = head;
                // Keeps the memory, too.
                self.body = names;
                let (address, receiver) = self.body.split_at(first);
                let content = self.held.insert(Held::Heap(pool.share(memory).into())).routed();
                return Ok(Some(LaneFrame { op_id, operation, qos, address, receiver, content }));
            }
        }
    }

    /// Frames of this operation and address that come next, one behind the other, and that nobody waits for, at most
    /// `most` of them and within the turn.
    ///
    /// # Errors
    /// When the client breaks the rules.
    pub(crate) fn next_run(
        &mut self,
        (operation, address): (Operation, &[u8]),
        most: usize,
    ) -> Result<Payloads<'_>, Violation> {
        if self.held.is_some() {
            self.held = None;
        }
        let most = most.min(self.turn);
        if self.rest.is_some() {
            return self.rest_as_run((operation, address), most);
        }
        self.places.clear();
        let longest = COPY_MAX.min(self.limits.max_payload);
        let mut end = 0;
        while self.places.len() < most && end < RUN_BYTES && !self.fragments.is_amid() {
            if self.consumer.unreleased() >= RELEASE_AT {
                self.release();
            }
            let record = self.consumer.next_record_if(|consumer, record| {
                let Descriptor { operation: code, flags: 0 | flag::RUN, code: 0, .. } = record.descriptor else {
                    return false;
                };
                let is_short = record.inline_length() <= longest || record.is_run();
                code == operation as u8 && is_short && consumer.has_name(record, address)
            });
            let record = match record {
                Ok(Some(record)) => record,
                // What came before it was sent before it; it is still the next, and wrong then, too.
                Err(violation) if self.places.is_empty() => return Err(violation),
                Ok(None) | Err(_) => break,
            };
            let start = end.next_multiple_of(size_of::<u64>());
            end = self.consumer.copy_payload_to(&record, &mut self.body, start);
            if record.is_run() {
                self.find_places_behind_others(&record, start)?;
                if self.rest.is_some() {
                    break;
                }
            } else {
                self.places.push(start..end);
            }
        }
        // A record may hold more than the turn had left.
        self.turn = self.turn.saturating_sub(self.places.len());
        Ok(Payloads::new(&self.body, &self.places))
    }

    /// Copies a record that is a whole frame.
    #[inline]
    fn whole(&mut self, record: &Record, (operation, qos): (Operation, QoS)) -> Result<LaneFrame<'_>, Violation> {
        let descriptor = &record.descriptor;
        self.consumer.copy_body(record, &mut self.body);
        let (address, receiver) = (&self.body[record.name_place()], &self.body[record.second_place()]);
        check_names(operation, address, receiver)?;
        // A frame between the fragments of another would have overtaken it.
        if self.fragments.is_amid() {
            return Err(Violation::Descriptor);
        }
        if descriptor.payload.get() as usize > self.limits.max_payload {
            return Err(Violation::Length);
        }
        let content = if descriptor.flags & flag::IN_PLACE == 0 {
            Routed::Borrowed(&self.body[record.payload_place()])
        } else {
            let segment = self.segments.get(&descriptor.segment.get()).ok_or(Violation::Range)?;
            let range = (descriptor.offset.get(), descriptor.payload.get());
            let slot = (descriptor.slot.get(), descriptor.generation.get());
            self.held.insert(Held::Place(self.account.receive(segment, range, slot)?)).routed()
        };
        Ok(LaneFrame { op_id: descriptor.op_id.get(), operation, qos, address, receiver, content })
    }

    /// Copies a fragment; `None` when more are to come.
    fn piece(
        &mut self,
        record: &Record,
        (operation, qos): (Operation, QoS),
        pool: &Pool,
    ) -> Result<Option<(Head, Vec<u8>)>, Violation> {
        let mut names = Vec::new();
        let first = self.consumer.copy_names(record, &mut names);
        check_names(operation, &names[..first], &names[first..])?;
        let head = Head { op_id: record.descriptor.op_id.get(), operation, qos, names, first };
        let consumer = &self.consumer;
        let copy = |memory: &mut Vec<u8>| consumer.copy_payload(record, memory);
        self.fragments.add(Piece::of(&record.descriptor), pool, || Ok(head), copy)
    }

    /// Gives the room of what was read back to the client.
    pub(crate) fn release(&mut self) {
        if self.consumer.release() {
            self.down.ring();
        }
    }

    /// Says whether there is nothing to read; only then may the caller sleep.
    ///
    /// # Errors
    /// When the client breaks the rules.
    pub(crate) fn arm(&mut self) -> Result<bool, Violation> {
        Ok(self.rest.is_none() && self.consumer.arm()?)
    }

    /// Whether there is something to read.
    ///
    /// # Errors
    /// When the client breaks the rules.
    pub(crate) fn poll(&mut self) -> Result<bool, Violation> {
        Ok(self.rest.is_some() || self.consumer.poll()?)
    }

    /// Whether a payload has begun to arrive and is not complete.
    pub(crate) fn is_amid(&self) -> bool {
        self.fragments.is_amid()
    }
}

/// Whether a frame may have these names: a NUL in one would forge the frames that sockets get of it.
#[inline]
fn check_names(operation: Operation, name: &[u8], second: &[u8]) -> Result<(), Violation> {
    let takes_names = match operation {
        Operation::PublishFor => true,
        _ if operation.takes_topics() => name.is_empty() && second.is_empty(),
        _ => second.is_empty(),
    };
    if takes_names && !has_nul(name) && !has_nul(second) { Ok(()) } else { Err(Violation::Descriptor) }
}

#[cfg(test)]
mod tests;

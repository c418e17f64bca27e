//! What a client says of the lane itself, and the arenas that it is given.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use busway_net::link::Body as SocketBody;
use busway_shm::layout::{PAGE, operation};
use busway_shm::{Descriptor, PeerSegment, Violation, create_for_peer};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::Intake;
use crate::lane::account::{Arena, Segment};
use crate::lane::budget::{ClientArena, Cost, Spent};
use crate::lane::control_frame::SegmentFrame;

/// Arenas that one client may have.
const MAX_ARENAS: usize = 1024;

/// An arena that was made for a client and is not taken over.
pub(super) struct PendingArena {
    number: u32,
    token: u64,
    descriptor: OwnedFd,
    length: usize,
    spent: Spent,
    counted: ClientArena,
}

/// An arena that is being taken over.
pub(crate) struct Adoption {
    number: u32,
    length: usize,
    outcome: oneshot::Receiver<(PendingArena, io::Result<PeerSegment>)>,
}

/// What has become of it.
pub(crate) struct Adopted {
    number: u32,
    length: usize,
    arena: Option<(PendingArena, PeerSegment)>,
}

impl Adoption {
    /// Waits until it is done. It may be dropped, and waited for again, but not after it was done.
    pub(crate) async fn done(&mut self) -> Adopted {
        let outcome = (&mut self.outcome).await.ok();
        self.adopted(outcome)
    }

    /// The same, if it is done already.
    pub(crate) fn done_already(&mut self) -> Option<Adopted> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(self.adopted(Some(outcome))),
            Err(TryRecvError::Closed) => Some(self.adopted(None)),
            Err(TryRecvError::Empty) => None,
        }
    }

    fn adopted(&self, outcome: Option<(PendingArena, io::Result<PeerSegment>)>) -> Adopted {
        let arena = outcome.and_then(|(pending, map)| Some((pending, map.ok()?)));
        Adopted { number: self.number, length: self.length, arena }
    }
}

impl Intake {
    pub(super) fn control(&mut self, descriptor: &Descriptor) -> Result<(), Violation> {
        let number = descriptor.segment.get();
        match descriptor.operation {
            operation::SEGMENT_OK | operation::SEGMENT_FAILED => {
                let is_done = descriptor.operation == operation::SEGMENT_OK;
                let token = descriptor.offset.get();
                match self.pending.take_if(|pending| (pending.number, pending.token) == (number, token)) {
                    Some(pending) => {
                        self.begin_to_adopt(pending, is_done);
                    }
                    None => self.down.introduced(number, token, is_done),
                }
                Ok(())
            }
            operation::ARENA_WANTED => {
                let length = usize::try_from(descriptor.offset.get()).map_err(|_| Violation::Length)?;
                // One at a time; the client waits for the answer.
                if self.pending.is_some() || self.is_adopting || length == 0 || !length.is_multiple_of(PAGE) {
                    return Err(Violation::Descriptor);
                }
                if !self.offer_arena(length) {
                    self.answer(operation::ARENA_REFUSED, 0, length);
                }
                Ok(())
            }
            operation::ARENA_DROPPED => {
                // It counts for as long as somebody holds a payload in it.
                self.segments.remove(&number).ok_or(Violation::Range).map(drop)
            }
            _ => Err(Violation::Descriptor),
        }
    }

    /// Makes an arena for the client to take over; says whether that could be done.
    fn offer_arena(&mut self, length: usize) -> bool {
        let cost = Cost { descriptors: 1, mappings: 1, bytes: length as u64 };
        let counted = self.arenas.add(cost.bytes, (MAX_ARENAS, self.arena_bytes));
        let Some(counted) = counted else { return false };
        let Ok(spent) = self.host.budget.spend(self.account.user, cost) else { return false };
        let made = create_for_peer(c"busway-arena", length).and_then(|made| Ok((made.try_clone()?, made)));
        let Ok((for_client, descriptor)) = made else { return false };
        let number = self.host.next_segment();
        let token = self.questions.next();
        let frame = SegmentFrame::arena(number, length, self.account.user, token);
        self.outbox.offer_control(|batch| {
            batch.push_body(SocketBody::Descriptors(vec![for_client]));
            frame.encode(batch.inline());
        });
        self.outbox.flush();
        self.pending = Some(PendingArena { number, token, descriptor, length, spent, counted });
        true
    }

    /// The client has taken an arena over, or could not.
    fn begin_to_adopt(&mut self, pending: PendingArena, is_done: bool) {
        let (number, length) = (pending.number, pending.length);
        if !is_done {
            return self.answer(operation::ARENA_REFUSED, number, length);
        }
        let outcome = self.host.errands.begin(self.account.user, move || {
            let map = PeerSegment::adopt(&pending.descriptor, pending.length);
            (pending, map)
        });
        self.is_adopting = true;
        self.adoption = Some(Adoption { number, length, outcome });
    }

    /// An arena that has begun to be taken over: whoever gets it waits for it, and then says what has become of it.
    pub(crate) fn take_adoption(&mut self) -> Option<Adoption> {
        self.adoption.take()
    }

    /// An arena is taken over, or could not be.
    pub(crate) fn adopted(&mut self, adopted: Adopted) {
        self.is_adopting = false;
        let Adopted { number, length, arena } = adopted;
        let Some((pending, map)) = arena else { return self.answer(operation::ARENA_REFUSED, number, length) };
        let PendingArena { descriptor, spent, counted, .. } = pending;
        let owner = self.account.user;
        let segment = Segment { number, length, descriptor, owner, _spent: spent, _counted: Some(counted) };
        let segment = Arc::new(segment);
        // Who reads this client's payloads in place has it mapped, with some luck, when the first of them comes.
        for reader in self.account.readers() {
            reader.introduce(&segment);
        }
        self.segments.insert(number, Arena { segment, map: Arc::new(map) });
        self.answer(operation::ARENA_READY, number, length);
    }

    fn answer(&self, operation: u8, number: u32, length: usize) {
        self.down.control(Descriptor {
            operation,
            segment: number.into(),
            offset: (length as u64).into(),
            ..Descriptor::default()
        });
    }
}

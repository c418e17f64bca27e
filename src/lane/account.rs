//! Whose memory is held by whom.
//!
//! A payload that lies in its sender's arena is one [`Incoming`], shared by everybody it goes to. Whoever keeps it,
//! leased by a client, queued before a socket or in a backlog, or read in this process, holds a [`Pin`]. Pins are
//! counted by sender and receiver, so that who hoards payloads gets copies from then on and its senders go on.

mod incoming;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use busway_shm::{Generations, GiveBack, OwnSegment, PeerSegment, Returns, Sample, Violation};
use parking_lot::Mutex;

pub(crate) use self::incoming::{Incoming, OnLane, Pin};
use super::budget::{ClientArena, Spent};
use super::down::DownLane;

/// A receiver may always hold this many payloads of a sender.
const ALWAYS: usize = 4;
/// Fourths of a sender's slots and bytes that one receiver may hold: one that is a burst of small payloads behind holds
/// many slots and few bytes ...
const ONE: Amount = Amount { slots: 2, bytes: 1 };
/// ... and that all may hold together.
const ALL: Amount = Amount { slots: 3, bytes: 2 };

/// A segment with payloads that clients may read in place.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) length: usize,
    /// For those who are to read it.
    pub(super) descriptor: OwnedFd,
    /// The user whose senders' payloads are in it.
    pub(super) owner: u32,
    pub(super) _spent: Spent,
    /// One that a client writes counts as its.
    pub(super) _counted: Option<ClientArena>,
}

/// An arena of a client, as the broker has mapped it.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) segment: Arc<Segment>,
    pub(super) map: Arc<PeerSegment>,
}

/// A client as a sender of payloads.
pub(super) struct Account {
    returns: Returns<Arc<OwnSegment>>,
    generations: Mutex<Generations>,
    held: Mutex<Held>,
    slots: usize,
    bytes: usize,
    pub(super) user: u32,
    /// Its connection has ended: it hands out nothing any more, and may not be told that something is free while somebody
    /// else may go on reading it.
    has_ended: AtomicBool,
    /// Who reads its payloads in place: new arenas are introduced to them before they are used.
    readers: Mutex<Vec<Weak<DownLane>>>,
}

/// Payloads of one sender that are held.
#[derive(Debug, Default)]
struct Held {
    receivers: HashMap<u64, Amount, foldhash::fast::RandomState>,
    /// Each payload once, however many hold it.
    all: Amount,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    slots: usize,
    bytes: usize,
}

impl Account {
    /// A client with this many slots and bytes.
    pub(super) fn new(returns: Returns<Arc<OwnSegment>>, (slots, bytes): (u32, usize), user: u32) -> Arc<Self> {
        Arc::new(Self {
            returns,
            generations: Mutex::new(Generations::new(slots)),
            held: Mutex::default(),
            slots: slots as usize,
            bytes,
            user,
            has_ended: AtomicBool::new(false),
            readers: Mutex::default(),
        })
    }

    /// The connection has ended: nothing goes back to the client from now on.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// A payload as its sender's descriptor says it.
    ///
    /// # Errors
    /// When the slot is not free or the range is not within the segment.
    pub(super) fn receive(
        self: &Arc<Self>,
        arena: &Arena,
        range: (u64, u32),
        slot: (u32, u32),
    ) -> Result<Arc<Incoming>, Violation> {
        self.generations.lock().begin(slot.0, slot.1)?;
        let sample = Sample::new(Arc::clone(&arena.map), range, slot, Arc::clone(self) as Arc<dyn GiveBack>)?;
        Ok(Arc::new(Incoming {
            sample,
            segment: Arc::clone(&arena.segment),
            account: Arc::clone(self),
            pins: AtomicU32::new(0),
        }))
    }

    /// Remembers who reads its payloads in place.
    pub(super) fn add_reader(&self, reader: &Weak<DownLane>) {
        let mut readers = self.readers.lock();
        readers.retain(|known| known.strong_count() > 0);
        if !readers.iter().any(|known| known.ptr_eq(reader)) {
            readers.push(Weak::clone(reader));
        }
    }

    /// Those that are there.
    pub(super) fn readers(&self) -> Vec<Arc<DownLane>> {
        self.readers.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Whether nobody holds anything of it.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        let held = self.held.lock();
        held.receivers.is_empty() && held.all == Amount::default()
    }
}

impl GiveBack for Account {
    fn give_back(&self, slot: u32, generation: u32) {
        // First, so that the sender never uses a slot that still counts as out.
        self.generations.lock().end(slot);
        if !self.has_ended.load(Ordering::Acquire) {
            self.returns.push(slot, generation);
        }
    }
}

impl Amount {
    fn plus(self, bytes: usize) -> Self {
        Self { slots: self.slots + 1, bytes: self.bytes + bytes }
    }

    fn minus(self, bytes: usize) -> Self {
        Self { slots: self.slots.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }

    fn exceeds(self, account: &Account, fourths: Self) -> bool {
        self.slots > account.slots / 4 * fourths.slots || self.bytes > account.bytes / 4 * fourths.bytes
    }
}

#[cfg(test)]
mod tests {
    use busway_shm::layout::ControlLayout;
    use busway_shm::{OwnMemory, ReturnReader};

    use super::*;
    use crate::lane::budget::{Budget, ClientArenas, Cost};

    const SLOTS: u32 = 64;
    const BYTES: u32 = 64 << 10;

    struct Sender {
        account: Arc<Account>,
        arena: Arena,
        returned: ReturnReader<PeerSegment>,
        next_slot: u32,
    }

    impl Sender {
        fn new() -> Self {
            let layout = ControlLayout { ring: ControlLayout::MIN_RING, slots: SLOTS as usize };
            let (own, peer) = OwnSegment::on_heap(layout.total());
            let (memory, map) = OwnSegment::on_heap(BYTES as usize);
            memory.write(0, b"in place");
            let cost = Cost { descriptors: 1, mappings: 1, bytes: 1 };
            let segment = Segment {
                number: 1,
                length: map.length(),
                descriptor: std::fs::File::open("/dev/null").unwrap().into(),
                owner: 0,
                _spent: Budget::new(Cost { descriptors: 4, mappings: 4, bytes: 4 }).spend(0, cost).unwrap(),
                _counted: Arc::new(ClientArenas::default()).add(1, (1, 1)),
            };
            Self {
                account: Account::new(Returns::new(Arc::new(own), layout), (SLOTS, BYTES as usize), 0),
                arena: Arena { segment: Arc::new(segment), map: Arc::new(map) },
                returned: ReturnReader::new(peer, layout),
                next_slot: 0,
            }
        }

        fn send(&mut self, length: u32) -> Arc<Incoming> {
            let slot = self.next_slot;
            self.next_slot += 1;
            self.account.receive(&self.arena, (0, length), (slot, 1)).unwrap()
        }
    }

    #[test]
    fn one_receiver_holds_half_of_the_slots_and_all_hold_three_quarters() {
        let mut sender = Sender::new();
        let payloads: Vec<_> = (0..SLOTS).map(|_| sender.send(8)).collect();
        let mut pins = Vec::new();
        for (receiver, range) in [(1, 0..33), (2, 33..50), (3, 50..64)] {
            // Payloads of its own.
            let own = &payloads[range];
            pins.push(own.iter().filter_map(|payload| payload.pin(receiver)).collect::<Vec<_>>());
        }
        let counts: Vec<_> = pins.iter().map(Vec::len).collect();
        assert_eq!(counts, [32, 16, ALWAYS]);
        // What is held already costs no more of the whole, whoever else holds it.
        let others: Vec<_> = payloads.iter().take(17).filter_map(|payload| payload.pin(9)).collect();
        assert_eq!(others.len(), 17);
        drop((pins, others));
        assert!(sender.account.is_clear());
        drop(payloads);
        let mut returned = 0;
        while sender.returned.next_returned().unwrap().is_some() {
            returned += 1;
        }
        assert_eq!(returned, SLOTS);
    }

    #[test]
    fn nothing_goes_back_to_a_client_whose_connection_has_ended() {
        let mut sender = Sender::new();
        let (before, after) = (sender.send(8), sender.send(8));
        drop(before);
        sender.account.end();
        drop(after);
        assert_eq!(sender.returned.next_returned(), Ok(Some((0, 1))));
        assert_eq!(sender.returned.next_returned(), Ok(None), "a broker that ends drops what others may still read");
    }

    #[test]
    fn bytes_count_as_well_as_slots_and_four_may_always_be_held() {
        let mut sender = Sender::new();
        let payloads: Vec<_> = (0..6).map(|_| sender.send(BYTES / 8)).collect();
        let pins: Vec<_> = payloads.iter().filter_map(|payload| payload.pin(1)).collect();
        assert_eq!(pins.len(), ALWAYS);
        drop(pins);
        assert!(sender.account.is_clear());
    }

    #[test]
    fn who_holds_a_payload_may_hold_it_on_at_its_limit_and_nobody_else_may() {
        let mut sender = Sender::new();
        let payloads: Vec<_> = (0..5).map(|_| sender.send(BYTES / 8)).collect();
        let pins: Vec<_> = payloads[..ALWAYS].iter().map(|payload| payload.pin(1).unwrap()).collect();
        assert!(payloads[4].pin(1).is_none() && payloads[0].pin(1).is_none(), "it holds as much as it may");
        let on = OnLane::Held(&pins[0]).pin(1).unwrap();
        drop(pins);
        assert!(payloads[4].pin(1).is_some(), "it holds one");
        let others: Vec<_> = (0..ALWAYS).map(|_| OnLane::Held(&on).pin(2).unwrap()).collect();
        assert!(OnLane::Held(&on).pin(2).is_none(), "another receiver has a limit of its own");
        drop((on, others));
        assert!(sender.account.is_clear());
    }

    #[test]
    fn a_slot_that_is_out_is_not_used_again_and_a_range_lies_in_its_segment() {
        let mut sender = Sender::new();
        let payload = sender.send(8);
        let account = Arc::clone(&sender.account);
        let again = |slot, range| account.receive(&sender.arena, range, slot).map(|_| ());
        assert_eq!(again((0, 2), (0, 8)), Err(Violation::Slot));
        drop(payload);
        assert_eq!(again((0, 2), (0, 8)), Ok(()));
        assert_eq!(again((1, 1), (u64::from(BYTES), 1)), Err(Violation::Range));
        assert_eq!(again((2, 1), (8, 8)), Err(Violation::Range));
        assert_eq!(again((3, 1), (u64::MAX - 63, 64)), Err(Violation::Range));
        assert_eq!(again((SLOTS, 1), (0, 8)), Err(Violation::Slot));
    }
}

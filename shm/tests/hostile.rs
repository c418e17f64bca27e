//! Each thing that a hostile peer can write, and the violation in which it ends.

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as NativeOrdering};
use std::thread;

use busway_shm::layout::{GRANULE, HEAD, MAX_PLACED_RUN, MAX_RUN, RING, SLOT_TAIL, TAIL, flag, operation};
use busway_shm::{
    Consumer, Descriptor, HeapMemory, Ordering, OwnMemory, Parts, Producer, ReturnReader, Run, Violation,
    short_record_length,
};
use zerocopy::IntoBytes;

use support::records::{LAYOUT, Whole};

const CAPACITY: u64 = LAYOUT.ring as u64;
const STEP: u64 = GRANULE as u64;

/// A consumer and the segment of its producer, who writes there what it likes.
struct Forger {
    memory: Arc<HeapMemory>,
    consumer: Consumer<Arc<HeapMemory>, Arc<HeapMemory>>,
}

impl Forger {
    fn new() -> Self {
        let (memory, own) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
        Self { consumer: Consumer::new(own, memory.clone(), LAYOUT), memory }
    }

    /// Its consumer has read (and given back) records up to `position`, a multiple of 64.
    fn at(position: u64) -> Self {
        let mut forger = Self::new();
        for at in (0..position).step_by(GRANULE) {
            forger.write(at, record(STEP));
            forger.set_tail(at + STEP);
            assert!(forger.consumer.next_record().unwrap().is_some());
            let _ = forger.consumer.release();
        }
        forger
    }

    fn set_tail(&self, tail: u64) {
        self.memory.store(TAIL, tail, Ordering::Release);
    }

    /// Writes a descriptor with the sequence that belongs to its position.
    fn write(&self, position: u64, descriptor: Descriptor) {
        let sequence = u32::try_from(position / STEP).expect("a test does not come that far").into();
        self.write_as_is(position, Descriptor { sequence, ..descriptor });
    }

    fn write_as_is(&self, position: u64, descriptor: Descriptor) {
        let at = usize::try_from(position % CAPACITY).expect("below the capacity");
        self.memory.write(RING + at, descriptor.as_bytes());
    }

    /// What comes of one record, at the beginning of the ring, when the tail is behind it.
    #[track_caller]
    fn refuses(tail: u64, descriptor: Descriptor, violation: Violation) {
        let mut forger = Self::new();
        forger.write(0, descriptor);
        forger.set_tail(tail);
        assert_eq!(forger.consumer.next_record(), Err(violation), "{descriptor:?}");
        assert_eq!(forger.consumer.unreleased(), 0, "nothing of it was taken");
    }
}

fn record(length: u64) -> Descriptor {
    let length = u32::try_from(length).expect("a length").into();
    Descriptor { length, operation: 1, ..Descriptor::default() }
}

fn pad(length: u64) -> Descriptor {
    Descriptor { operation: operation::PAD, ..record(length) }
}

#[test]
fn a_tail_is_aligned_and_goes_forward_and_not_too_far() {
    for (tail, violation) in [
        (32, Violation::Unaligned),
        (CAPACITY + STEP, Violation::TooFar),
        (u64::MAX, Violation::TooFar),
        (u64::MAX - 63, Violation::TooFar),
    ] {
        let mut forger = Forger::new();
        forger.set_tail(tail);
        assert_eq!(forger.consumer.poll(), Err(violation));
        assert_eq!(forger.consumer.arm(), Err(violation));
        assert_eq!(forger.consumer.next_record(), Err(violation));
    }
    let mut forger = Forger::at(2 * STEP);
    forger.set_tail(STEP);
    assert_eq!(forger.consumer.next_record(), Err(Violation::Backwards));
}

#[test]
fn a_visit_ends_though_the_producer_never_does() {
    let mut forger = Forger::new();
    let mut read = 0;
    // As soon as a record was read the producer writes another one in its place.
    let end = loop {
        forger.write(read, record(STEP));
        forger.set_tail(read + STEP);
        match forger.consumer.next_record() {
            Ok(record) => assert!(record.is_some()),
            Err(violation) => break violation,
        }
        read += STEP;
        assert!(read <= CAPACITY, "no more is read at once than the ring holds");
    };
    assert_eq!((end, read), (Violation::TooFar, CAPACITY));
}

#[test]
fn a_length_is_that_of_a_record_which_was_written() {
    let longest = LAYOUT.max_record() as u64;
    for (tail, length) in [(STEP, 0), (STEP, 32), (2 * STEP, 96), (STEP, 2 * STEP), (CAPACITY, longest + STEP)] {
        Forger::refuses(tail, record(length), Violation::Length);
    }
    Forger::refuses(CAPACITY, record(u64::from(u32::MAX - 63)), Violation::Length);
    // It would cross the end of the ring.
    let mut forger = Forger::at(CAPACITY - STEP);
    forger.write(CAPACITY - STEP, record(2 * STEP));
    forger.set_tail(CAPACITY + STEP);
    assert_eq!(forger.consumer.next_record(), Err(Violation::Length));
}

#[test]
fn parts_lie_within_their_record() {
    let fits = Descriptor { name: 8.into(), second: 8.into(), payload: 48.into(), ..record(2 * STEP) };
    let mut forger = Forger::new();
    forger.write(0, fits);
    forger.set_tail(2 * STEP);
    assert!(forger.consumer.next_record().unwrap().is_some());
    for descriptor in [
        Descriptor { name: 9.into(), ..fits },
        Descriptor { second: 9.into(), ..fits },
        Descriptor { payload: 49.into(), ..fits },
        Descriptor { name: u16::MAX.into(), second: u16::MAX.into(), ..fits },
        Descriptor { payload: u32::MAX.into(), ..fits },
    ] {
        Forger::refuses(2 * STEP, descriptor, Violation::Length);
    }
}

#[test]
fn parts_of_a_short_record_lie_within_it_and_not_in_its_descriptor() {
    // The second half of the descriptor is name and payload here, whatever it would mean there.
    let (name, payload) = ([0xEE; 24], [0xDD; 72]);
    let fits = Descriptor { flags: flag::SHORT, name: 24.into(), payload: 72.into(), ..record(2 * STEP) };
    let mut forger = Forger::new();
    forger.write(0, fits);
    forger.memory.write(RING + Descriptor::SHORT_SIZE, &[&name[..], &payload].concat());
    forger.set_tail(2 * STEP);
    let record = forger.consumer.next_record().unwrap().unwrap();
    let whole = Descriptor { flags: 0, ..fits };
    assert_eq!(record.descriptor, whole, "what is not there is zero");
    let copied = Whole::copied(&forger.consumer, &record);
    assert_eq!((&copied.name[..], &copied.payload[..]), (&name[..], &payload[..]));
    for descriptor in [
        Descriptor { payload: 73.into(), ..fits },
        Descriptor { name: 25.into(), ..fits },
        Descriptor { second: 1.into(), ..fits },
    ] {
        Forger::refuses(2 * STEP, descriptor, Violation::Length);
    }
}

#[test]
fn payloads_that_share_a_record_lie_within_it() {
    let run = |bytes: &[u8], payload: u32| {
        let length = short_record_length(0, 0, bytes.len()) as u64;
        let mut forger = Forger::new();
        forger.write(0, Descriptor { flags: flag::SHORT | flag::RUN, payload: payload.into(), ..record(length) });
        forger.memory.write(RING + Descriptor::SHORT_SIZE, bytes);
        forger.set_tail(length);
        let record = forger.consumer.next_record().unwrap().unwrap();
        assert!(record.is_run());
        let mut copy = vec![0xEE; 8];
        forger.consumer.copy_payload_to(&record, &mut copy, 8);
        let mut places = Vec::new();
        let mut run = Run::of(&record, 8)?;
        while let Some(place) = run.next_place(&copy)? {
            places.push(place);
        }
        assert!(run.is_over());
        Ok(places)
    };
    let length = |length: u64| length.to_le_bytes();
    let two = [length(3), [1; 8], length(8), [2; 8]].concat();
    assert_eq!(run(&two, 32), Ok(vec![16..19, 32..40]));
    assert_eq!(run(&[length(0), length(0)].concat(), 16), Ok(vec![16..16, 24..24]));
    for (bytes, payload) in [
        (two.clone(), 0),
        (two.clone(), 31),
        (two.clone(), 24),
        ([length(9), [1; 8]].concat(), 16),
        ([length(u64::MAX), [1; 8]].concat(), 16),
        ([length(u64::MAX - 7), [1; 8]].concat(), 16),
        ([length(1)].concat(), 8),
        (vec![0; MAX_RUN + 8], u32::try_from(MAX_RUN).unwrap() + 8),
    ] {
        if payload as usize + Descriptor::SHORT_SIZE <= LAYOUT.max_record() {
            assert_eq!(run(&bytes, payload), Err(Violation::Length), "{payload} bytes of {bytes:?}");
        }
    }
    assert_eq!(run(&vec![0; MAX_RUN - 32], u32::try_from(MAX_RUN).unwrap() - 32).map(|places| places.len()), Ok(508));
}

#[test]
fn payloads_that_share_a_place_are_some_and_not_more_than_their_reader_copies() {
    let run = |payload: usize| {
        let mut forger = Forger::new();
        let payload = u32::try_from(payload).unwrap().into();
        forger.write(0, Descriptor { flags: flag::IN_PLACE | flag::RUN, payload, ..record(STEP) });
        forger.set_tail(STEP);
        let record = forger.consumer.next_record().unwrap().unwrap();
        assert_eq!(Run::of(&record, 0).map(|_| ()), Err(Violation::Length), "nothing of it is in the ring");
        Run::in_place(&record, 0).map(|run| run.is_over())
    };
    for length in [8, 16, MAX_PLACED_RUN] {
        assert_eq!(run(length), Ok(false));
    }
    for length in [0, 12, MAX_PLACED_RUN + 8, u32::MAX as usize / 8 * 8] {
        assert_eq!(run(length), Err(Violation::Length), "{length}");
    }
    let short = Descriptor { flags: flag::IN_PLACE | flag::RUN | flag::SHORT, payload: 16.into(), ..record(STEP) };
    Forger::refuses(STEP, short, Violation::Descriptor);
    let alone = Descriptor { flags: flag::RUN, payload: 16.into(), ..record(STEP) };
    Forger::refuses(STEP, alone, Violation::Descriptor);
}

#[test]
fn a_descriptor_has_its_sequence_and_nothing_reserved() {
    for descriptor in [
        Descriptor { flags: flag::ALL + 1, ..record(STEP) },
        Descriptor { flags: flag::IN_PLACE | flag::FRAGMENT, ..record(STEP) },
        Descriptor { flags: flag::MORE, ..record(STEP) },
        Descriptor { flags: flag::SHORT | flag::IN_PLACE, ..record(STEP) },
        Descriptor { flags: flag::RUN, ..record(STEP) },
        Descriptor { flags: flag::SHORT | flag::RUN | flag::IN_PLACE, ..record(STEP) },
        Descriptor { flags: flag::SHORT | flag::RUN | flag::FRAGMENT, ..record(STEP) },
        Descriptor { flags: flag::SHORT | flag::FRAGMENT, ..record(STEP) },
        Descriptor { flags: flag::SHORT | flag::FRAGMENT | flag::MORE, ..record(STEP) },
        Descriptor { reserved: 1, ..record(STEP) },
        Descriptor { reserved_end: [1; 16], ..record(STEP) },
    ] {
        Forger::refuses(STEP, descriptor, Violation::Descriptor);
    }
    let mut forger = Forger::at(STEP);
    // A record from another time.
    forger.write_as_is(STEP, record(STEP));
    forger.set_tail(2 * STEP);
    assert_eq!(forger.consumer.next_record(), Err(Violation::Descriptor));
}

#[test]
fn a_pad_fills_the_end_before_a_record_and_nothing_else() {
    // Shorter than what is left; the whole ring.
    Forger::refuses(CAPACITY, pad(STEP), Violation::Length);
    Forger::refuses(CAPACITY, pad(CAPACITY), Violation::Length);
    // The producer begins again long before the end of its ring.
    let mut forger = Forger::at(STEP);
    forger.write(STEP, pad(CAPACITY - STEP));
    forger.write(CAPACITY, record(STEP));
    forger.set_tail(CAPACITY + STEP);
    assert!(forger.consumer.next_record().unwrap().is_some());

    // A record has to follow, and at once.
    for (next, tail, violation) in [
        (record(STEP), CAPACITY, Violation::Length),
        (pad(STEP), CAPACITY + STEP, Violation::Descriptor),
        (pad(CAPACITY), 2 * CAPACITY - STEP, Violation::Length),
    ] {
        let mut forger = Forger::at(CAPACITY - STEP);
        forger.write(CAPACITY - STEP, pad(STEP));
        forger.write(CAPACITY, next);
        forger.set_tail(tail);
        assert_eq!(forger.consumer.next_record(), Err(violation), "{next:?}");
    }
    let mut forger = Forger::at(CAPACITY - STEP);
    forger.write(CAPACITY - STEP, pad(STEP));
    forger.write(CAPACITY, record(STEP));
    forger.set_tail(CAPACITY + STEP);
    assert!(forger.consumer.next_record().unwrap().is_some());
}

#[test]
fn a_head_is_aligned_and_goes_forward_and_not_beyond_the_tail() {
    let (own, peer) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
    let mut producer = Producer::new(own, peer.clone(), LAYOUT);
    for number in 0..4 {
        assert!(Whole::new(number, (0, 0, 0)).push(&mut producer).unwrap());
    }
    peer.store(HEAD, 2 * STEP, Ordering::Release);
    assert_eq!(producer.is_drained(), Ok(false));
    for (head, violation) in [
        (STEP, Violation::Backwards),
        (5 * STEP, Violation::TooFar),
        (u64::MAX, Violation::TooFar),
        (3 * STEP + 8, Violation::Unaligned),
    ] {
        peer.store(HEAD, head, Ordering::Release);
        assert_eq!(producer.is_drained(), Err(violation));
        assert_eq!(producer.arm_space(GRANULE), Err(violation));
        assert_eq!(producer.unread(), 2 * STEP, "a head that cannot be is not taken over");
    }
}

#[test]
fn no_more_slots_come_back_than_there_are() {
    let slots = LAYOUT.slots as u64;
    for (tail, violation) in [(slots + 1, Violation::TooFar), (u64::MAX, Violation::TooFar)] {
        let memory = HeapMemory::new(LAYOUT.total());
        memory.store(SLOT_TAIL, tail, Ordering::Release);
        assert_eq!(ReturnReader::new(memory, LAYOUT).next_returned(), Err(violation));
    }
    let memory = HeapMemory::new(LAYOUT.total());
    let mut reader = ReturnReader::new(memory.clone(), LAYOUT);
    memory.store(SLOT_TAIL, 2, Ordering::Release);
    assert_eq!([reader.next_returned(), reader.next_returned()], [Ok(Some((0, 0))); 2]);
    memory.store(SLOT_TAIL, 1, Ordering::Release);
    assert_eq!(reader.next_returned(), Err(Violation::Backwards));
}

#[test]
#[should_panic(expected = "not too long")]
fn a_record_that_the_consumer_would_refuse_is_not_reserved() {
    let (own, peer) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
    let _ = Producer::new(own, peer, LAYOUT).reserve(LAYOUT.max_record() + GRANULE);
}

#[test]
#[should_panic(expected = "within its reservation")]
fn names_are_written_within_their_reservation() {
    let (own, peer) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
    let mut producer = Producer::new(own, peer, LAYOUT);
    let mut reservation = producer.reserve(GRANULE).unwrap().unwrap();
    reservation.write_parts(Parts { name: b"name", second: b"" });
}

/// Not modelled, but as it would be: another thread writes everywhere while records are read.
#[test]
fn memory_that_changes_all_the_time_is_survived() {
    const OFTEN: usize = if cfg!(miri) { 5 } else { 5_000 };
    let is_over = AtomicBool::new(false);
    let (memory, own) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
    let honest = Descriptor { name: 8.into(), payload: 50.into(), ..record(2 * STEP) };
    let lying = Descriptor { name: u16::MAX.into(), payload: u32::MAX.into(), ..record(2 * STEP) };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(NativeOrdering::Relaxed) {
                for descriptor in [honest, lying, honest] {
                    memory.write(RING, descriptor.as_bytes());
                    memory.store(TAIL, 2 * STEP, Ordering::Release);
                }
            }
        });
        // Until both were seen often enough, in whatever way the two threads take turns.
        let (mut taken, mut refused) = (0, 0);
        while taken < OFTEN || refused < OFTEN {
            let mut consumer = Consumer::new(own.clone(), memory.clone(), LAYOUT);
            match consumer.next_record() {
                Ok(Some(record)) => {
                    let whole = Whole::copied(&consumer, &record);
                    assert!(whole.length() <= 2 * GRANULE, "what was checked is what is copied");
                    taken += 1;
                }
                Ok(None) => thread::yield_now(),
                Err(violation) => {
                    assert_eq!(violation, Violation::Length);
                    refused += 1;
                }
            }
        }
        is_over.store(true, NativeOrdering::Relaxed);
    });
}

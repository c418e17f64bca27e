//! How much of its ring a producer uses.

#[path = "support/mod.rs"]
mod support;

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use busway_shm::layout::{RING, SPACE_EVENT, TAIL};
use busway_shm::{Consumer, HeapMemory, Ordering, OwnMemory, Producer};

use support::choices::Choices;
use support::records::{LAYOUT, Whole};
use support::watched::Watched;

/// Bytes of payload: a record is 384 bytes, which divides no page.
const PAYLOAD: usize = 300;
const RECORDS: u32 = 1000;

/// Sends records to a consumer that reads when so many wait; says for how much of the ring pages were asked.
fn pages_for(late: u32, is_dense: impl Fn(u32) -> bool) -> usize {
    let (up, down) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
    let own = Watched::new(up.clone(), vec![TAIL, SPACE_EVENT], RING..RING + LAYOUT.ring);
    let mut producer = Producer::new(&own, down.clone(), LAYOUT);
    let mut consumer = Consumer::new(down, up, LAYOUT);
    let whole = |number| Whole::new(number, (4, 0, PAYLOAD));
    let (mut sent, mut read) = (0, 0);
    while sent < RECORDS {
        let push = if is_dense(sent) { Whole::push_dense } else { Whole::push };
        let is_sent = push(&whole(sent), &mut producer).unwrap();
        sent += u32::from(is_sent);
        if !is_sent || sent - read >= late {
            while let Some(record) = consumer.next_record().unwrap() {
                assert_eq!(Whole::copied(&consumer, &record), whole(read));
                read += 1;
            }
            let _ = consumer.release();
        }
    }
    own.prepared()
}

#[test]
fn a_ring_of_records_for_many_frames_has_as_many_pages_as_its_consumer_is_late() {
    assert!(pages_for(1, |_| true) <= LAYOUT.ring / 4, "who reads at once needs no more than the first pages");
    assert!(pages_for(4, |_| true) <= LAYOUT.ring / 2);
    assert!(pages_for(1, |number| number % 8 != 0) <= LAYOUT.ring / 2, "some others do not matter");
    assert_eq!(pages_for(24, |_| true), LAYOUT.ring, "who is late has all of the ring");
    assert_eq!(pages_for(u32::MAX, |_| true), LAYOUT.ring, "and who lets it become full");
    assert_eq!(pages_for(1, |_| false), LAYOUT.ring, "and so has who gets the frames themselves");
    assert_eq!(pages_for(1, |number| number % 2 == 0), LAYOUT.ring);
}

/// Memory that ends after so many bytes of pages.
struct Scarce {
    memory: Arc<HeapMemory>,
    left: Cell<usize>,
    refused: Cell<u32>,
}

impl OwnMemory for &Scarce {
    fn store(&self, at: usize, value: u64, ordering: Ordering) {
        self.memory.store(at, value, ordering);
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        self.memory.write(at, bytes);
    }

    fn prepare(&self, range: Range<usize>) -> bool {
        let left = self.left.get().checked_sub(range.len());
        self.refused.set(self.refused.get() + u32::from(left.is_none()));
        self.left.set(left.unwrap_or(self.left.get()));
        left.is_some()
    }
}

#[test]
fn a_ring_that_gets_no_more_pages_goes_on_with_those_that_it_has() {
    let (up, down) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
    let own = Scarce { memory: up.clone(), left: Cell::new(LAYOUT.ring / 2), refused: Cell::new(0) };
    let mut producer = Producer::new(&own, down.clone(), LAYOUT);
    let mut consumer = Consumer::new(down, up, LAYOUT);
    let whole = |number| Whole::new(number, (4, 0, PAYLOAD));
    for number in 0..RECORDS {
        assert!(whole(number).push(&mut producer).unwrap());
        // Late by more than half of the pages.
        if number >= 12 {
            let record = consumer.next_record().unwrap().unwrap();
            assert_eq!(Whole::copied(&consumer, &record), whole(number - 12));
            let _ = consumer.release();
        }
    }
    assert!(own.refused.get() > 10, "more were asked for in each lap: {}", own.refused.get());
}

/// Whatever the lengths are, and however the consumer reads: everything comes out as it went in, and nothing is written
/// where there are no pages.
#[test]
fn a_ring_that_begins_again_early_is_a_queue() {
    for seed in 0..16u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(20_000)
        .collect();
        let choices = Choices::new(&bytes);
        let (up, down) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
        let own = Watched::new(up.clone(), vec![TAIL, SPACE_EVENT], RING..RING + LAYOUT.ring);
        let mut producer = Producer::new(&own, down.clone(), LAYOUT);
        let mut consumer = Consumer::new(down, up, LAYOUT);
        let mut sent = std::collections::VecDeque::new();
        let mut number = 0;
        while !choices.are_used_up() {
            let record = Whole::chosen(number, &choices);
            let push = if choices.below(32) > 0 { Whole::push_dense } else { Whole::push };
            if push(&record, &mut producer).unwrap() {
                sent.push_back(record);
            } else {
                assert!(!sent.is_empty() || consumer.unreleased() > 0, "an empty ring has room");
            }
            number += 1;
            for _ in 0..choices.below(4) {
                let record = consumer.next_record().unwrap().map(|record| Whole::copied(&consumer, &record));
                assert_eq!(record, sent.pop_front());
            }
            if choices.below(2) == 0 {
                let _ = consumer.release();
            }
        }
    }
}

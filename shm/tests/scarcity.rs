//! A machine whose memory ends.

#[path = "support/mod.rs"]
mod support;

use std::ops::Range;
use std::sync::Arc;

use busway_shm::layout::{GRANULE, RING};
use busway_shm::{Consumer, Descriptor, HeapMemory, Ordering, OwnMemory, Parts, Producer, Violation, record_length};

use support::records::LAYOUT;

/// A machine whose memory ends within the ring.
struct Scarce {
    memory: Arc<HeapMemory>,
    end: usize,
}

impl OwnMemory for Scarce {
    fn store(&self, at: usize, value: u64, ordering: Ordering) {
        self.memory.store(at, value, ordering);
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.end, "what has no pages is written");
        self.memory.write(at, bytes);
    }

    fn prepare(&self, range: Range<usize>) -> bool {
        range.end <= self.end
    }
}

#[test]
fn a_ring_without_memory_ends_the_lane_and_nothing_else() {
    let (memory, peer) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
    let mut consumer = Consumer::new(peer.clone(), memory.clone(), LAYOUT);
    let mut producer = Producer::new(Scarce { memory, end: RING + LAYOUT.ring / 2 }, peer, LAYOUT);
    let record = Descriptor { operation: 1, ..Descriptor::default() };
    let mut sent = 0;
    let outcome = loop {
        match producer.push(&record, Parts::default(), &[7; 1000]) {
            Ok(true) => sent += 1,
            other => break other,
        }
    };
    assert_eq!(outcome, Err(Violation::Memory));
    assert_eq!(producer.reserve(GRANULE).map(|_| ()), Ok(()), "what has pages can be used to its end");
    assert_eq!(sent, LAYOUT.ring / 2 / record_length(0, 0, 1000));
    for _ in 0..sent {
        assert!(consumer.next_record().unwrap().is_some(), "what was sent before arrives");
    }
    assert_eq!(consumer.next_record(), Ok(None));
}

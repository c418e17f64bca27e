//! How much of its ring a producer uses.

#[path = "support/mod.rs"]
mod support;

use busway_shm::layout::{RING, SPACE_EVENT, TAIL};
use busway_shm::{Consumer, HeapMemory, Producer};

use support::records::{LAYOUT, Whole};
use support::watched::Watched;

/// Bytes of payload: a record is 384 bytes, which divides no page.
const PAYLOAD: usize = 300;
const RECORDS: u32 = 1000;

/// Sends records to a consumer that reads when so many wait; says for how much of the ring pages were asked.
fn pages_for(late: u32) -> usize {
    let (up, down) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
    let own = Watched::new(up.clone(), vec![TAIL, SPACE_EVENT], RING..RING + LAYOUT.ring);
    let mut producer = Producer::new(&own, down.clone(), LAYOUT);
    let mut consumer = Consumer::new(down, up, LAYOUT);
    let whole = |number| Whole::new(number, (4, 0, PAYLOAD));
    let (mut sent, mut read) = (0, 0);
    while sent < RECORDS {
        let is_sent = whole(sent).push(&mut producer).unwrap();
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
fn a_ring_has_as_many_pages_as_its_consumer_is_late() {
    assert!(pages_for(1) <= LAYOUT.ring / 4, "who reads at once needs no more than the first pages");
    assert!(pages_for(4) <= LAYOUT.ring / 2);
    assert_eq!(pages_for(24), LAYOUT.ring, "who is late has all of the ring");
    assert_eq!(pages_for(u32::MAX), LAYOUT.ring, "and who lets it become full");
}

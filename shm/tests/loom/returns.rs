//! Slots that come back: each once, from any thread, and no entry is overwritten before it was read.

use busway_shm::layout::ControlLayout;
use busway_shm::{Consumer, Parts, Producer, ReturnReader, Returns};
use loom::sync::Arc;
use loom::thread;

use crate::check;
use crate::memory::{descriptor, segments};

#[test]
fn slots_returned_by_two_threads_come_back_once_each() {
    const LAYOUT: ControlLayout = ControlLayout { ring: 256, slots: 2 };
    check(|| {
        let (own, _) = segments(LAYOUT);
        let returns = Arc::new(Returns::new(own.clone(), LAYOUT));
        let mut reader = ReturnReader::new(own, LAYOUT);
        let threads: Vec<_> = (0..2)
            .map(|slot| {
                let returns = Arc::clone(&returns);
                thread::spawn(move || returns.push(slot, slot + 10))
            })
            .collect();
        let mut returned = Vec::new();
        // While they are at it, and when they have done.
        returned.extend(reader.next_returned().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        while let Some(slot) = reader.next_returned().unwrap() {
            returned.push(slot);
        }
        returned.sort_unstable();
        assert_eq!(returned, [(0, 10), (1, 11)]);
    });
}

/// One slot, handed out twice: the entry of its first return is overwritten by that of its second.
#[test]
fn an_entry_is_overwritten_only_after_it_was_read() {
    const LAYOUT: ControlLayout = ControlLayout { ring: 256, slots: 1 };
    check(|| {
        let (broker, client) = segments(LAYOUT);
        let mut producer = Producer::new(broker.clone(), client.clone(), LAYOUT);
        let mut reader = ReturnReader::new(client.clone(), LAYOUT);
        let mut consumer = Consumer::new(client.clone(), broker, LAYOUT);
        let returns = Returns::new(client, LAYOUT);

        assert!(producer.push(&descriptor(1, 0), Parts::default(), &[]).unwrap());
        let receiver = thread::spawn(move || {
            for generation in 1..=2 {
                let record = loop {
                    match consumer.next_record().unwrap() {
                        Some(record) => break record,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(record.descriptor.op_id.get(), generation);
                returns.push(0, generation);
            }
        });
        for generation in 1..=2 {
            let returned = loop {
                match reader.next_returned().unwrap() {
                    Some(returned) => break returned,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(returned, (0, generation));
            if generation == 1 {
                assert!(producer.push(&descriptor(2, 0), Parts::default(), &[]).unwrap());
            }
        }
        receiver.join().unwrap();
    });
}

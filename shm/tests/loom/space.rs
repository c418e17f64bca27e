//! Waiting for room: whoever waits is woken, and nothing is overwritten that is still being read.

use busway_shm::layout::ControlLayout;
use busway_shm::{Consumer, Fence, Parts, Producer};
use loom::sync::{Arc, Notify};
use loom::thread;

use crate::memory::{Handle, descriptor, segments};
use crate::{check, fails_without};

/// Four granules, of which a record has one.
const LAYOUT: ControlLayout = ControlLayout { ring: 256, slots: 1 };
const ROOM: u32 = 4;

fn append(producer: &mut Producer<Handle, Handle>, number: u32) {
    assert!(producer.push(&descriptor(number, 0), Parts::default(), &[]).unwrap(), "there is room");
}

/// A ring that is full; its producer wants to append one more record, its consumer wants to read them all.
fn full_ring() {
    let (own, peer) = segments(LAYOUT);
    let mut producer = Producer::new(own.clone(), peer.clone(), LAYOUT);
    let mut consumer = Consumer::new(peer, own, LAYOUT);
    // Once around: the event of a ring of zeros is one that the first release passes.
    for _ in 0..ROOM {
        append(&mut producer, 99);
        assert!(consumer.next_record().unwrap().is_some());
    }
    let _ = consumer.release();
    for number in 0..ROOM {
        append(&mut producer, number);
    }
    let _ = producer.must_ring();
    let (there_are_records, there_is_room) = (Arc::new(Notify::new()), Arc::new(Notify::new()));

    let writer = thread::spawn({
        let (there_are_records, there_is_room) = (Arc::clone(&there_are_records), Arc::clone(&there_is_room));
        move || {
            while !producer.push(&descriptor(ROOM, 0), Parts::default(), &[]).unwrap() {
                if !producer.arm_space(64).unwrap() {
                    there_is_room.wait();
                }
            }
            if producer.must_ring() {
                there_are_records.notify();
            }
        }
    });

    let mut next = 0;
    while next <= ROOM {
        // Room is given back in steps: the first does not make half of the ring free, the second does.
        if let Some(record) = consumer.next_record().unwrap() {
            assert_eq!(record.descriptor.op_id.get(), next);
            next += 1;
        }
        if consumer.release() {
            there_is_room.notify();
        }
        if next <= ROOM && consumer.arm().unwrap() {
            there_are_records.wait();
        }
    }
    writer.join().unwrap();
}

#[test]
fn who_waits_for_room_is_woken() {
    check(full_ring);
}

#[test]
fn without_the_waiters_fence_a_wake_up_is_lost() {
    fails_without(Fence::SpaceEvent, "space::who_waits_for_room_is_woken");
}

#[test]
fn without_the_fence_of_who_makes_room_a_wake_up_is_lost() {
    fails_without(Fence::Head, "space::who_waits_for_room_is_woken");
}

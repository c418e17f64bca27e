//! Records and doorbells: nothing is lost, nothing is torn, and who sleeps is woken.

use busway_shm::layout::{ControlLayout, WORD};
use busway_shm::{Consumer, Fence, Parts, Producer, record_length};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

use crate::memory::{Handle, descriptor, segments};
use crate::{check, fails_without};

/// Eight granules; a record has at most two.
const LAYOUT: ControlLayout = ControlLayout { ring: 512, slots: 1 };

type ModelProducer = Producer<Handle, Handle>;
type ModelConsumer = Consumer<Handle, Handle>;

/// The producing ends of a ring, as the tasks of one process share them.
struct Shared {
    producer: Mutex<ModelProducer>,
    bell: Notify,
}

impl Shared {
    fn new(producer: ModelProducer) -> Arc<Self> {
        Arc::new(Self { producer: Mutex::new(producer), bell: Notify::new() })
    }

    /// Appends records as one batch: one doorbell for all.
    fn push(&self, numbers: &[u32]) {
        let mut producer = self.producer.lock().unwrap();
        for number in numbers {
            append(&mut producer, *number, 0);
        }
        if producer.must_ring() {
            self.bell.notify();
        }
    }
}

fn append(producer: &mut ModelProducer, number: u32, payload: u32) {
    let bytes = vec![u8::try_from(number).unwrap(); payload as usize];
    assert!(producer.push(&descriptor(number, payload), Parts::default(), &bytes).unwrap(), "there is room");
}

/// A ring that has been used up to `granules`, and is empty.
fn ring_at(granules: u32) -> (ModelProducer, ModelConsumer) {
    let (own, peer) = segments(LAYOUT);
    let mut producer = Producer::new(own.clone(), peer.clone(), LAYOUT);
    let mut consumer = Consumer::new(peer, own, LAYOUT);
    for _ in 0..granules {
        append(&mut producer, 99, 0);
        assert!(consumer.next_record().unwrap().is_some());
    }
    let _ = consumer.release();
    let _ = producer.must_ring();
    (producer, consumer)
}

/// Reads `count` records, sleeping whenever there is none; returns their numbers.
fn receive(consumer: &mut ModelConsumer, bell: &Notify, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        while let Some(record) = consumer.next_record().unwrap() {
            let number = record.descriptor.op_id.get();
            let mut payload = Vec::new();
            consumer.copy_payload(&record, &mut payload);
            assert!(payload.iter().all(|byte| u32::from(*byte) == number), "a record comes out as it went in");
            numbers.push(number);
        }
        let _ = consumer.release();
        if numbers.len() < count && consumer.arm().unwrap() {
            bell.wait();
        }
    }
    numbers
}

/// Two producers, one of them with a batch, and a consumer that sleeps in between.
fn two_producers() {
    let (producer, mut consumer) = ring_at(0);
    let shared = Shared::new(producer);
    let other = thread::spawn({
        let shared = Arc::clone(&shared);
        move || shared.push(&[1, 2])
    });
    let third = thread::spawn({
        let shared = Arc::clone(&shared);
        move || shared.push(&[3])
    });
    let numbers = receive(&mut consumer, &shared.bell, 3);
    let order: Vec<_> = numbers.iter().filter(|number| **number < 3).collect();
    assert_eq!(order, [&1, &2], "each producer's records come in order");
    assert!(numbers.contains(&3));
    other.join().unwrap();
    third.join().unwrap();
}

/// One producer whose records come one after the other, so that the consumer can sleep before each.
fn one_producer() {
    let (producer, mut consumer) = ring_at(0);
    let shared = Shared::new(producer);
    let other = thread::spawn({
        let shared = Arc::clone(&shared);
        move || {
            shared.push(&[1]);
            shared.push(&[2]);
        }
    });
    assert_eq!(receive(&mut consumer, &shared.bell, 2), [1, 2]);
    other.join().unwrap();
}

#[test]
fn records_of_two_producers_arrive_and_wake_the_sleeper() {
    check(two_producers);
}

#[test]
fn records_sent_one_by_one_wake_the_sleeper_each_time() {
    check(one_producer);
}

/// Who looks for sleepers later, after the first record of a batch, wakes them just as well.
#[test]
fn a_look_that_is_put_off_is_made_in_the_end() {
    check(|| {
        let (producer, mut consumer) = ring_at(0);
        let shared = Shared::new(producer);
        let other = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for record in [1, 2] {
                    let mut producer = shared.producer.lock().unwrap();
                    assert_eq!(producer.unsignaled() == 0, record == 1, "the first of the batch");
                    append(&mut producer, record, 0);
                }
                if shared.producer.lock().unwrap().must_ring() {
                    shared.bell.notify();
                }
            }
        });
        assert_eq!(receive(&mut consumer, &shared.bell, 2), [1, 2]);
        other.join().unwrap();
    });
}

#[test]
fn without_the_producers_fence_a_wake_up_is_lost() {
    fails_without(Fence::Tail, "ring::records_sent_one_by_one_wake_the_sleeper_each_time");
}

#[test]
fn without_the_consumers_fence_a_wake_up_is_lost() {
    fails_without(Fence::Event, "ring::records_sent_one_by_one_wake_the_sleeper_each_time");
}

/// One producer gives up what it has reserved, and looks for sleepers as always; the record of the other one has to
/// get through.
#[test]
fn a_reservation_that_is_given_up_neither_shows_nor_swallows_a_wake_up() {
    check(|| {
        let (producer, mut consumer) = ring_at(7);
        let shared = Shared::new(producer);
        let other = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let mut producer = shared.producer.lock().unwrap();
                // It would have needed a PAD.
                let mut reservation = producer.reserve(record_length(0, 0, WORD)).unwrap().unwrap();
                reservation.write_payload(Parts::default(), 0, &[1; WORD]);
                drop(reservation);
                if producer.must_ring() {
                    shared.bell.notify();
                }
            }
        });
        let third = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.push(&[2])
        });
        assert_eq!(receive(&mut consumer, &shared.bell, 1), [2]);
        other.join().unwrap();
        third.join().unwrap();
    });
}

/// The record does not fit before the end of the ring: PAD and record become visible together.
#[test]
fn a_record_behind_a_pad_arrives_whole() {
    check(|| {
        let (mut producer, mut consumer) = ring_at(7);
        let bell = Arc::new(Notify::new());
        let other = thread::spawn({
            let bell = Arc::clone(&bell);
            move || {
                append(&mut producer, 5, 64);
                if producer.must_ring() {
                    bell.notify();
                }
            }
        });
        assert_eq!(receive(&mut consumer, &bell, 1), [5]);
        other.join().unwrap();
    });
}

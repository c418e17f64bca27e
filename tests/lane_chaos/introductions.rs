//! Receivers that a large payload waits for, because they were asked to map the memory in which it lies.

use busway_shm::Descriptor;
use busway_shm::layout::{flag, operation};

use crate::lane_peer::{LanePeer, message, publication};
use crate::place::{broker, segments};
use crate::support::{BrokerProcess, eventually};
use crate::witness::Witness;

const LENGTH: u32 = 1 << 20;
/// Nobody is cut for being silent, and nothing that waits is given up.
const PATIENT: [&str; 2] = ["-t", "3600"];

/// A receiver, and a sender whose large payload is for it, in an arena that it does not know yet.
fn send_large(broker: &BrokerProcess) -> (LanePeer, LanePeer) {
    let receiver = LanePeer::subscribed(broker, "receiver", &["large", "small"]);
    let mut sender = LanePeer::connect(broker, "sender");
    let arena = sender.arena(4 << 20);
    let in_place = Descriptor {
        flags: flag::IN_PLACE,
        segment: arena.number.into(),
        payload: LENGTH.into(),
        slot: 0.into(),
        generation: 1.into(),
        ..publication()
    };
    sender.push(in_place, [b"large", b"", b""], |_| {});
    sender.await_read();
    sender.push(publication(), [b"small", b"", b"small"], |_| {});
    sender.await_read();
    (receiver, sender)
}

/// The next frame, and whether it came in place.
fn frame(receiver: &mut LanePeer) -> (usize, bool) {
    let (first, mut payload) = receiver.receive();
    let mut last = first;
    while last.flags & flag::MORE != 0 {
        let (next, piece) = receiver.receive();
        payload.extend(piece);
        last = next;
    }
    if first.flags & flag::IN_PLACE != 0 { (first.payload.get() as usize, true) } else { (payload.len(), false) }
}

#[test]
fn the_first_large_payload_waits_for_its_receiver_to_map_the_memory() {
    let broker = broker(&PATIENT);
    let witness = Witness::start(&broker);
    let (mut receiver, _sender) = send_large(&broker);
    let introduction = receiver.applicant.segment();
    receiver.answer(operation::SEGMENT_OK, &introduction);
    assert_eq!(frame(&mut receiver), (LENGTH as usize, true));
    assert_eq!(frame(&mut receiver), (5, false), "the order is kept");
    witness.finish();
}

#[test]
fn a_receiver_that_cannot_map_the_memory_gets_a_copy() {
    let broker = broker(&PATIENT);
    let witness = Witness::start(&broker);
    let (mut receiver, _sender) = send_large(&broker);
    let introduction = receiver.applicant.segment();
    receiver.answer(operation::SEGMENT_FAILED, &introduction);
    assert_eq!(frame(&mut receiver), (LENGTH as usize, false));
    assert_eq!(frame(&mut receiver), (5, false));
    witness.finish();
}

#[test]
fn a_receiver_that_never_answers_gets_a_copy_and_holds_no_memory() {
    let broker = broker(&["-t", "2"]);
    let witness = Witness::start(&broker);
    let before = segments(broker.id(), "arena").len();
    let (mut receiver, sender) = send_large(&broker);
    assert_eq!(frame(&mut receiver), (LENGTH as usize, false));
    assert_eq!(frame(&mut receiver), (5, false));
    drop(sender);
    eventually("the arena of who has gone is gone", || {
        // It lives.
        receiver.applicant.write(&[0; 9]);
        segments(broker.id(), "arena").len() <= before
    });
    witness.finish();
}

/// Who floods itself is not read from until it has taken half of it; so nothing of it may wait for what it says.
#[test]
fn a_receiver_that_floods_itself_while_a_payload_waits_for_its_answer_goes_on() {
    let options = [&PATIENT[..], &["--queue-size", "16"]].concat();
    let broker = broker(&options);
    let witness = Witness::start(&broker);
    let (mut receiver, _sender) = send_large(&broker);
    for _ in 0..12 {
        receiver.push(message(), [b"receiver", b"", b"to myself"], |_| {});
    }
    let introduction = receiver.applicant.segment();
    receiver.answer(operation::SEGMENT_OK, &introduction);
    assert_eq!(frame(&mut receiver).0, LENGTH as usize);
    assert_eq!(frame(&mut receiver), (5, false));
    for _ in 0..12 {
        assert_eq!(frame(&mut receiver), (9, false));
    }
    receiver.expect_served();
    witness.finish();
}

//! Peers that do not keep to the steps of the negotiation.

use crate::applicant::{Applicant, FAILED, READY, REQUEST};
use crate::lane_peer::{LanePeer, message};
use crate::place::{Holdings, broker, expect_return_to, listed};
use crate::support::Request;
use crate::witness::Witness;

const REFUSED: [u8; 5] = *b"\0BUS\x03";

#[test]
fn who_never_says_that_it_is_ready_is_served_over_its_socket() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    let mut applicant = Applicant::register(&broker.socket(), "undecided");
    applicant.write(REQUEST);
    let _held = applicant.offer();
    // It may ask as often as it likes.
    for _ in 0..1000 {
        applicant.write(REQUEST);
    }
    applicant.send(&Request::message("undecided", "still over the socket"));
    let (transport, reason) = listed(&broker, "undecided");
    assert_eq!((transport.as_str(), reason.as_deref()), ("unix", Some("it is being negotiated")));
    drop(applicant);
    expect_return_to(&broker, before);
    witness.finish();
}

#[test]
fn who_speaks_another_version_is_served_over_its_socket() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    let of_this = REQUEST[6];
    for version in [0, of_this - 1, of_this + 1, u8::MAX] {
        let name = format!("version.{version}");
        let mut applicant = Applicant::register(&broker.socket(), &name);
        let mut request = *REQUEST;
        request[6] = version;
        applicant.write(&request);
        applicant.expect_ping(&REFUSED);
        let (transport, reason) = listed(&broker, &name);
        assert_eq!((transport.as_str(), reason.as_deref()), ("unix", Some("the client speaks another version of it")));
        // It may not ask again with the right one.
        applicant.write(REQUEST);
        applicant.send(&Request::message(&name, "over the socket"));
        applicant.expect_delivery();
        assert_eq!(listed(&broker, &name).0, "unix");
    }
    expect_return_to(&broker, before);
    witness.finish();
}

#[test]
fn ready_without_an_allocated_segment_is_no_lane() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    let mut applicant = Applicant::register(&broker.socket(), "hasty");
    applicant.write(REQUEST);
    let _held = applicant.offer();
    applicant.write(READY);
    applicant.expect_ping(&REFUSED);
    let (transport, reason) = listed(&broker, "hasty");
    assert_eq!((transport.as_str(), reason.as_deref()), ("unix", Some("the client could not take it over")));
    applicant.send(&Request::message("hasty", "over the socket"));
    applicant.expect_delivery();
    drop(applicant);
    expect_return_to(&broker, before);
    witness.finish();
}

#[test]
fn ready_and_failed_at_any_other_time_say_nothing() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    let mut applicant = Applicant::register(&broker.socket(), "confused");
    for _ in 0..100 {
        applicant.write(READY);
        applicant.write(FAILED);
    }
    applicant.send(&Request::message("confused", "over the socket"));
    applicant.expect_delivery();
    // All in one write: who sent READY is then not known, and there is no lane.
    applicant.write(&[&REQUEST[..], READY, READY, FAILED].concat());
    applicant.send(&Request::message("confused", "over the socket"));
    applicant.expect_delivery();
    assert_eq!(listed(&broker, "confused").0, "unix");
    drop(applicant);
    expect_return_to(&broker, before);
    witness.finish();
}

#[test]
fn ready_a_second_time_is_a_ping() {
    let broker = broker(&[]);
    let mut peer = LanePeer::connect(&broker, "twice");
    for _ in 0..10 {
        peer.applicant.write(READY);
        peer.applicant.write(REQUEST);
        peer.applicant.write(FAILED);
    }
    peer.expect_served();
}

#[test]
fn a_frame_over_the_socket_after_ready_ends_the_connection() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    for (name, is_at_once) in [("talks.on.at.once", true), ("talks.on.later", false)] {
        let applicant = Applicant::register(&broker.socket(), name);
        applicant.write(REQUEST);
        let mut peer = LanePeer::map(applicant);
        let frame = Request::message("nobody", "too late").bytes();
        if is_at_once {
            peer.applicant.write(&[&READY[..], &frame].concat());
        } else {
            peer = peer.switch();
            peer.expect_served();
            peer.applicant.write(&frame);
        }
        peer.applicant.expect_closed();
        broker.expect_logged(&[name, "over the socket after its switch"]);
    }
    expect_return_to(&broker, before);
    witness.finish();
}

#[test]
fn who_maps_late_gets_what_was_sent_meanwhile_in_order() {
    let broker = broker(&[]);
    let mut sender = broker.peer("sender");
    let applicant = Applicant::register(&broker.socket(), "late");
    applicant.write(REQUEST);
    for number in 0..100u32 {
        sender.perform(Request::message("late", number.to_le_bytes()));
    }
    let mut peer = LanePeer::map(applicant);
    peer.applicant.write(READY);
    // What came before the switch came over the socket, what comes after it comes by the lane.
    peer.applicant.await_switch();
    for number in 100..200u32 {
        sender.perform(Request::message("late", number.to_le_bytes()));
        let (descriptor, payload) = peer.receive();
        assert_eq!((descriptor.operation, payload), (0x12, number.to_le_bytes().to_vec()));
    }
    assert_eq!(peer.applicant.numbers, (0..100).collect::<Vec<u32>>());
}

#[test]
fn bells_may_be_closed_and_rung_without_end() {
    let broker = broker(&["-w", "1"]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    let mut deaf = LanePeer::connect(&broker, "deaf");
    deaf.down_bell = None;
    deaf.expect_served();
    let ringer = LanePeer::connect(&broker, "ringer");
    for _ in 0..200_000 {
        ringer.bell.ring();
    }
    witness.goes_on();
    // Its end of the bell is gone, and with it the last chance to be heard: the socket still tells of the end.
    let LanePeer { applicant, bell, .. } = ringer;
    drop(bell);
    witness.goes_on();
    drop(applicant);
    drop(deaf);
    expect_return_to(&broker, before);
    witness.finish();
}

#[test]
fn what_was_written_before_the_end_arrives_though_nobody_rang() {
    let broker = broker(&[]);
    let mut receiver = broker.peer("receiver");
    let mut peer = LanePeer::connect(&broker, "leaves");
    for number in 0..1000u32 {
        peer.write(message(), [b"receiver", b"", &number.to_le_bytes()], |_| {});
    }
    peer.show();
    drop(peer);
    for number in 0..1000u32 {
        assert_eq!(receiver.receive_delivery().payload, number.to_le_bytes());
    }
}

//! Pings: who is there, and who is not any more.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{BrokerProcess, Delivery, Request, Setup, WirePeer, code, promises};

promises! {
    everywhere {
        a_silent_client_is_dropped
        a_client_that_stops_inside_a_head_is_dropped
        a_client_that_stops_inside_a_body_is_dropped
        pings_keep_a_client_alive
        frames_keep_a_client_alive_as_pings_do
        the_broker_pings_a_client_that_gets_nothing_else
        a_ping_is_not_answered
        a_ping_may_hold_anything_in_its_other_eight_bytes
        operation_zero_with_qos_bits_has_a_body_and_does_nothing
        a_client_that_ends_its_sending_half_has_left
        the_name_of_a_dropped_client_is_free_again
    }
    busway_only {
        "over TCP the reference drops who makes no room within its timeout": a_client_that_reads_slowly_and_steadily_is_kept
        "the reference wants a body whole within its timeout": a_body_that_makes_progress_may_take_longer_than_the_timeout
    }
    reference_only {
        the_reference_wants_a_body_whole_within_its_timeout
    }
}

/// The shortest timeout that both brokers take.
const ONE_SECOND: [&str; 2] = ["-t", "1"];

fn a_silent_client_is_dropped(setup: &Setup) {
    let broker = setup.start_with(&ONE_SECOND);
    // It reads what the broker sends; that does not count.
    broker.peer("anna").expect_closed();
}

fn a_client_that_stops_inside_a_head_is_dropped(setup: &Setup) {
    let broker = setup.start_with(&ONE_SECOND);
    let mut peer = broker.peer("anna");
    peer.write(&Request::message("anna", "hello").bytes()[..5]);
    peer.expect_closed();
}

fn a_client_that_stops_inside_a_body_is_dropped(setup: &Setup) {
    let broker = setup.start_with(&ONE_SECOND);
    let mut peer = broker.peer("anna");
    peer.write(&Request::message("anna", [1; 100]).bytes()[..50]);
    peer.expect_closed();
}

fn pings_keep_a_client_alive(setup: &Setup) {
    let broker = setup.start_with(&ONE_SECOND);
    let mut peer = broker.peer("anna");
    for _ in 0..16 {
        thread::sleep(Duration::from_millis(200));
        peer.ping();
    }
    peer.expect_nothing();
}

fn frames_keep_a_client_alive_as_pings_do(setup: &Setup) {
    let broker = setup.start_with(&ONE_SECOND);
    let mut peer = broker.peer("anna");
    for _ in 0..16 {
        thread::sleep(Duration::from_millis(200));
        peer.send(&Request::publish("light", "on"));
    }
    peer.expect_nothing();
}

fn the_broker_pings_a_client_that_gets_nothing_else(setup: &Setup) {
    let broker = setup.start_with(&ONE_SECOND);
    // Before the first may come.
    let started = Instant::now();
    let mut peer = broker.peer("anna");
    let mut pinging = peer.second_handle();
    for _ in 0..4 {
        assert_eq!(peer.read(6), [0; 6], "a ping of the broker is six zeros");
        pinging.ping();
    }
    // Four of them at one each half second; the first may have been due at once.
    assert!(started.elapsed() >= Duration::from_millis(1_400), "pings come at half the timeout, not in a flood");
}

fn a_ping_is_not_answered(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    for _ in 0..1_000 {
        peer.ping();
    }
    peer.expect_nothing();
}

fn a_ping_may_hold_anything_in_its_other_eight_bytes(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    for byte in [0x01, 0x7F, 0xFF] {
        let mut ping = [byte; 9];
        ping[4] = 0;
        peer.write(ping);
        peer.expect_nothing();
    }
}

fn operation_zero_with_qos_bits_has_a_body_and_does_nothing(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let nothing = Request::raw(0, b"anna\0body");
    peer.send(&nothing.clone().confirmed());
    peer.send(&nothing.clone().realtime());
    peer.send(&nothing.confirmed().realtime());
    peer.expect_nothing();
    peer.perform(Request::subscribe(&["light"]));
}

fn a_client_that_ends_its_sending_half_has_left(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    peer.perform(Request::publish("light", "on"));
    peer.finish_writing();
    peer.expect_closed();
    broker.wait_until_gone("anna");
}

fn the_name_of_a_dropped_client_is_free_again(setup: &Setup) {
    let broker = setup.start_with(&ONE_SECOND);
    let mut silent = broker.peer("anna");
    silent.expect_closed();
    let mut successor = broker.successor("anna");
    assert_eq!(successor.confirm(Request::message("nobody", "")), code::NOT_REGISTERED);
}

/// It has so much to read that it is not read from, and reads so slowly that the kernel reports no room for longer than
/// silence is allowed.
fn a_client_that_reads_slowly_and_steadily_is_kept(setup: &Setup) {
    const FRAMES: u32 = 6_000;
    const SLOWLY: u32 = 1_200;
    let broker = setup.start_with(&ONE_SECOND);
    let (mut slow, mut sender) = (broker.peer("slow"), broker.peer("sender"));
    let payload = |number: u32| [&number.to_le_bytes()[..], &[0; 1_020]].concat();
    for number in 0..FRAMES {
        sender.send(&Request::message("slow", payload(number)));
    }
    assert_eq!(sender.confirm(Request::message("nobody", "")), code::NOT_REGISTERED, "all were handed on");
    for number in 0..FRAMES {
        if number < SLOWLY {
            thread::sleep(Duration::from_millis(3));
        }
        if number % 100 == 0 {
            slow.ping();
        }
        slow.expect(&Delivery::message(payload(number)).from("sender"));
    }
    slow.expect_nothing();
}

/// Sends 20 bytes of payload over four seconds, one at a time, or as many as the broker has the patience for.
fn dripping(setup: &Setup) -> (BrokerProcess, WirePeer, io::Result<()>) {
    let broker = setup.start_with(&ONE_SECOND);
    let mut peer = broker.peer("anna");
    let bytes = Request::message("anna", [b'x'; 20]).bytes();
    let (start, drops) = bytes.split_at(bytes.len() - 20);
    peer.write(start);
    for drop in drops {
        thread::sleep(Duration::from_millis(200));
        if let Err(error) = peer.try_write([*drop]) {
            return (broker, peer, Err(error));
        }
    }
    (broker, peer, Ok(()))
}

fn a_body_that_makes_progress_may_take_longer_than_the_timeout(setup: &Setup) {
    let (_broker, mut peer, written) = dripping(setup);
    written.expect("the broker is patient");
    peer.expect(&Delivery::message([b'x'; 20]).from("anna"));
}

fn the_reference_wants_a_body_whole_within_its_timeout(setup: &Setup) {
    let (_broker, mut peer, _) = dripping(setup);
    peer.expect_closed();
}

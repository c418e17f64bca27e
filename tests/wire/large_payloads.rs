//! Large payloads for one receiver, which stay in the kernel where both are on UNIX sockets: nobody can tell, whatever
//! happens while they arrive.

use std::fs;
use std::thread;

use crate::slow_policies::policy;
use crate::support::{BrokerProcess, Delivery, Request, Setup, Transport, code, eventually, promises};

promises! {
    everywhere {
        a_sender_that_leaves_amid_a_large_payload_has_sent_nothing
        a_receiver_that_leaves_while_a_large_payload_arrives_is_not_there
        a_receiver_that_comes_while_a_large_payload_arrives_gets_it
        a_large_payload_to_oneself_arrives_intact
        a_large_payload_to_nobody_is_read_to_its_end
        a_large_payload_in_many_pieces_arrives_intact
        large_payloads_that_wait_for_a_late_reader_arrive_intact
        a_reader_that_leaves_amid_a_large_payload_disturbs_nobody
        a_receiver_that_stands_still_holds_up_no_large_payload_of_others
        large_payloads_of_any_length_arrive_intact
        a_receiver_may_change_to_the_other_transport_while_a_large_payload_arrives
    }
    busway_only {
        "the reference has no such policies": a_receiver_may_ask_for_a_policy_while_a_large_payload_arrives
    }
    busway_unix_only {
        "the reference copies every payload, and so does the broker where TCP is involved": what_waits_of_large_payloads_waits_in_pipes
        "the reference has no pipes": pipes_are_left_for_others_when_a_receiver_stands_still
    }
}

/// Whole pages of it differ, and no two payloads of different seeds are the same anywhere.
fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (word, place) in (seed << 32..).zip(bytes.chunks_mut(8)) {
        place.copy_from_slice(&word.to_le_bytes()[..place.len()]);
    }
    bytes
}

fn a_sender_that_leaves_amid_a_large_payload_has_sent_nothing(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.peer("bert");
    let mut other = broker.peer("carl");
    for part in [600_000, 2 << 20, (4 << 20) - 1] {
        let mut sender = broker.successor("anna");
        let request = Request::message("bert", pattern(4 << 20, 1)).bytes();
        sender.write(&request[..part]);
        sender.leave();
        let payload = pattern(4 << 20, part as u64);
        other.perform(Request::message("bert", &payload));
        receiver.expect(&Delivery::message(&payload).from("carl"));
    }
    receiver.expect_nothing();
}

fn a_receiver_that_leaves_while_a_large_payload_arrives_is_not_there(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    for round in 0..3 {
        let receiver = broker.successor("bert");
        let request = Request::message("bert", pattern(3 << 20, round)).confirmed().op_id(77).bytes();
        let (first, second) = request.split_at(2 << 20);
        sender.write(first);
        receiver.leave();
        broker.wait_until_gone("bert");
        sender.write(second);
        sender.expect_confirmation(77, code::NOT_REGISTERED);
    }
    broker.expect_service();
}

fn a_receiver_that_comes_while_a_large_payload_arrives_gets_it(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut first = broker.subscriber("bert", &["large"]);
    let payload = pattern(3 << 20, 5);
    let request = Request::publish("large", &payload).bytes();
    let (begin, rest) = request.split_at(2 << 20);
    sender.write(begin);
    let mut second = broker.subscriber("carl", &["large"]);
    sender.write(rest);
    for receiver in [&mut first, &mut second] {
        receiver.expect(&Delivery::publication("large", &payload).from("anna"));
    }
}

fn a_large_payload_to_oneself_arrives_intact(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    let mut reading = anna.second_handle();
    let payload = pattern(5 << 20, 2);
    let request = Request::message("anna", &payload).bytes();
    let writing = thread::spawn(move || {
        anna.write(request);
        anna
    });
    reading.expect(&Delivery::message(&payload).from("anna"));
    writing.join().expect("all was written");
}

fn a_large_payload_to_nobody_is_read_to_its_end(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    assert_eq!(sender.confirm(Request::message("nobody", pattern(3 << 20, 1))), code::NOT_REGISTERED);
    sender.perform(Request::publish("heard/by/nobody", pattern(3 << 20, 1)));
    let mut receiver = broker.peer("bert");
    sender.perform(Request::message("bert", "small"));
    receiver.expect(&Delivery::message("small").from("anna"));
}

fn a_large_payload_in_many_pieces_arrives_intact(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    for (seed, piece) in [(1, 500), (2, 4_096), (3, 70_001)] {
        let payload = pattern((1 << 20) + 13, seed);
        for piece in Request::message("bert", &payload).bytes().chunks(piece) {
            sender.write(piece);
        }
        receiver.expect(&Delivery::message(&payload).from("anna"));
    }
}

fn large_payloads_that_wait_for_a_late_reader_arrive_intact(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.peer("bert");
    // More than there are pipes for, and less than may wait.
    let senders: Vec<_> = (0..2)
        .map(|sender| {
            let mut peer = broker.peer(&format!("sender {sender}"));
            thread::spawn(move || {
                for number in 0..24 {
                    peer.perform(Request::message("bert", pattern(1 << 20, sender * 100 + number)));
                }
            })
        })
        .collect();
    for sender in senders {
        sender.join().expect("everything was confirmed");
    }
    let mut next = [0, 100];
    for _ in 0..48 {
        let delivery = receiver.receive_delivery();
        let sender = usize::from(delivery.sender == "sender 1");
        assert!(delivery.payload == pattern(1 << 20, next[sender]), "{} of {}", next[sender], delivery.sender);
        next[sender] += 1;
    }
}

fn a_reader_that_leaves_amid_a_large_payload_disturbs_nobody(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut other = broker.peer("carl");
    for round in 0..3 {
        let mut receiver = broker.successor("bert");
        sender.perform(Request::message("bert", pattern(8 << 20, round)));
        receiver.read(2 << 20);
        receiver.leave();
        let payload = pattern(8 << 20, 10 + round);
        sender.perform(Request::message("carl", &payload));
        other.expect(&Delivery::message(&payload).from("anna"));
        broker.wait_until_gone("bert");
    }
}

fn a_receiver_that_stands_still_holds_up_no_large_payload_of_others(setup: &Setup) {
    let broker = setup.start();
    let mut still = broker.peer("bert");
    let mut reader = broker.peer("carl");
    let mut sender = broker.peer("anna");
    for seed in 0..40 {
        sender.perform(Request::message("bert", pattern(1 << 20, seed)));
        let payload = pattern(2 << 20, 100 + seed);
        sender.perform(Request::message("carl", &payload));
        reader.expect(&Delivery::message(&payload).from("anna"));
    }
    for seed in 0..40 {
        still.expect(&Delivery::message(pattern(1 << 20, seed)).from("anna"));
    }
}

fn large_payloads_of_any_length_arrive_intact(setup: &Setup) {
    const MIB: usize = 1 << 20;
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    // Around those from which and up to which they stay in the kernel.
    for length in [MIB / 2 - 1, MIB / 2, MIB / 2 + 1, 30 * MIB - 1, 30 * MIB, 30 * MIB + 1, 33 * MIB] {
        let payload = pattern(length, length as u64);
        sender.perform(Request::message("bert", &payload));
        receiver.expect(&Delivery::message(&payload).from("anna"));
    }
}

fn a_receiver_may_change_to_the_other_transport_while_a_large_payload_arrives(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    for round in 0..2 {
        let receiver = broker.successor("bert");
        let payload = pattern(4 << 20, round);
        let request = Request::message("bert", &payload).confirmed().op_id(5).bytes();
        let (first, second) = request.split_at(3 << 20);
        sender.write(first);
        receiver.leave();
        broker.wait_until_gone("bert");
        let mut receiver = broker.connect_by(match setup.transport {
            Transport::Unix => Transport::Tcp,
            Transport::Tcp => Transport::Unix,
        });
        assert_eq!(receiver.introduce("bert"), code::OK);
        sender.write(second);
        sender.expect_confirmation(5, code::OK);
        receiver.expect(&Delivery::message(&payload).from("anna"));
        receiver.leave();
    }
}

fn a_receiver_may_ask_for_a_policy_while_a_large_payload_arrives(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.subscriber("bert", &["large"]);
    let payload = pattern(4 << 20, 9);
    let request = Request::publish("large", &payload).bytes();
    let (first, second) = request.split_at(3 << 20);
    sender.write(first);
    receiver.call(&policy("drop-oldest", &[])).expect("the broker knows it");
    sender.write(second);
    receiver.expect(&Delivery::publication("large", &payload).from("anna"));
    sender.perform(Request::publish("large", &payload));
    receiver.expect(&Delivery::publication("large", &payload).from("anna"));
}

/// Ends of pipes that the broker has open.
fn pipe_ends(broker: &BrokerProcess) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", broker.id())).expect("the broker is alive");
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("pipe:")).count()
}

fn what_waits_of_large_payloads_waits_in_pipes(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.peer("bert");
    let mut sender = broker.peer("anna");
    let (pipes, memory) = (pipe_ends(&broker), broker.resident_bytes());
    let payload = pattern(8 << 20, 1);
    sender.perform(Request::message("bert", &payload));
    assert!(pipe_ends(&broker) >= pipes + 2 * 3, "2 MiB in each, but for what the socket takes");
    let grown = broker.resident_bytes().saturating_sub(memory);
    assert!(grown < 4 << 20, "the broker grew by {} KiB", grown >> 10);
    receiver.expect(&Delivery::message(&payload).from("anna"));
    eventually("pipes that nobody needs are closed", || pipe_ends(&broker) <= pipes);
}

fn pipes_are_left_for_others_when_a_receiver_stands_still(setup: &Setup) {
    let broker = setup.start();
    let (mut still, mut reader) = (broker.peer("bert"), broker.peer("carl"));
    let mut sender = broker.peer("anna");
    for seed in 0..40 {
        sender.perform(Request::message("bert", pattern(1 << 20, seed)));
    }
    let taken = pipe_ends(&broker);
    assert!(taken > 2 * 10, "what waits is in pipes as far as it may be");
    let payload = pattern(8 << 20, 77);
    sender.perform(Request::message("carl", &payload));
    assert!(pipe_ends(&broker) > taken + 2 * 2, "and others have some");
    reader.expect(&Delivery::message(&payload).from("anna"));
    for seed in 0..40 {
        still.expect(&Delivery::message(pattern(1 << 20, seed)).from("anna"));
    }
}

//! From one client to one other.

use crate::support::{Delivery, Request, Setup, code, promises};

promises! {
    everywhere {
        a_message_reaches_the_client_of_that_name_and_no_other
        a_message_carries_the_name_of_its_sender
        a_message_to_nobody_is_refused_with_71
        a_message_to_nobody_that_asks_for_nothing_gets_nothing
        a_message_to_somebody_who_has_left_is_refused_with_71
        a_message_to_oneself_arrives_before_its_confirmation
        a_message_to_the_start_or_the_end_of_a_name_reaches_nobody
        wildcards_in_a_target_mean_nothing
        an_empty_target_is_nobody
        an_empty_payload_is_a_message
        a_payload_may_hold_any_bytes
        a_realtime_message_says_so_to_its_receiver
        the_wire_bytes_of_a_message_are_these
        two_messages_may_come_in_one_write
        two_clients_talk_to_each_other_at_once
    }
}

fn a_message_reaches_the_client_of_that_name_and_no_other(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    let mut other = broker.peer("carl");
    sender.perform(Request::message("bert", "hello"));
    receiver.expect(&Delivery::message("hello").from("anna"));
    receiver.expect_nothing();
    other.expect_nothing();
    sender.expect_nothing();
}

fn a_message_carries_the_name_of_its_sender(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.peer("bert");
    for name in ["anna", "a.n.n.a", "größe", "a b"] {
        broker.peer(name).perform(Request::message("bert", name));
        receiver.expect(&Delivery::message(name).from(name));
    }
}

fn a_message_to_nobody_is_refused_with_71(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    assert_eq!(sender.confirm(Request::message("bert", "hello")), code::NOT_REGISTERED);
    assert_eq!(sender.confirm(Request::message("bert", "hello").realtime()), code::NOT_REGISTERED);
    sender.expect_nothing();
}

fn a_message_to_nobody_that_asks_for_nothing_gets_nothing(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    sender.send(&Request::message("bert", "hello"));
    sender.send(&Request::message("bert", "hello").realtime());
    sender.expect_nothing();
}

fn a_message_to_somebody_who_has_left_is_refused_with_71(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let receiver = broker.peer("bert");
    sender.perform(Request::message("bert", "hello"));
    drop(receiver);
    broker.wait_until_gone("bert");
    assert_eq!(sender.confirm(Request::message("bert", "hello")), code::NOT_REGISTERED);
}

fn a_message_to_oneself_arrives_before_its_confirmation(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    peer.send(&Request::message("anna", "note to self").confirmed().op_id(7));
    peer.expect(&Delivery::message("note to self").from("anna"));
    peer.expect_confirmation(7, code::OK);
}

fn a_message_to_the_start_or_the_end_of_a_name_reaches_nobody(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("group.bert");
    for target in ["group", "bert", "group.", "group.bert.", ".bert", "group.ber", "Group.bert", "group.bert%%1"] {
        assert_eq!(sender.confirm(Request::message(target, "hello")), code::NOT_REGISTERED, "{target}");
    }
    receiver.expect_nothing();
}

fn wildcards_in_a_target_mean_nothing(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("group.bert");
    for target in ["*", "?", "group.*", "group.?", "?.bert", "#", "+"] {
        assert_eq!(sender.confirm(Request::message(target, "hello")), code::NOT_REGISTERED, "{target}");
    }
    receiver.expect_nothing();
    let mut star = broker.peer("group.*");
    sender.perform(Request::message("group.*", "you alone"));
    star.expect(&Delivery::message("you alone").from("anna"));
    receiver.expect_nothing();
}

fn an_empty_target_is_nobody(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    assert_eq!(sender.confirm(Request::message("", "hello")), code::NOT_REGISTERED);
    sender.expect_nothing();
}

fn an_empty_payload_is_a_message(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.peer("bert");
    broker.peer("anna").perform(Request::message("bert", ""));
    receiver.expect(&Delivery::message("").from("anna"));
}

fn a_payload_may_hold_any_bytes(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.peer("bert");
    let payload: Vec<u8> = (0..=255).chain((0..=255).rev()).chain([0, 0, 0]).collect();
    broker.peer("anna").perform(Request::message("bert", &payload));
    receiver.expect(&Delivery::message(&payload).from("anna"));
}

fn a_realtime_message_says_so_to_its_receiver(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    sender.send(&Request::message("bert", "no"));
    sender.perform(Request::message("bert", "processed"));
    sender.send(&Request::message("bert", "realtime").realtime());
    sender.perform(Request::message("bert", "both").realtime());
    receiver.expect(&Delivery::message("no").from("anna"));
    receiver.expect(&Delivery::message("processed").from("anna"));
    receiver.expect(&Delivery::message("realtime").from("anna").realtime());
    receiver.expect(&Delivery::message("both").from("anna").realtime());
}

fn the_wire_bytes_of_a_message_are_these(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    sender.write(b"\x0D\x0C\x0B\x0A\x52\x07\x00\x00\x00bert\x00hi");
    assert_eq!(sender.read(6), b"\xFE\x0D\x0C\x0B\x0A\x01");
    assert_eq!(receiver.read(13), b"\x12\x07\x00\x00\x00\x00anna\x00hi");
}

fn two_messages_may_come_in_one_write(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    sender.write([Request::message("bert", "one").bytes(), Request::message("bert", "two").bytes()].concat());
    receiver.expect(&Delivery::message("one").from("anna"));
    receiver.expect(&Delivery::message("two").from("anna"));
}

fn two_clients_talk_to_each_other_at_once(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    let mut bert = broker.peer("bert");
    for round in 0..200 {
        let payload = format!("round {round}");
        anna.send(&Request::message("bert", &payload));
        bert.send(&Request::message("anna", &payload));
        bert.expect(&Delivery::message(&payload).from("anna"));
        anna.expect(&Delivery::message(&payload).from("bert"));
    }
}

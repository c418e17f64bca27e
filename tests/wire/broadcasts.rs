//! To every client whose name matches a mask.

use crate::support::{BrokerProcess, Delivery, Request, Setup, WirePeer, promises};

promises! {
    everywhere {
        a_star_alone_reaches_everybody_the_sender_included
        a_broadcast_to_nobody_is_confirmed
        a_mask_without_wildcards_reaches_that_client_alone
        a_mask_without_wildcards_leaves_secondaries_out
        a_star_reaches_secondaries
        a_question_mark_stands_for_exactly_one_part
        a_star_stands_for_one_or_more_trailing_parts
        question_marks_and_stars_combine
        what_follows_a_star_is_ignored
        a_wildcard_inside_a_part_means_nothing
        empty_parts_count
        a_broadcast_comes_once_to_each
        a_broadcast_without_confirmation_reaches_everybody
        a_realtime_broadcast_says_so_to_its_receivers
        a_client_that_has_left_is_not_reached
        the_wire_bytes_of_a_broadcast_are_these
    }
}

/// Broadcasts to the mask from a client that no mask here matches, and says who got it.
fn reached(broker: &BrokerProcess, mask: &str, names: &[&str]) -> Vec<String> {
    let mut sender = broker.successor("sender of.the.broadcast");
    let mut peers: Vec<(&str, WirePeer)> = names.iter().map(|name| (*name, broker.successor(name))).collect();
    sender.perform(Request::broadcast(mask, mask));
    let marker = "the broadcast is over";
    let mut reached = Vec::new();
    for (name, peer) in &mut peers {
        sender.perform(Request::message(name, marker));
        let delivery = peer.receive_delivery();
        if delivery != Delivery::message(marker).from("sender of.the.broadcast") {
            assert_eq!(delivery, Delivery::broadcast(mask).from("sender of.the.broadcast"));
            reached.push((*name).to_owned());
            peer.expect(&Delivery::message(marker).from("sender of.the.broadcast"));
        }
    }
    reached
}

fn a_star_alone_reaches_everybody_the_sender_included(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut others = [broker.peer("bert"), broker.peer("group.carl"), broker.peer("a.b.c.d")];
    sender.send(&Request::broadcast("*", "all"));
    sender.expect(&Delivery::broadcast("all").from("anna"));
    for other in &mut others {
        other.expect(&Delivery::broadcast("all").from("anna"));
    }
}

fn a_broadcast_to_nobody_is_confirmed(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    for mask in ["nobody", "nobody.*", "?.nobody", ""] {
        sender.perform(Request::broadcast(mask, "anyone?"));
    }
    sender.expect_nothing();
}

fn a_mask_without_wildcards_reaches_that_client_alone(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(reached(&broker, "g.a", &["g", "g.a", "g.a.b", "a", "g.ab"]), ["g.a"]);
}

fn a_mask_without_wildcards_leaves_secondaries_out(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(reached(&broker, "g.a", &["g.a", "g.a%%1"]), ["g.a"]);
    assert_eq!(reached(&broker, "h.a%%1", &["h.a", "h.a%%1"]), ["h.a%%1"]);
}

fn a_star_reaches_secondaries(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(reached(&broker, "g.*", &["g.a", "g.a%%1", "h"]), ["g.a", "g.a%%1"]);
}

fn a_question_mark_stands_for_exactly_one_part(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(reached(&broker, "g.?", &["g", "g.a", "g.b", "g.a.b", "h.a"]), ["g.a", "g.b"]);
    assert_eq!(reached(&broker, "?", &["g", "h", "g.a"]), ["g", "h"]);
    assert_eq!(reached(&broker, "?.b", &["a.b", "c.b", "b", "a.b.c", "a.c"]), ["a.b", "c.b"]);
    assert_eq!(reached(&broker, "g.?.c", &["g.a.c", "g.b.c", "g.c", "g.a.b", "g.a.b.c"]), ["g.a.c", "g.b.c"]);
    assert_eq!(reached(&broker, "?.?", &["a", "a.b", "a.b.c"]), ["a.b"]);
}

fn a_star_stands_for_one_or_more_trailing_parts(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(reached(&broker, "g.*", &["g", "g.a", "g.a.b", "g.a.b.c", "h.a", "ga"]), ["g.a", "g.a.b", "g.a.b.c"]);
    assert_eq!(reached(&broker, "g.a.*", &["g.a", "g.a.b", "g.b.a"]), ["g.a.b"]);
}

fn question_marks_and_stars_combine(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(reached(&broker, "?.a.*", &["g.a.b", "h.a.b.c", "g.a", "g.b.a"]), ["g.a.b", "h.a.b.c"]);
    assert_eq!(reached(&broker, "g.?.*", &["g.a.b", "g.a", "g.b.c.d"]), ["g.a.b", "g.b.c.d"]);
}

fn what_follows_a_star_is_ignored(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(reached(&broker, "g.*.b", &["g.a.c", "g.a.b", "g.x", "h.a.b"]), ["g.a.c", "g.a.b", "g.x"]);
}

fn a_wildcard_inside_a_part_means_nothing(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(reached(&broker, "g*", &["g", "ga", "g.a", "g*"]), ["g*"]);
    assert_eq!(reached(&broker, "g.a?", &["g.ab", "g.a", "g.a?"]), ["g.a?"]);
    assert_eq!(reached(&broker, "#", &["g", "#"]), ["#"]);
    assert_eq!(reached(&broker, "+", &["g", "+"]), ["+"]);
}

fn empty_parts_count(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(reached(&broker, "g..a", &["g.a", "g..a"]), ["g..a"]);
    assert_eq!(reached(&broker, "g.?.a", &["g.a", "g..a"]), ["g..a"]);
    assert_eq!(reached(&broker, "g.?", &["g", "g."]), ["g."]);
    assert_eq!(reached(&broker, "g.*", &["g", "g."]), ["g."]);
}

fn a_broadcast_comes_once_to_each(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("g.bert");
    sender.perform(Request::broadcast("g.*", "once"));
    sender.perform(Request::broadcast("g.?", "and again"));
    receiver.expect(&Delivery::broadcast("once").from("anna"));
    receiver.expect(&Delivery::broadcast("and again").from("anna"));
    receiver.expect_nothing();
}

fn a_broadcast_without_confirmation_reaches_everybody(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receivers = [broker.peer("g.bert"), broker.peer("g.carl")];
    sender.send(&Request::broadcast("g.*", "hello"));
    for receiver in &mut receivers {
        receiver.expect(&Delivery::broadcast("hello").from("anna"));
    }
    sender.expect_nothing();
}

fn a_realtime_broadcast_says_so_to_its_receivers(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("g.bert");
    sender.perform(Request::broadcast("g.*", "now").realtime());
    receiver.expect(&Delivery::broadcast("now").from("anna").realtime());
}

fn a_client_that_has_left_is_not_reached(setup: &Setup) {
    let broker = setup.start();
    let mut stays = broker.peer("g.a");
    drop(broker.peer("g.b"));
    broker.wait_until_gone("g.b");
    let mut sender = broker.peer("anna");
    sender.perform(Request::broadcast("g.*", "hello"));
    stays.expect(&Delivery::broadcast("hello").from("anna"));
    // The others of its group are still found after one of them has been taken out.
    sender.perform(Request::broadcast("g.?", "hello"));
    stays.expect(&Delivery::broadcast("hello").from("anna"));
}

fn the_wire_bytes_of_a_broadcast_are_these(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("g.bert");
    sender.write(b"\x02\x00\x00\x00\xD3\x06\x00\x00\x00g.*\x00hi");
    assert_eq!(sender.read(6), b"\xFE\x02\x00\x00\x00\x01");
    assert_eq!(receiver.read(13), b"\x13\x07\x00\x00\x00\x01anna\x00hi");
}

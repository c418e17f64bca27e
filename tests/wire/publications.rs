//! From one client to all that asked for a topic.

use crate::support::{Delivery, Request, Setup, promises};

promises! {
    everywhere {
        a_publication_reaches_every_subscriber_and_nobody_else
        a_publication_to_nobody_is_confirmed
        a_publication_without_confirmation_reaches_its_subscribers
        overlapping_patterns_bring_one_copy
        a_publisher_that_subscribed_gets_its_own_copy_before_the_confirmation
        a_publisher_that_did_not_subscribe_gets_none
        an_empty_payload_is_a_publication
        a_payload_may_hold_any_bytes
        a_realtime_publication_says_so_to_its_receivers
        the_wire_bytes_of_a_publication_are_these
        a_publication_for_one_receiver_reaches_it_alone
        a_publication_for_one_receiver_reaches_its_subscribed_secondaries
        a_publication_for_a_receiver_that_did_not_subscribe_is_dropped
        a_publication_for_nobody_is_confirmed
        a_publication_for_a_secondary_reaches_nobody
        a_publication_for_oneself_arrives
        wildcards_in_a_receiver_mean_nothing
        the_wire_bytes_of_a_publication_for_one_receiver_are_these
    }
}

fn a_publication_reaches_every_subscriber_and_nobody_else(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscribers = [broker.subscriber("bert", &["light"]), broker.subscriber("carl", &["light"])];
    let mut others = [broker.subscriber("dora", &["dark"]), broker.peer("emil")];
    publisher.perform(Request::publish("light", "on"));
    for subscriber in &mut subscribers {
        subscriber.expect(&Delivery::publication("light", "on").from("anna"));
        subscriber.expect_nothing();
    }
    for other in &mut others {
        other.expect_nothing();
    }
}

fn a_publication_to_nobody_is_confirmed(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    publisher.perform(Request::publish("light", "on"));
    publisher.perform(Request::publish("", ""));
    publisher.expect_nothing();
}

fn a_publication_without_confirmation_reaches_its_subscribers(setup: &Setup) {
    let broker = setup.start();
    let mut subscriber = broker.subscriber("bert", &["light"]);
    let mut publisher = broker.peer("anna");
    publisher.send(&Request::publish("light", "on"));
    subscriber.expect(&Delivery::publication("light", "on").from("anna"));
    publisher.expect_nothing();
}

fn overlapping_patterns_bring_one_copy(setup: &Setup) {
    let broker = setup.start();
    // Registered first: everything includes the announcements of who comes and goes.
    let mut publisher = broker.peer("anna");
    let patterns = ["#", "light/#", "light/+", "+/level", "light/level", "+/+", "+/#", "light/#/ignored"];
    let mut subscriber = broker.subscriber("bert", &patterns);
    publisher.perform(Request::publish("light/level", "87"));
    subscriber.expect(&Delivery::publication("light/level", "87").from("anna"));
    subscriber.expect_nothing();
}

fn a_publisher_that_subscribed_gets_its_own_copy_before_the_confirmation(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.subscriber("anna", &["light"]);
    publisher.send(&Request::publish("light", "on").confirmed().op_id(9));
    publisher.expect(&Delivery::publication("light", "on").from("anna"));
    publisher.expect_confirmation(9, 0x01);
}

fn a_publisher_that_did_not_subscribe_gets_none(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.subscriber("bert", &["light"]);
    publisher.perform(Request::publish("light", "on"));
    publisher.expect_nothing();
    subscriber.expect(&Delivery::publication("light", "on").from("anna"));
}

fn an_empty_payload_is_a_publication(setup: &Setup) {
    let broker = setup.start();
    let mut subscriber = broker.subscriber("bert", &["light"]);
    broker.peer("anna").perform(Request::publish("light", ""));
    subscriber.expect(&Delivery::publication("light", "").from("anna"));
}

fn a_payload_may_hold_any_bytes(setup: &Setup) {
    let broker = setup.start();
    let mut subscriber = broker.subscriber("bert", &["light"]);
    let payload: Vec<u8> = [0, 0, 0xFF, 0].into_iter().chain(0..=255).collect();
    broker.peer("anna").perform(Request::publish("light", &payload));
    subscriber.expect(&Delivery::publication("light", &payload).from("anna"));
}

fn a_realtime_publication_says_so_to_its_receivers(setup: &Setup) {
    let broker = setup.start();
    let mut subscriber = broker.subscriber("bert", &["light"]);
    let mut publisher = broker.peer("anna");
    publisher.send(&Request::publish("light", "no"));
    publisher.send(&Request::publish("light", "realtime").realtime());
    publisher.perform(Request::publish("light", "processed"));
    publisher.perform(Request::publish("light", "both").realtime());
    subscriber.expect(&Delivery::publication("light", "no").from("anna"));
    subscriber.expect(&Delivery::publication("light", "realtime").from("anna").realtime());
    subscriber.expect(&Delivery::publication("light", "processed").from("anna"));
    subscriber.expect(&Delivery::publication("light", "both").from("anna").realtime());
}

fn the_wire_bytes_of_a_publication_are_these(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.peer("bert");
    subscriber.write(b"\x01\x00\x00\x00\x42\x01\x00\x00\x00t");
    assert_eq!(subscriber.read(6), b"\xFE\x01\x00\x00\x00\x01");
    publisher.write(b"\xFF\xFF\xFF\xFF\x41\x04\x00\x00\x00t\x00hi");
    assert_eq!(publisher.read(6), b"\xFE\xFF\xFF\xFF\xFF\x01");
    assert_eq!(subscriber.read(15), b"\x01\x09\x00\x00\x00\x00anna\x00t\x00hi");
}

fn a_publication_for_one_receiver_reaches_it_alone(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.subscriber("anna", &["light"]);
    let mut receiver = broker.subscriber("bert", &["light"]);
    let mut other = broker.subscriber("carl", &["light"]);
    publisher.perform(Request::publish("light", "for you").only_for("bert"));
    receiver.expect(&Delivery::publication("light", "for you").from("anna"));
    receiver.expect_nothing();
    other.expect_nothing();
    publisher.expect_nothing();
}

fn a_publication_for_one_receiver_reaches_its_subscribed_secondaries(setup: &Setup) {
    let broker = setup.start();
    let mut primary = broker.subscriber("bert", &["light"]);
    let mut subscribed = broker.subscriber("bert%%1", &["+"]);
    let mut indifferent = broker.peer("bert%%2");
    let mut publisher = broker.peer("anna");
    publisher.perform(Request::publish("light", "for you").only_for("bert"));
    primary.expect(&Delivery::publication("light", "for you").from("anna"));
    indifferent.expect_nothing();
    subscribed.expect(&Delivery::publication("light", "for you").from("anna"));
}

fn a_publication_for_a_receiver_that_did_not_subscribe_is_dropped(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.subscriber("bert", &["dark"]);
    broker.peer("anna").perform(Request::publish("light", "for you").only_for("bert"));
    receiver.expect_nothing();
}

fn a_publication_for_nobody_is_confirmed(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.subscriber("anna", &["light"]);
    publisher.perform(Request::publish("light", "for whom?").only_for("nobody"));
    publisher.perform(Request::publish("light", "for whom?").only_for(""));
    publisher.expect_nothing();
}

fn a_publication_for_a_secondary_reaches_nobody(setup: &Setup) {
    let broker = setup.start();
    let mut primary = broker.subscriber("bert", &["light"]);
    let mut secondary = broker.subscriber("bert%%1", &["light"]);
    broker.peer("anna").perform(Request::publish("light", "for you").only_for("bert%%1"));
    primary.expect_nothing();
    secondary.expect_nothing();
}

fn a_publication_for_oneself_arrives(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.subscriber("anna", &["light"]);
    publisher.send(&Request::publish("light", "for me").only_for("anna"));
    publisher.expect(&Delivery::publication("light", "for me").from("anna"));
}

fn wildcards_in_a_receiver_mean_nothing(setup: &Setup) {
    let broker = setup.start();
    let mut subscriber = broker.subscriber("bert", &["light"]);
    let mut publisher = broker.peer("anna");
    for receiver in ["*", "?", "#", "+"] {
        publisher.perform(Request::publish("light", "for you").only_for(receiver));
    }
    subscriber.expect_nothing();
}

fn the_wire_bytes_of_a_publication_for_one_receiver_are_these(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.subscriber("bert", &["t"]);
    publisher.write(b"\x05\x00\x00\x00\xC6\x09\x00\x00\x00t\x00bert\x00hi");
    assert_eq!(publisher.read(6), b"\xFE\x05\x00\x00\x00\x01");
    // The receiver sees an ordinary publication.
    assert_eq!(subscriber.read(15), b"\x01\x09\x00\x00\x00\x01anna\x00t\x00hi");
}

//! How much a client may ask of the broker. Deployed brokers have no such limits; ours has, and says when one is met.

use std::thread;
use std::time::Duration;

use crate::support::{Delivery, Frame, Request, Setup, WirePeer, code, promises};

promises! {
    everywhere {
        a_topic_of_1024_bytes_is_a_topic
        a_topic_of_128_levels_is_a_topic
        subscribing_to_the_same_topics_over_and_over_is_no_abuse
        a_client_beyond_nobodys_limit_is_welcome
    }
    busway_only {
        "the reference has no limit on topics": a_topic_of_1025_bytes_is_refused_with_72
        "the reference has no limit on topics": a_topic_of_129_levels_is_refused_with_72
        "the reference has no limit on topics": a_refused_topic_that_wants_no_confirmation_is_dropped_in_silence
        "the reference has no limit on masks": a_mask_or_target_of_1025_bytes_is_refused_with_72
        "the reference has no limit on subscriptions": too_many_subscriptions_are_refused_with_72
        "the reference has no limit on subscriptions": a_list_of_millions_is_refused_with_72_and_holds_nobody_up
        "the reference has no limit on clients": a_client_too_many_is_refused_with_76_until_another_leaves
        "the reference sets aside what a length announces, and ends when the system has no more": announced_lengths_cost_no_memory
        "the reference bounds queues in frames alone": a_queue_is_bounded_in_bytes_too
        "the reference bounds queues in frames alone": an_empty_queue_takes_a_payload_beyond_its_bound
    }
    reference_only {
        the_reference_takes_topics_of_any_length
    }
}

fn a_topic_of_1024_bytes_is_a_topic(setup: &Setup) {
    expect_topic(setup, &"t".repeat(1_024));
}

fn a_topic_of_128_levels_is_a_topic(setup: &Setup) {
    expect_topic(setup, &vec!["t"; 128].join("/"));
}

fn the_reference_takes_topics_of_any_length(setup: &Setup) {
    expect_topic(setup, &"t".repeat(100_000));
}

fn expect_topic(setup: &Setup, topic: &str) {
    let broker = setup.start();
    let mut subscriber = broker.subscriber("bert", &[topic]);
    let mut publisher = broker.peer("anna");
    publisher.perform(Request::publish(topic, "on"));
    publisher.perform(Request::publish(topic, "for you").only_for("bert"));
    subscriber.expect(&Delivery::publication(topic, "on").from("anna"));
    subscriber.expect(&Delivery::publication(topic, "for you").from("anna"));
    subscriber.perform(Request::exclude(&[topic]));
    subscriber.perform(Request::unexclude(&[topic]));
    subscriber.perform(Request::unsubscribe(&[topic]));
}

fn a_topic_of_1025_bytes_is_refused_with_72(setup: &Setup) {
    expect_refused_topic(setup, &"t".repeat(1_025));
}

fn a_topic_of_129_levels_is_refused_with_72(setup: &Setup) {
    expect_refused_topic(setup, &vec!["t"; 129].join("/"));
    expect_refused_topic(setup, &"/".repeat(128));
}

fn expect_refused_topic(setup: &Setup, topic: &str) {
    let broker = setup.start();
    let mut witness = broker.subscriber("witness", &["#"]);
    let mut peer = broker.peer("witness%%1");
    let requests = [
        Request::publish(topic, "on"),
        Request::publish(topic, "on").only_for("witness"),
        Request::subscribe(&[topic]),
        Request::exclude(&[topic]),
    ];
    for request in requests {
        assert_eq!(peer.confirm(request), code::DATA);
    }
    witness.expect_nothing();
    expect_still_connected(&mut peer);
}

fn a_refused_topic_that_wants_no_confirmation_is_dropped_in_silence(setup: &Setup) {
    let broker = setup.start();
    let mut witness = broker.subscriber("witness", &["#"]);
    let mut peer = broker.peer("witness%%1");
    let topic = "t".repeat(1_025);
    peer.send(&Request::subscribe(&[&topic]));
    peer.send(&Request::publish(&topic, "on"));
    expect_still_connected(&mut peer);
    witness.expect(&Delivery::publication("light", "on").from("witness%%1"));
}

fn a_mask_or_target_of_1025_bytes_is_refused_with_72(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let long = "n".repeat(1_025);
    assert_eq!(peer.confirm(Request::message(&long, "hello")), code::DATA);
    assert_eq!(peer.confirm(Request::broadcast(&long, "hello")), code::DATA);
    assert_eq!(peer.confirm(Request::broadcast(&vec!["?"; 129].join("."), "hello")), code::DATA);
    expect_still_connected(&mut peer);
}

fn expect_still_connected(peer: &mut WirePeer) {
    peer.expect_nothing();
    peer.perform(Request::publish("light", "on"));
}

fn too_many_subscriptions_are_refused_with_72(setup: &Setup) {
    const LIMIT: usize = 65_536;
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.peer("bert");
    let topics: Vec<String> = (0..LIMIT + 64).map(|number| format!("sensor/{number}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let (allowed, excessive) = topics.split_at(LIMIT - 64);
    for some in allowed.chunks(1_000) {
        subscriber.perform(Request::subscribe(some));
    }
    // What everybody is subscribed to from the start may count or not: the limit is not tried to the last one.
    let refused = excessive.iter().filter(|topic| subscriber.confirm(Request::subscribe(&[topic])) == code::DATA);
    assert!(refused.count() >= 64, "the limit holds");
    for topic in [topics[0], topics[LIMIT / 2]] {
        publisher.perform(Request::publish(topic, "on"));
        subscriber.expect(&Delivery::publication(topic, "on").from("anna"));
    }
    // Room that was given up can be used again.
    subscriber.perform(Request::unsubscribe(&topics[..100]));
    subscriber.perform(Request::subscribe(&["another"]));
}

fn a_list_of_millions_is_refused_with_72_and_holds_nobody_up(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.subscriber("anna", &["light"]);
    let many = vec!["t"; 10 << 20];
    for list in [Request::subscribe(&many), Request::exclude(&many), Request::unsubscribe(&many)] {
        assert_eq!(peer.confirm(list), code::DATA);
    }
    // What the limit allows of it was done.
    peer.perform(Request::unexclude(&["t"]));
    let mut publisher = broker.peer("bert");
    publisher.perform(Request::publish("light", "on"));
    peer.expect(&Delivery::publication("light", "on").from("bert"));
}

fn subscribing_to_the_same_topics_over_and_over_is_no_abuse(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let topics = ["light", "dark/+", "heat/#", ""].repeat(1_000);
    for _ in 0..20 {
        peer.perform(Request::subscribe(&topics));
    }
}

fn a_client_too_many_is_refused_with_76_until_another_leaves(setup: &Setup) {
    let broker = setup.start_with(&["--max-clients", "3"]);
    // The connections that saw the broker accept may still count for a moment.
    let mut peers = ["anna", "bert", "carl"].map(|name| broker.successor(name));
    assert_eq!(broker.refusal("dora"), code::BUSY);
    let [anna, others @ ..] = &mut peers;
    for peer in others {
        peer.expect_nothing();
    }
    anna.finish_writing();
    anna.expect_closed();
    broker.successor("dora").expect_nothing();
}

fn a_client_beyond_nobodys_limit_is_welcome(setup: &Setup) {
    let broker = setup.start();
    let mut peers: Vec<WirePeer> = (0..200).map(|number| broker.peer(&format!("peer {number}"))).collect();
    for peer in &mut peers {
        peer.expect_nothing();
    }
}

fn announced_lengths_cost_no_memory(setup: &Setup) {
    const CLIENTS: usize = 100;
    const ANNOUNCED: u32 = 250 << 20;
    let broker = setup.start();
    let mut peers: Vec<WirePeer> = (0..CLIENTS).map(|number| broker.peer(&format!("boaster {number}"))).collect();
    for peer in &mut peers {
        peer.expect_nothing();
    }
    let before = broker.resident_bytes();
    let expect_no_growth = || {
        let grown = broker.resident_bytes().saturating_sub(before);
        assert!(grown < 50 << 20, "the broker grew by {} KiB", grown >> 10);
    };
    for peer in &mut peers {
        let mut bytes = Request::message("nobody", "1234567890").bytes();
        bytes[5..9].copy_from_slice(&ANNOUNCED.to_le_bytes());
        bytes.truncate(9 + 10);
        peer.write(bytes);
        // Looked at each time, so that a broker which believes in lengths is stopped before the machine is out of memory.
        thread::sleep(Duration::from_millis(10));
        expect_no_growth();
    }
    // The broker says nothing about half a frame, so there is nothing to wait for but time.
    thread::sleep(Duration::from_millis(500));
    broker.expect_service();
    expect_no_growth();
    drop(peers);
    broker.expect_service();
}

fn a_queue_is_bounded_in_bytes_too(setup: &Setup) {
    let broker = setup.start_with(&["--queue-bytes", "1048576"]);
    let mut sender = broker.peer("anna");
    let mut stalled = broker.peer("stalled");
    // 64 MiB are more than any socket buffer holds, and a thousand frames far fewer than the queue may.
    let refused = (0..1_024).any(|_| {
        sender.send(&Request::message("stalled", vec![0; 64 << 10]).confirmed().op_id(1));
        loop {
            match sender.receive() {
                Frame::Confirmation { code, .. } => break code == code::NOT_DELIVERED,
                // The broker tells everybody whom it has cut.
                Frame::Delivery(delivery) => assert_eq!(delivery.topic, ".broker/warn"),
            }
        }
    });
    assert!(refused, "the queue took everything");
    assert!(stalled.drain() < 64 << 20);
}

fn an_empty_queue_takes_a_payload_beyond_its_bound(setup: &Setup) {
    let broker = setup.start_with(&["--queue-bytes", "65536"]);
    let mut receiver = broker.peer("bert");
    let mut sender = broker.peer("anna");
    let payload = vec![7; 16 << 20];
    sender.perform(Request::message("bert", &payload));
    receiver.expect(&Delivery::message(&payload).from("anna"));
}

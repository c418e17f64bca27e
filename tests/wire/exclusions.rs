//! Topics that a client does not want, whatever it subscribed to.

use crate::support::{Delivery, Request, Setup, WirePeer, operation, promises};

promises! {
    everywhere {
        an_excluded_topic_does_not_arrive_although_it_is_subscribed
        an_exclusion_holds_before_the_subscription_too
        an_exclusion_may_be_a_pattern
        unexcluding_gives_the_topic_back
        unexcluding_does_not_subscribe
        unexcluding_takes_the_same_words_as_excluding
        one_of_two_exclusions_that_match_is_enough
        an_exclusion_concerns_the_one_client_alone
        an_exclusion_concerns_publications_alone
        an_exclusion_holds_for_publications_for_one_receiver
        an_exclusion_holds_for_the_publisher_itself
        one_request_may_exclude_and_unexclude_many_topics
        empty_exclusions_are_confirmed_and_mean_the_empty_topic
        the_announcements_of_the_broker_can_be_excluded
        exclusions_end_with_the_client
    }
}

/// Publishes each topic and says which arrive.
fn arriving(publisher: &mut WirePeer, subscriber: &mut WirePeer, topics: &[&str]) -> Vec<String> {
    for topic in topics {
        publisher.perform(Request::publish(topic, ""));
    }
    publisher.perform(Request::message("subscriber", "that was all"));
    let mut arrived = Vec::new();
    loop {
        let delivery = subscriber.receive_delivery();
        if delivery == Delivery::message("that was all").from("publisher") {
            return arrived;
        }
        arrived.push(delivery.topic);
    }
}

fn an_excluded_topic_does_not_arrive_although_it_is_subscribed(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    for pattern in ["light/level", "light/#", "light/+", "#"] {
        let mut subscriber = broker.successor("subscriber");
        subscriber.perform(Request::subscribe(&[pattern]));
        subscriber.perform(Request::exclude(&["light/level"]));
        assert_eq!(arriving(&mut publisher, &mut subscriber, &["light/level"]), [""; 0], "{pattern}");
    }
}

fn an_exclusion_holds_before_the_subscription_too(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    let mut subscriber = broker.peer("subscriber");
    subscriber.perform(Request::exclude(&["light/level"]));
    subscriber.perform(Request::subscribe(&["light/level", "light/#"]));
    assert_eq!(arriving(&mut publisher, &mut subscriber, &["light/level", "light/x"]), ["light/x"]);
}

fn an_exclusion_may_be_a_pattern(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    for (exclusion, left) in [
        ("a/+", &["a", "a/b/c", "x/b", "x"][..]),
        ("a/#", &["a", "x/b", "x"]),
        ("+/b", &["a", "a/b/c", "x"]),
        ("+", &["a/b", "a/b/c", "x/b"]),
        ("#", &[]),
    ] {
        let mut subscriber = broker.successor("subscriber");
        subscriber.perform(Request::subscribe(&["a", "a/#", "x", "x/#"]));
        subscriber.perform(Request::exclude(&[exclusion]));
        let arrived = arriving(&mut publisher, &mut subscriber, &["a", "a/b", "a/b/c", "x/b", "x"]);
        assert_eq!(arrived, left, "without {exclusion}");
    }
}

fn unexcluding_gives_the_topic_back(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    let mut subscriber = broker.subscriber("subscriber", &["light/#"]);
    for exclusion in ["light/level", "light/+", "light/#", "#"] {
        subscriber.perform(Request::exclude(&[exclusion]));
        assert_eq!(arriving(&mut publisher, &mut subscriber, &["light/level"]), [""; 0], "{exclusion}");
        subscriber.perform(Request::unexclude(&[exclusion]));
        assert_eq!(arriving(&mut publisher, &mut subscriber, &["light/level"]), ["light/level"], "{exclusion}");
    }
}

fn unexcluding_does_not_subscribe(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    let mut subscriber = broker.peer("subscriber");
    subscriber.perform(Request::unexclude(&["light"]));
    subscriber.perform(Request::exclude(&["dark"]));
    subscriber.perform(Request::unexclude(&["dark"]));
    assert_eq!(arriving(&mut publisher, &mut subscriber, &["light", "dark"]), [""; 0]);
}

fn unexcluding_takes_the_same_words_as_excluding(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    let mut subscriber = broker.subscriber("subscriber", &["light/#"]);
    subscriber.perform(Request::exclude(&["light/+"]));
    subscriber.perform(Request::unexclude(&["light/level", "light/#", "#"]));
    assert_eq!(arriving(&mut publisher, &mut subscriber, &["light/level"]), [""; 0]);
}

fn one_of_two_exclusions_that_match_is_enough(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    let mut subscriber = broker.subscriber("subscriber", &["light/#"]);
    subscriber.perform(Request::exclude(&["light/level", "light/+"]));
    subscriber.perform(Request::unexclude(&["light/level"]));
    assert_eq!(arriving(&mut publisher, &mut subscriber, &["light/level"]), [""; 0]);
    subscriber.perform(Request::unexclude(&["light/+"]));
    assert_eq!(arriving(&mut publisher, &mut subscriber, &["light/level"]), ["light/level"]);
}

fn an_exclusion_concerns_the_one_client_alone(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    let mut excluding = broker.subscriber("bert", &["light"]);
    let mut other = broker.subscriber("carl", &["light"]);
    let mut secondary = broker.subscriber("bert%%1", &["light"]);
    excluding.perform(Request::exclude(&["light"]));
    publisher.perform(Request::publish("light", "on"));
    excluding.expect_nothing();
    other.expect(&Delivery::publication("light", "on").from("publisher"));
    secondary.expect(&Delivery::publication("light", "on").from("publisher"));
}

fn an_exclusion_concerns_publications_alone(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    receiver.perform(Request::exclude(&["#", "bert"]));
    sender.perform(Request::message("bert", "message"));
    sender.perform(Request::broadcast("bert", "broadcast"));
    receiver.expect(&Delivery::message("message").from("anna"));
    receiver.expect(&Delivery::broadcast("broadcast").from("anna"));
}

fn an_exclusion_holds_for_publications_for_one_receiver(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.subscriber("bert", &["light"]);
    subscriber.perform(Request::exclude(&["light"]));
    publisher.perform(Request::publish("light", "for you").only_for("bert"));
    subscriber.expect_nothing();
}

fn an_exclusion_holds_for_the_publisher_itself(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.subscriber("anna", &["light"]);
    publisher.perform(Request::exclude(&["light"]));
    publisher.perform(Request::publish("light", "on"));
    publisher.expect_nothing();
}

fn one_request_may_exclude_and_unexclude_many_topics(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    let mut subscriber = broker.subscriber("subscriber", &["a", "b", "c", "d"]);
    subscriber.perform(Request::exclude(&["a", "b", "c"]));
    assert_eq!(arriving(&mut publisher, &mut subscriber, &["a", "b", "c", "d"]), ["d"]);
    subscriber.perform(Request::unexclude(&["a", "c"]));
    assert_eq!(arriving(&mut publisher, &mut subscriber, &["a", "b", "c", "d"]), ["a", "c", "d"]);
}

fn empty_exclusions_are_confirmed_and_mean_the_empty_topic(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    let mut subscriber = broker.subscriber("subscriber", &["", "a"]);
    subscriber.perform(Request::raw(operation::EXCLUDE, b""));
    assert_eq!(arriving(&mut publisher, &mut subscriber, &["", "a"]), ["a"]);
    subscriber.perform(Request::raw(operation::UNEXCLUDE, b""));
    assert_eq!(arriving(&mut publisher, &mut subscriber, &["", "a"]), ["", "a"]);
}

fn the_announcements_of_the_broker_can_be_excluded(setup: &Setup) {
    let broker = setup.start();
    let mut subscriber = broker.subscriber("subscriber", &["#"]);
    subscriber.perform(Request::exclude(&[".broker/#"]));
    let mut publisher = broker.peer("publisher");
    assert_eq!(arriving(&mut publisher, &mut subscriber, &["light", ".broker/info"]), ["light"]);
}

fn exclusions_end_with_the_client(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    broker.peer("subscriber").perform(Request::exclude(&["light"]));
    let mut successor = broker.successor("subscriber");
    successor.perform(Request::subscribe(&["light"]));
    assert_eq!(arriving(&mut publisher, &mut successor, &["light"]), ["light"]);
}

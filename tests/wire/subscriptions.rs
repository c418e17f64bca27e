//! Asking for topics, and no longer asking for them.

use crate::support::{Delivery, Request, Setup, code, operation, promises};

promises! {
    everywhere {
        a_subscription_holds_from_its_confirmation_on
        a_subscription_without_confirmation_holds_for_what_the_same_client_does_next
        one_request_may_subscribe_to_many_topics
        one_request_may_unsubscribe_from_many_topics
        the_same_subscription_twice_brings_one_copy_and_ends_at_once
        an_unsubscribed_topic_no_longer_arrives
        unsubscribing_from_what_was_never_subscribed_is_confirmed
        unsubscribing_from_a_topic_leaves_the_patterns_that_match_it
        unsubscribing_from_a_pattern_leaves_the_topics_it_matches
        unsubscribing_concerns_the_one_client_alone
        an_empty_subscription_is_confirmed_and_means_the_empty_topic
        an_empty_unsubscription_is_confirmed
        a_trailing_nul_adds_the_empty_topic
        nuls_alone_are_empty_topics
        subscriptions_end_with_the_client
        a_topic_can_be_subscribed_again
        everybody_is_subscribed_to_the_warnings_of_the_broker
        the_warnings_of_the_broker_can_be_unsubscribed
        ten_thousand_subscriptions_of_one_client_work
    }
}

fn a_subscription_holds_from_its_confirmation_on(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.peer("bert");
    publisher.perform(Request::publish("light", "before"));
    subscriber.perform(Request::subscribe(&["light"]));
    publisher.perform(Request::publish("light", "after"));
    subscriber.expect(&Delivery::publication("light", "after").from("anna"));
    subscriber.expect_nothing();
}

fn a_subscription_without_confirmation_holds_for_what_the_same_client_does_next(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    peer.send(&Request::subscribe(&["light"]));
    peer.send(&Request::publish("light", "on"));
    peer.send(&Request::unsubscribe(&["light"]));
    peer.send(&Request::publish("light", "off"));
    peer.expect(&Delivery::publication("light", "on").from("anna"));
    peer.expect_nothing();
}

fn one_request_may_subscribe_to_many_topics(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.subscriber("bert", &["light", "dark/+", "heat/#"]);
    for topic in ["light", "dark/matter", "heat/death/of", "other"] {
        publisher.perform(Request::publish(topic, topic));
    }
    for topic in ["light", "dark/matter", "heat/death/of"] {
        subscriber.expect(&Delivery::publication(topic, topic).from("anna"));
    }
    subscriber.expect_nothing();
}

fn one_request_may_unsubscribe_from_many_topics(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.subscriber("bert", &["light", "dark/+", "heat/#"]);
    subscriber.perform(Request::unsubscribe(&["light", "heat/#"]));
    for topic in ["light", "dark/matter", "heat/death/of"] {
        publisher.perform(Request::publish(topic, topic));
    }
    subscriber.expect(&Delivery::publication("dark/matter", "dark/matter").from("anna"));
    subscriber.expect_nothing();
}

fn the_same_subscription_twice_brings_one_copy_and_ends_at_once(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.subscriber("bert", &["light", "light"]);
    subscriber.perform(Request::subscribe(&["light"]));
    publisher.perform(Request::publish("light", "on"));
    subscriber.expect(&Delivery::publication("light", "on").from("anna"));
    subscriber.expect_nothing();
    subscriber.perform(Request::unsubscribe(&["light"]));
    publisher.perform(Request::publish("light", "off"));
    subscriber.expect_nothing();
}

fn an_unsubscribed_topic_no_longer_arrives(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    for pattern in ["light/level", "light/+", "light/#", "+/level"] {
        let mut subscriber = broker.successor("bert");
        subscriber.perform(Request::subscribe(&[pattern]));
        publisher.perform(Request::publish("light/level", "87"));
        subscriber.expect(&Delivery::publication("light/level", "87").from("anna"));
        subscriber.perform(Request::unsubscribe(&[pattern]));
        publisher.perform(Request::publish("light/level", "88"));
        subscriber.expect_nothing();
    }
}

fn unsubscribing_from_what_was_never_subscribed_is_confirmed(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.subscriber("anna", &["light"]);
    peer.perform(Request::unsubscribe(&["dark", "light/#", "#", "+"]));
    peer.send(&Request::publish("light", "on"));
    peer.expect(&Delivery::publication("light", "on").from("anna"));
}

fn unsubscribing_from_a_topic_leaves_the_patterns_that_match_it(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.subscriber("bert", &["light/#", "light/level"]);
    subscriber.perform(Request::unsubscribe(&["light/level"]));
    publisher.perform(Request::publish("light/level", "87"));
    subscriber.expect(&Delivery::publication("light/level", "87").from("anna"));
}

fn unsubscribing_from_a_pattern_leaves_the_topics_it_matches(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.subscriber("bert", &["light/#", "light/level", "light/+"]);
    subscriber.perform(Request::unsubscribe(&["light/#", "light/+"]));
    publisher.perform(Request::publish("light/level", "87"));
    publisher.perform(Request::publish("light/colour", "red"));
    subscriber.expect(&Delivery::publication("light/level", "87").from("anna"));
    subscriber.expect_nothing();
}

fn unsubscribing_concerns_the_one_client_alone(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut leaves = broker.subscriber("bert", &["light"]);
    let mut stays = broker.subscriber("carl", &["light"]);
    leaves.perform(Request::unsubscribe(&["light"]));
    publisher.perform(Request::publish("light", "on"));
    leaves.expect_nothing();
    stays.expect(&Delivery::publication("light", "on").from("anna"));
}

fn an_empty_subscription_is_confirmed_and_means_the_empty_topic(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.peer("bert");
    assert_eq!(subscriber.confirm(Request::raw(operation::SUBSCRIBE, b"")), code::OK);
    publisher.perform(Request::publish("light", "on"));
    publisher.perform(Request::publish("", "nothing"));
    subscriber.expect(&Delivery::publication("", "nothing").from("anna"));
    subscriber.expect_nothing();
}

fn an_empty_unsubscription_is_confirmed(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.subscriber("bert", &["", "light"]);
    assert_eq!(subscriber.confirm(Request::raw(operation::UNSUBSCRIBE, b"")), code::OK);
    publisher.perform(Request::publish("", "nothing"));
    publisher.perform(Request::publish("light", "on"));
    subscriber.expect(&Delivery::publication("light", "on").from("anna"));
}

fn a_trailing_nul_adds_the_empty_topic(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.peer("bert");
    subscriber.perform(Request::raw(operation::SUBSCRIBE, b"light\0"));
    publisher.perform(Request::publish("light", "on"));
    publisher.perform(Request::publish("", "nothing"));
    subscriber.expect(&Delivery::publication("light", "on").from("anna"));
    subscriber.expect(&Delivery::publication("", "nothing").from("anna"));
}

fn nuls_alone_are_empty_topics(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    peer.perform(Request::raw(operation::SUBSCRIBE, b"\0\0\0"));
    peer.send(&Request::publish("", "nothing"));
    peer.expect(&Delivery::publication("", "nothing").from("anna"));
    peer.expect_nothing();
}

fn subscriptions_end_with_the_client(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    drop(broker.subscriber("bert", &["light", "dark/#"]));
    let mut successor = broker.successor("bert");
    publisher.perform(Request::publish("light", "on"));
    publisher.perform(Request::publish("dark/matter", "somewhere"));
    successor.expect_nothing();
}

fn a_topic_can_be_subscribed_again(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.subscriber("bert", &["light"]);
    for round in 0..20 {
        subscriber.perform(Request::unsubscribe(&["light"]));
        publisher.perform(Request::publish("light", "unheard"));
        subscriber.perform(Request::subscribe(&["light"]));
        let payload = format!("round {round}");
        publisher.perform(Request::publish("light", &payload));
        subscriber.expect(&Delivery::publication("light", &payload).from("anna"));
    }
}

fn everybody_is_subscribed_to_the_warnings_of_the_broker(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let _primary = broker.peer("bert");
    let mut secondary = broker.peer("bert%%1");
    peer.send(&Request::publish(".broker/warn", "drill"));
    peer.expect(&Delivery::publication(".broker/warn", "drill").from("anna"));
    secondary.expect(&Delivery::publication(".broker/warn", "drill").from("anna"));
}

fn the_warnings_of_the_broker_can_be_unsubscribed(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    peer.perform(Request::unsubscribe(&[".broker/warn"]));
    peer.perform(Request::publish(".broker/warn", "drill"));
    peer.expect_nothing();
}

fn ten_thousand_subscriptions_of_one_client_work(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.peer("bert");
    let topics: Vec<String> = (0..10_000).map(|number| format!("sensor/{}/{number}", number % 97)).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    subscriber.perform(Request::subscribe(&topics));
    for topic in [topics[0], topics[5_000], topics[9_999]] {
        publisher.perform(Request::publish(topic, "found"));
        subscriber.expect(&Delivery::publication(topic, "found").from("anna"));
    }
    subscriber.perform(Request::unsubscribe(&topics));
    publisher.perform(Request::publish(topics[5_000], "lost"));
    subscriber.expect_nothing();
}

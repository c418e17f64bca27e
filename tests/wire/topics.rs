//! Which topics a subscription matches.

use crate::support::{Delivery, Request, Setup, WirePeer, promises};

promises! {
    everywhere {
        a_topic_without_wildcards_matches_itself_alone
        a_plus_stands_for_exactly_one_level
        a_hash_stands_for_one_or_more_trailing_levels
        plus_and_hash_combine
        what_follows_a_hash_is_ignored
        empty_levels_count
        the_empty_topic_is_a_topic_of_one_empty_level
        a_wildcard_inside_a_level_means_nothing
        wildcards_of_broadcasts_mean_nothing_in_topics
        a_plus_in_a_published_topic_is_taken_literally
        a_hash_in_a_published_topic_is_taken_literally
        topics_may_hold_anything_that_is_utf8
        topics_differ_by_case
        patterns_of_many_clients_are_told_apart
        patterns_of_one_client_add_up
    }
}

/// Which of these topics reach a client that subscribed to the pattern.
fn matched(setup: &Setup, pattern: &str, topics: &[&str]) -> Vec<String> {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    let mut subscriber = broker.subscriber("subscriber", &[pattern]);
    matched_by(&mut subscriber, &mut publisher, topics)
}

fn matched_by(subscriber: &mut WirePeer, publisher: &mut WirePeer, topics: &[&str]) -> Vec<String> {
    for topic in topics {
        publisher.perform(Request::publish(topic, topic));
    }
    publisher.perform(Request::message("subscriber", "that was all"));
    let mut matched = Vec::new();
    loop {
        let delivery = subscriber.receive_delivery();
        if delivery == Delivery::message("that was all").from("publisher") {
            return matched;
        }
        assert_eq!(delivery, Delivery::publication(&delivery.topic, &delivery.topic).from("publisher"));
        matched.push(delivery.topic);
    }
}

fn a_topic_without_wildcards_matches_itself_alone(setup: &Setup) {
    assert_eq!(matched(setup, "a/b", &["a", "a/b", "a/b/c", "b", "a/c", "/a/b", "a/b/"]), ["a/b"]);
    assert_eq!(matched(setup, "a", &["a", "a/b", "b", "a/"]), ["a"]);
}

fn a_plus_stands_for_exactly_one_level(setup: &Setup) {
    assert_eq!(matched(setup, "a/+", &["a", "a/b", "a/", "a/b/c", "b/a", "a//"]), ["a/b", "a/"]);
    assert_eq!(matched(setup, "+/b", &["a/b", "/b", "b", "a/b/c", "a/c"]), ["a/b", "/b"]);
    assert_eq!(matched(setup, "a/+/c", &["a/b/c", "a//c", "a/c", "a/b/d", "a/b/b/c"]), ["a/b/c", "a//c"]);
    assert_eq!(matched(setup, "+", &["a", "", "a/b", "/a"]), ["a", ""]);
    assert_eq!(matched(setup, "+/+", &["a", "a/b", "/", "a/b/c"]), ["a/b", "/"]);
}

fn a_hash_stands_for_one_or_more_trailing_levels(setup: &Setup) {
    assert_eq!(
        matched(setup, "a/#", &["a", "a/b", "a/b/c", "a/", "ab", "b/a", "a//c"]),
        ["a/b", "a/b/c", "a/", "a//c"]
    );
    assert_eq!(matched(setup, "#", &["a", "a/b", "", "/", "a/b/c/d/e"]), ["a", "a/b", "", "/", "a/b/c/d/e"]);
    assert_eq!(matched(setup, "a/b/#", &["a/b", "a/b/c", "a/c/b", "a/b/c/d"]), ["a/b/c", "a/b/c/d"]);
}

fn plus_and_hash_combine(setup: &Setup) {
    assert_eq!(matched(setup, "+/b/#", &["a/b", "a/b/c", "c/b/c/d", "b/c", "a/c/b"]), ["a/b/c", "c/b/c/d"]);
    assert_eq!(matched(setup, "a/+/#", &["a/b", "a/b/c", "a", "a//", "b/b/c"]), ["a/b/c", "a//"]);
    assert_eq!(matched(setup, "+/#", &["a", "a/b", "/", "a/b/c"]), ["a/b", "/", "a/b/c"]);
}

fn what_follows_a_hash_is_ignored(setup: &Setup) {
    assert_eq!(matched(setup, "a/#/z", &["a", "a/b", "a/b/c", "a/b/z", "b/z"]), ["a/b", "a/b/c", "a/b/z"]);
}

fn empty_levels_count(setup: &Setup) {
    assert_eq!(matched(setup, "/a", &["a", "/a", "//a", "a/"]), ["/a"]);
    assert_eq!(matched(setup, "a//b", &["a/b", "a//b", "a///b"]), ["a//b"]);
    assert_eq!(matched(setup, "a/", &["a", "a/", "a//"]), ["a/"]);
    assert_eq!(matched(setup, "//", &["", "/", "//", "///"]), ["//"]);
}

fn the_empty_topic_is_a_topic_of_one_empty_level(setup: &Setup) {
    assert_eq!(matched(setup, "", &["", "a", "/"]), [""]);
}

fn a_wildcard_inside_a_level_means_nothing(setup: &Setup) {
    assert_eq!(matched(setup, "a/b+", &["a/bc", "a/b", "a/b+"]), ["a/b+"]);
    assert_eq!(matched(setup, "a#", &["ab", "a/b", "a#"]), ["a#"]);
    assert_eq!(matched(setup, "++", &["a", "a/b", "++"]), ["++"]);
}

fn wildcards_of_broadcasts_mean_nothing_in_topics(setup: &Setup) {
    assert_eq!(matched(setup, "a/?", &["a/b", "a/?"]), ["a/?"]);
    assert_eq!(matched(setup, "*", &["a", "a/b", "*"]), ["*"]);
    assert_eq!(matched(setup, "a.+", &["a.b", "a.+"]), ["a.+"]);
}

fn a_plus_in_a_published_topic_is_taken_literally(setup: &Setup) {
    assert_eq!(matched(setup, "a/b", &["a/+", "+/b", "+/+"]), [""; 0]);
    assert_eq!(matched(setup, "a/+", &["a/+", "+/+"]), ["a/+"]);
}

fn a_hash_in_a_published_topic_is_taken_literally(setup: &Setup) {
    assert_eq!(matched(setup, "a/b", &["a/#", "#"]), [""; 0]);
    assert_eq!(matched(setup, "a/#", &["a/#", "#", "a/#/b"]), ["a/#", "a/#/b"]);
    assert_eq!(matched(setup, "a/+", &["a/#", "#"]), ["a/#"]);
}

fn topics_may_hold_anything_that_is_utf8(setup: &Setup) {
    let topics = ["größe/水", "a b/c d", "a.b", "%%", "\u{1F980}/\n", "$SYS/x"];
    assert_eq!(matched(setup, "#", &topics), topics);
    assert_eq!(matched(setup, "größe/+", &topics), ["größe/水"]);
}

fn topics_differ_by_case(setup: &Setup) {
    assert_eq!(matched(setup, "Light", &["light", "Light", "LIGHT"]), ["Light"]);
}

fn patterns_of_many_clients_are_told_apart(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let patterns = ["a/b/c", "a/+/c", "a/#", "+/b/c", "a/b/+", "x/#", "a/b", "+/+/+"];
    let mut subscribers: Vec<_> = patterns
        .iter()
        .enumerate()
        .map(|(index, pattern)| broker.subscriber(&format!("s{index}"), &[pattern]))
        .collect();
    publisher.perform(Request::publish("a/b/c", "first"));
    publisher.perform(Request::publish("a/b", "second"));
    for (pattern, subscriber) in patterns.iter().zip(&mut subscribers) {
        if !["x/#", "a/b"].contains(pattern) {
            subscriber.expect(&Delivery::publication("a/b/c", "first").from("anna"));
        }
        if ["a/#", "a/b"].contains(pattern) {
            subscriber.expect(&Delivery::publication("a/b", "second").from("anna"));
        }
        subscriber.expect_nothing();
    }
}

fn patterns_of_one_client_add_up(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("publisher");
    let mut subscriber = broker.subscriber("subscriber", &["a/+", "b/#"]);
    subscriber.perform(Request::subscribe(&["c"]));
    let topics = ["a/x", "b/x/y", "c", "a/x/y", "c/x", "b"];
    assert_eq!(matched_by(&mut subscriber, &mut publisher, &topics), ["a/x", "b/x/y", "c"]);
}

//! What is denied has no effect, and is counted.

use crate::DENIED;
use crate::ruled::{OPERATOR, Ruled, denied_frames};
use crate::support::{Delivery, Request, eventually, number};

const RULES: &str = r#"
[access.receiver]
subscribe = ["a/#", "b"]
message = ["receiver"]

[access.sender]
publish = ["a/#", "c"]
message = ["sender"]
"#;

#[test]
fn a_denied_frame_reaches_nobody_and_is_counted_for_its_sender() {
    let ruled = Ruled::start(&[OPERATOR, RULES].concat());
    let (mut receiver, mut sender) = (ruled.peer("receiver"), ruled.peer("sender"));
    receiver.perform(Request::subscribe(&["a/#", "b"]));
    for request in [
        Request::message("receiver", "x"),
        Request::publish("b", "x"),
        Request::publish("a/b", "x").only_for("receiver"),
        Request::broadcast("*", "x"),
        Request::subscribe(&["c"]),
    ] {
        // Without a confirmation nothing is answered.
        sender.send(&request);
    }
    // One that is confirmed tells when all were looked at.
    assert_eq!(sender.confirm(Request::message(".broker", "x")), DENIED);
    sender.perform(Request::publish("a/b", "the first that arrives"));
    receiver.expect(&Delivery::publication("a/b", "the first that arrives").from("sender"));
    sender.perform(Request::publish("c", "x"));
    sender.expect_nothing();
    let mut operator = ruled.peer("operator");
    assert_eq!(denied_frames(&mut operator, "sender"), 6);
    assert_eq!(denied_frames(&mut operator, "receiver"), 0);
    drop(sender);
    let mut total = || number(&operator.ask("stats"), "denied_frames");
    eventually("they stay counted when the client has gone", || total() == 6);
}

#[test]
fn the_log_names_who_was_denied_what_and_does_not_repeat_itself() {
    let ruled = Ruled::start(RULES);
    let mut sender = ruled.peer("sender");
    for _ in 0..100 {
        assert_eq!(sender.confirm(Request::publish("secret/topic", "x")), DENIED);
    }
    ruled.broker.expect_logged(&["\"sender\" may not", "64 frames"]);
    let log = ruled.broker.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("\"sender\" may not")).collect();
    assert!(lines[0].contains("publish to \"secret/topic\""), "{}", lines[0]);
    assert_eq!(lines.len(), 7, "at the first, the second, the fourth and so on:\n{log}");
}

#[test]
fn the_allowed_topics_of_a_request_are_subscribed_and_it_is_denied_once() {
    let ruled = Ruled::start(&[OPERATOR, RULES].concat());
    let (mut operator, mut receiver) = (ruled.peer("operator"), ruled.peer("receiver"));
    for denied in [&["a/x", "secret", "b"][..], &["secret"], &["b", "#"]] {
        assert_eq!(receiver.confirm(Request::subscribe(denied)), DENIED, "{denied:?}");
    }
    for topic in ["secret", "a/y", "a/x", "b"] {
        operator.perform(Request::publish(topic, topic));
    }
    receiver.expect(&Delivery::publication("a/x", "a/x").from("operator"));
    receiver.expect(&Delivery::publication("b", "b").from("operator"));
    receiver.expect_nothing();
}

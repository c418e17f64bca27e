//! SIGHUP.

use crate::DENIED;
use crate::ruled::{OPERATOR, Ruled};
use crate::support::{Delivery, Frame, Kind, Request, Transport, WirePeer, code, eventually, text, unpack};

const RULES: &str = r#"
[access."sensor.?"]
publish = ["a/#", "b/#"]
subscribe = ["a/#", "b/#"]
message = ["sensor.?"]
"#;

fn with_operator(rules: &str) -> String {
    [OPERATOR, rules].concat()
}

/// The next announcement of the broker: its subject and its name.
fn announcement(operator: &mut WirePeer) -> (String, String) {
    let delivery = operator.receive_delivery();
    assert_eq!((delivery.kind, delivery.sender.as_str()), (Kind::Publication, ".broker"), "{delivery:?}");
    let event = unpack(&delivery.payload);
    (text(&event, "s").to_owned(), text(&event, "d").to_owned())
}

#[test]
fn allowed_clients_are_not_dropped_and_denied_ones_are_cut_and_announced() {
    let ruled = Ruled::start(&with_operator(RULES));
    let mut stays = ruled.peer("sensor.1");
    stays.perform(Request::subscribe(&["a/x"]));
    let (mut goes, mut secondary) = (ruled.peer_by(Transport::Tcp, "sensor.2"), ruled.peer("sensor.2%%1"));
    let mut operator = ruled.peer("operator");
    operator.perform(Request::subscribe(&[".broker/info"]));
    ruled.reload(&with_operator(&RULES.replace("sensor.?", "sensor.1")));
    goes.expect_closed();
    secondary.expect_closed();
    assert_eq!(announcement(&mut operator), ("unreg".to_owned(), "sensor.2".to_owned()));
    assert_eq!(ruled.answer(Transport::Tcp, "sensor.2"), DENIED);
    stays.send(&Request::publish("a/x", "still here"));
    stays.expect(&Delivery::publication("a/x", "still here").from("sensor.1"));
    ruled.broker.expect_logged(&["client \"sensor.2\" cut: the access rules do not allow its connection any more"]);
    // It is no longer refused when the rules list it again.
    ruled.reload(&with_operator(RULES));
    ruled.peer_by(Transport::Tcp, "sensor.2");
}

#[test]
fn clients_on_the_lane_are_cut_and_kept_like_others() {
    let ruled = Ruled::start(RULES);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (stays, goes) = runtime.block_on(async { (ruled.lane("sensor.1").await, ruled.lane("sensor.2").await) });
    ruled.reload(&RULES.replace("sensor.?", "sensor.1"));
    runtime.block_on(async {
        assert!(goes.recv().await.is_none(), "its connection has ended");
        let loan = stays.loan(100_000);
        stays.publish("a/x", loan).qos(busway::QoS::Processed).await.expect("it goes on");
    });
}

#[test]
fn subscriptions_that_are_not_allowed_any_more_are_taken_away() {
    let ruled = Ruled::start(&with_operator(RULES));
    let (mut operator, mut sensor) = (ruled.peer("operator"), ruled.peer("sensor.1"));
    sensor.perform(Request::subscribe(&["a/x", "b/x"]));
    ruled.reload(&with_operator(&RULES.replace("subscribe = [\"a/#\", \"b/#\"]", "subscribe = [\"b/#\"]")));
    for topic in ["a/x", "b/x"] {
        operator.perform(Request::publish(topic, topic));
    }
    sensor.expect(&Delivery::publication("b/x", "b/x").from("operator"));
    sensor.expect_nothing();
    assert_eq!(sensor.confirm(Request::subscribe(&["a/x"])), DENIED);
}

#[test]
fn what_was_remembered_of_the_old_rules_is_forgotten() {
    let ruled = Ruled::start(RULES);
    let mut sensor = ruled.peer("sensor.1");
    let mut receiver = ruled.peer("sensor.2");
    let narrow = "[access.\"sensor.?\"]\nmessage = [\"sensor.1\"]\n";
    for _ in 0..3 {
        sensor.perform(Request::publish("a/x", ""));
        sensor.perform(Request::message("sensor.2", ""));
        receiver.expect(&Delivery::message("").from("sensor.1"));
        ruled.reload(narrow);
        assert_eq!(sensor.confirm(Request::publish("a/x", "")), DENIED);
        assert_eq!(sensor.confirm(Request::message("sensor.2", "")), DENIED);
        ruled.reload(RULES);
    }
    receiver.expect_nothing();
}

#[test]
fn a_broken_file_changes_nothing_and_is_named_in_the_log() {
    let ruled = Ruled::start(RULES);
    let mut sensor = ruled.peer("sensor.1");
    for (broken, place) in [
        ("[access.other]\nno-such = 1\n", ":2:1: "),
        ("[access.other", ":1:"),
        ("[access.\"a.*.b\"]\n", ":1:9: "),
        ("timeout = 0\n", ":1:11: "),
    ] {
        ruled.fail_to_reload(broken);
        sensor.perform(Request::publish("a/x", ""));
        assert_eq!(ruled.answer(Transport::Unix, "other"), DENIED);
        let expected = format!("{}{place}", ruled.file().display());
        ruled.broker.expect_logged(&[&expected]);
    }
}

#[test]
fn a_file_that_has_gone_changes_nothing() {
    let ruled = Ruled::start(RULES);
    std::fs::remove_file(ruled.file()).expect("it is there");
    ruled.broker.signal(rustix::process::Signal::HUP);
    eventually("the log says so", || ruled.broker.log().contains("the access rules stay as they are"));
    assert_eq!(ruled.answer(Transport::Unix, "other"), DENIED);
    ruled.peer("sensor.1");
}

#[test]
fn keys_that_take_a_restart_are_named_when_they_differ() {
    let ruled = Ruled::start(&format!("max-clients = 100\nqueue-size = 50\n{RULES}"));
    ruled.reload(&format!("max-clients = 200\nqueue-size = 50\nshm = false\n{RULES}"));
    let log = ruled.broker.log();
    let differs = |key: &str| log.contains(&format!(": {key} differs from what is in force; it takes a restart"));
    assert!(differs("max-clients") && differs("shm"), "{log}");
    assert!(!differs("queue-size") && !differs("access"), "{log}");
}

#[test]
fn rules_may_come_and_go() {
    let ruled = Ruled::start("");
    let mut anna = ruled.peer("anna");
    anna.perform(Request::subscribe(&["#"]));
    ruled.reload("[access.bert]\n");
    anna.expect_closed();
    assert_eq!(ruled.answer(Transport::Unix, "anna"), DENIED);
    ruled.reload("");
    ruled.broker.expect_logged(&["there are no access rules: everything is allowed"]);
    ruled.peer("anna").perform(Request::publish("anything", ""));
}

/// While publications flow, none is lost and none is denied.
#[test]
fn a_stream_goes_on_through_reloads() {
    let ruled = Ruled::start(RULES);
    let mut subscriber = ruled.peer("sensor.2");
    subscriber.perform(Request::subscribe(&["a/#"]));
    let mut publisher = ruled.peer("sensor.1");
    let count = 2_000_u32;
    let stream = std::thread::spawn(move || {
        for number in 0..count {
            assert_eq!(publisher.confirm(Request::publish("a/x", number.to_le_bytes())), code::OK);
        }
    });
    for extra in ["[access.x]\n", "[access.y]\n", ""] {
        ruled.reload(&[RULES, extra].concat());
    }
    for number in 0..count {
        let expected = Delivery::publication("a/x", number.to_le_bytes()).from("sensor.1");
        assert_eq!(subscriber.receive(), Frame::Delivery(expected));
    }
    stream.join().expect("every publication is confirmed");
}

//! `busway rpc notify`, `call0` and `call`.

use rmpv::Value;
use serde_json::json;

use crate::program::{Busway, Running, objects};
use crate::support::{BrokerProcess, Delivery, Request, Setup, WirePeer, parameters, promises};

promises! {
    everywhere {
        a_notification_is_delivered_and_confirmed
        a_notification_may_come_from_standard_input
        a_call_without_reply_is_delivered_and_confirmed
        a_call_prints_its_answer
        pairs_become_a_map
        without_pairs_nothing_is_sent
        raw_parameters_are_sent_as_they_are
        parameters_may_be_json
        parts_of_the_parameters_may_be_json
        json_that_is_none_is_refused
        parameters_may_come_from_standard_input
        answers_are_objects_for_programs
        answers_of_typed_methods_are_values
        an_error_is_told_with_its_code
        an_error_brings_no_escape_sequences
        nobody_there_is_an_error
        a_peer_that_leaves_is_an_error
        a_peer_that_does_not_answer_is_given_up
        the_broker_can_be_called
        a_broker_that_goes_is_a_lost_connection
    }
}

fn rpc(setup: &Setup, broker: &BrokerProcess, arguments: &[&str]) -> Busway {
    Busway::on(setup, broker, &[&["-n", "cli", "rpc"], arguments].concat())
}

/// The method and parameters of the request that comes next, and what an answer to it begins with.
fn next_call(peer: &mut WirePeer) -> (Vec<u8>, Vec<u8>) {
    let delivery = peer.receive_delivery();
    assert_eq!((delivery.sender.as_str(), delivery.payload[0]), ("cli", 0x01));
    (delivery.payload[5..].to_vec(), delivery.payload[1..5].to_vec())
}

/// Answers the next call; returns its method and parameters.
fn answer(peer: &mut WirePeer, kind: u8, result: &[u8]) -> Vec<u8> {
    let (called, id) = next_call(peer);
    peer.perform(Request::message("cli", [&[kind], &id[..], result].concat()));
    called
}

const REPLY: u8 = 0x11;
const ERROR: u8 = 0x12;

fn a_notification_is_delivered_and_confirmed(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    assert_eq!(rpc(setup, &broker, &["notify", "anna", "news"]).output(), "OK\n");
    anna.expect(&Delivery::message("\0news").from("cli"));
    let json = rpc(setup, &broker, &["notify", "--json", "--qos", "realtime", "anna", "news"]);
    assert_eq!(json.output(), "{\"result\":\"ok\"}\n");
    anna.expect(&Delivery::message("\0news").from("cli").realtime());
}

fn a_notification_may_come_from_standard_input(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    for arguments in [&["notify", "anna"][..], &["notify", "anna", "-"]] {
        rpc(setup, &broker, arguments).standard_input(b"\xC1\0\xFF").output();
        anna.expect(&Delivery::message(b"\0\xC1\0\xFF").from("cli"));
        broker.wait_until_gone("cli");
    }
}

fn a_call_without_reply_is_delivered_and_confirmed(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    assert_eq!(rpc(setup, &broker, &["call0", "anna", "leap", "far=true"]).output(), "OK\n");
    anna.expect(&Delivery::message(b"\x01\0\0\0\0leap\0\x81\xA3far\xC3").from("cli"));
}

/// Runs a call that `anna` answers; what the program printed, and what `anna` got.
fn call(setup: &Setup, arguments: &[&str], stdin: &[u8], result: &[u8]) -> (String, Vec<u8>) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    let running = rpc(setup, &broker, arguments).standard_input(stdin).start();
    let called = answer(&mut anna, REPLY, result);
    let finished = running.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""));
    (finished.stdout, called)
}

fn a_call_prints_its_answer(setup: &Setup) {
    let (printed, called) = call(setup, &["call", "anna", "look"], b"", b"a lamp");
    assert_eq!((printed.as_str(), called.as_slice()), ("a lamp\n", &b"look\0"[..]));
    let map = parameters(&[("on", true.into())]);
    let (printed, _) = call(setup, &["call", "anna", "look"], b"", &map);
    assert_eq!(printed, "MessagePack: {\n  \"on\": true\n}\n");
    assert_eq!(call(setup, &["call", "anna", "look"], b"", b"").0, "\n");
}

fn pairs_become_a_map(setup: &Setup) {
    let pairs = ["a=1", "b=1.5", "c=x=y", "d=false", "e=", "a=-2", "f=18446744073709551615"];
    let (_, called) = call(setup, &[&["call", "anna", "look"], &pairs[..]].concat(), b"", b"");
    let map: [(&str, Value); 6] = [
        ("b", 1.5.into()),
        ("c", "x=y".into()),
        ("d", false.into()),
        ("e", "".into()),
        ("a", (-2).into()),
        ("f", u64::MAX.into()),
    ];
    assert_eq!(called, [b"look\0", &parameters(&map)[..]].concat());
}

fn without_pairs_nothing_is_sent(setup: &Setup) {
    let (_, called) = call(setup, &["call", "anna", "look"], b"ignored", b"");
    assert_eq!(called, b"look\0");
}

fn raw_parameters_are_sent_as_they_are(setup: &Setup) {
    for text in ["a=1", "--raw", ""] {
        let (_, called) = call(setup, &["call", "anna", "look", "--raw", text], b"ignored", b"");
        assert_eq!(called, [b"look\0", text.as_bytes()].concat());
    }
}

const JSON: &str = r#"{"point":{"x":1,"y":-0.5},"names":["a","b"],"none":null}"#;

fn parameters_may_be_json(setup: &Setup) {
    let point = Value::Map(vec![("x".into(), 1.into()), ("y".into(), (-0.5).into())]);
    let names = Value::Array(vec!["a".into(), "b".into()]);
    let map = parameters(&[("point", point), ("names", names), ("none", Value::Nil)]);
    for (text, stdin, packed) in [
        (JSON, "", &map[..]),
        ("-", JSON, &map),
        ("[1, true]", "", b"\x92\x01\xC3"),
        ("-7", "", b"\xF9"),
        ("\"text\"", "", b"\xA4text"),
    ] {
        let (_, called) = call(setup, &["call", "anna", "look", "--json-params", text], stdin.as_bytes(), b"");
        assert_eq!(called, [b"look\0", packed].concat(), "{text}");
    }
}

fn parts_of_the_parameters_may_be_json(setup: &Setup) {
    let pairs = ["a=1", "names:=[\"a\", {\"b\": 2}]", "c=x:=y", "serial:=\"17\"", "a:=null"];
    let (_, called) = call(setup, &[&["call", "anna", "look"], &pairs[..]].concat(), b"", b"");
    let names = Value::Array(vec!["a".into(), Value::Map(vec![("b".into(), 2.into())])]);
    let map = [("names", names), ("c", "x:=y".into()), ("serial", "17".into()), ("a", Value::Nil)];
    assert_eq!(called, [b"look\0", &parameters(&map)[..]].concat());
}

fn json_that_is_none_is_refused(setup: &Setup) {
    let broker = setup.start();
    for wrong in [&["a:={"][..], &["--json-params", "{x}"], &["--json-params", "1", "a=1"], &["--json-params", ""]] {
        let finished = rpc(setup, &broker, &[&["call", "anna", "look"], wrong].concat()).run();
        assert_eq!((finished.code, finished.stdout.as_str()), (2, ""), "{wrong:?}: {finished:?}");
    }
    let piped = rpc(setup, &broker, &["call", "anna", "look", "--json-params", "-"]).standard_input("{x}");
    piped.run().expect_failure(1, &["standard input", "not JSON"]);
}

fn parameters_may_come_from_standard_input(setup: &Setup) {
    for arguments in [&["call", "anna", "look", "-"][..], &["call", "anna", "look", "--raw", "-"]] {
        let (_, called) = call(setup, arguments, b"\xC1\0\xFF", b"");
        assert_eq!(called, b"look\0\xC1\0\xFF");
    }
}

fn answers_are_objects_for_programs(setup: &Setup) {
    let print = |result: &[u8]| objects(&call(setup, &["--json", "call", "anna", "look"], b"", result).0);
    assert_eq!(print(b"a lamp"), [json!({ "size": 6, "payload": "a lamp" })]);
    let expected = json!({ "size": 4, "payload_base64": "gaFhAQ==", "value": { "a": 1 } });
    assert_eq!(print(b"\x81\xA1a\x01"), [expected]);
}

fn answers_of_typed_methods_are_values(setup: &Setup) {
    let results = [Value::from(42), (-1_000).into(), 1.5.into(), true.into(), "a lamp".into(), Value::Nil];
    let values = [json!(42), json!(-1_000), json!(1.5), json!(true), json!("a lamp"), json!(null)];
    for (result, value) in results.iter().zip(values) {
        let mut packed = Vec::new();
        rmpv::encode::write_value(&mut packed, result).expect("memory takes it");
        let (printed, _) = call(setup, &["call", "anna", "look"], b"", &packed);
        assert_eq!(printed, format!("{value}\n"));
        let objects = objects(&call(setup, &["--json", "call", "anna", "look"], b"", &packed).0);
        assert_eq!((&objects[0]["value"], &objects[0]["size"]), (&value, &packed.len().into()));
    }
}

/// A call that fails; what the program said.
fn expect_error(setup: &Setup, error: &[u8], words: &[&str]) -> String {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    let running = rpc(setup, &broker, &["call", "anna", "look"]).start();
    answer(&mut anna, ERROR, error);
    let finished = running.finish();
    finished.expect_failure(1, &[&["anna look"], words].concat());
    finished.stderr
}

fn an_error_is_told_with_its_code(setup: &Setup) {
    // -777: 0xFCF7.
    expect_error(setup, b"\xF7\xFCout of fruit", &["error -777: out of fruit"]);
    expect_error(setup, b"\xA7\x80", &["error -32601"]);
}

fn an_error_brings_no_escape_sequences(setup: &Setup) {
    let words = expect_error(setup, b"\xF7\xFC\x1B[31mred\nline", &["\\nline"]);
    assert!(words.trim_end().chars().all(|letter| !letter.is_control()), "{words:?}");
}

fn nobody_there_is_an_error(setup: &Setup) {
    let broker = setup.start();
    for arguments in [&["call", "nobody", "look"][..], &["call0", "nobody", "look"], &["notify", "nobody", "news"]] {
        rpc(setup, &broker, arguments).run().expect_failure(1, &["nobody", "no such client"]);
    }
}

/// A call that has reached `anna`.
fn called(setup: &Setup, broker: &BrokerProcess, timeout: &str) -> (Running, WirePeer) {
    let mut anna = broker.peer("anna");
    let running = rpc(setup, broker, &["--timeout", timeout, "call", "anna", "look"]).start();
    next_call(&mut anna);
    (running, anna)
}

fn a_peer_that_leaves_is_an_error(setup: &Setup) {
    let broker = setup.start();
    let (running, anna) = called(setup, &broker, "3600");
    drop(anna);
    running.finish().expect_failure(1, &["anna look", "left"]);
}

fn a_peer_that_does_not_answer_is_given_up(setup: &Setup) {
    let broker = setup.start();
    let (running, _anna) = called(setup, &broker, "5");
    running.finish().expect_failure(1, &["anna look", "within 5 s"]);
}

fn the_broker_can_be_called(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(rpc(setup, &broker, &["call", ".broker", "test"]).output(), "MessagePack: {\n  \"ok\": true\n}\n");
    rpc(setup, &broker, &["call", ".broker", "test", "a=1"]).run().expect_failure(1, &["-32602"]);
    let echo = rpc(setup, &broker, &["call", ".broker", "benchmark.test", "--raw", "hello"]);
    assert_eq!(echo.output(), "hello\n");
}

fn a_broker_that_goes_is_a_lost_connection(setup: &Setup) {
    let mut broker = setup.start();
    let (running, _anna) = called(setup, &broker, "3600");
    broker.signal(rustix::process::Signal::KILL);
    broker.wait();
    running.finish().expect_failure(3, &["anna look", "closed the connection"]);
}

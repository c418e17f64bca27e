//! `busway rpc listen`.

use rustix::process::Signal;
use serde_json::json;

use crate::program::{Busway, Running, objects};
use crate::support::{BrokerProcess, Delivery, Request, Setup, promises};

promises! {
    everywhere {
        calls_notifications_and_frames_are_printed
        every_call_is_answered_with_nothing
        programs_get_objects
        announcements_are_printed_to_those_who_ask
        calls_are_printed_in_their_order
        lost_calls_are_told
        names_bring_no_escape_sequences
        signals_end_it_well
        a_broker_that_goes_is_a_lost_connection
        what_came_before_the_end_is_printed
        a_reader_that_has_had_enough_ends_it_quietly
        the_command_lines_speak_with_each_other
    }
}

fn listen(setup: &Setup, broker: &BrokerProcess, arguments: &[&str]) -> Running {
    Busway::on(setup, broker, &[&["-n", "ear", "rpc", "listen"], arguments].concat()).start().listening("ear")
}

fn request(id: u32, method: &str, params: &str) -> Request {
    let payload = [&[0x01], &id.to_le_bytes()[..], method.as_bytes(), &[0], params.as_bytes()].concat();
    Request::message("ear", payload)
}

fn calls_notifications_and_frames_are_printed(setup: &Setup) {
    let broker = setup.start();
    let mut listener = listen(setup, &broker, &["-t", "light/#", "--exclude", "light/off", "--count", "6"]);
    let mut anna = broker.peer("anna");
    for (request, lines) in [
        (Request::message("ear", "\0a note"), ["notification from anna (6 bytes)", "a note"]),
        (request(0, "leap", "far"), ["call0 leap from anna (3 bytes)", "far"]),
        (Request::message("ear", "plain"), ["message from anna (5 bytes)", "plain"]),
        (Request::broadcast("ear", "hello"), ["broadcast from anna (5 bytes)", "hello"]),
        (Request::publish("light/level", "87"), ["publication light/level from anna (2 bytes)", "87"]),
    ] {
        anna.perform(Request::publish("light/off", "unwanted"));
        anna.perform(request);
        assert_eq!([listener.next_line(), listener.next_line()], lines);
    }
    anna.send(&request(7, "look", "here"));
    assert_eq!([listener.next_line(), listener.next_line()], ["call look from anna (4 bytes)", "here"]);
    // The last one is answered before the end, too.
    anna.expect(&Delivery::message([0x11, 7, 0, 0, 0]).from("ear"));
    let finished = listener.finish();
    assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (0, "", "listening as ear\n"));
}

fn every_call_is_answered_with_nothing(setup: &Setup) {
    let broker = setup.start();
    let _listener = listen(setup, &broker, &[]);
    let mut anna = broker.peer("anna");
    for id in [1, 2, u32::MAX] {
        anna.send(&request(id, "look", "here"));
        anna.expect(&Delivery::message([&[0x11], &id.to_le_bytes()[..]].concat()).from("ear"));
    }
}

fn programs_get_objects(setup: &Setup) {
    let broker = setup.start();
    let mut listener = listen(setup, &broker, &["--json", "--count", "3"]);
    let mut anna = broker.peer("anna");
    anna.perform(request(0, "leap", "far").realtime());
    let first = listener.next_line();
    anna.send(&request(7, "look", "\u{1}"));
    anna.receive_delivery();
    let second = listener.next_line();
    anna.perform(Request::message("ear", "\0note"));
    let third = listener.next_line();
    let common = |kind: &str, size: usize| json!({ "kind": kind, "sender": "anna", "realtime": false, "size": size, "lost_before": 0 });
    let mut expected = [common("call0", 3), common("call", 1), common("notification", 4)];
    expected[0]["realtime"] = true.into();
    expected[0]["method"] = "leap".into();
    expected[0]["payload"] = "far".into();
    expected[1]["method"] = "look".into();
    expected[1]["payload_base64"] = "AQ==".into();
    expected[2]["payload"] = "note".into();
    assert_eq!(objects(&[first, second, third].join("\n")), expected);
    assert_eq!(listener.finish().code, 0);
}

fn announcements_are_printed_to_those_who_ask(setup: &Setup) {
    let broker = setup.start();
    let mut listener = listen(setup, &broker, &["--json", "-t", ".broker/info"]);
    let _bert = broker.peer("bert");
    assert_eq!(objects(&listener.next_line())[0]["topic"], ".broker/info");
}

fn calls_are_printed_in_their_order(setup: &Setup) {
    const CALLS: usize = 2_000;
    let broker = setup.start();
    let listener = listen(setup, &broker, &["--count", &CALLS.to_string()]);
    let mut anna = broker.peer("anna");
    for number in 0..CALLS {
        anna.send(&request(0, "count", &number.to_string()));
    }
    let finished = listener.finish();
    let payloads = finished.stdout.lines().skip(1).step_by(2);
    assert!(payloads.eq((0..CALLS).map(|number| number.to_string())), "{}", finished.stdout.len());
}

fn lost_calls_are_told(setup: &Setup) {
    // More than may wait.
    const CALLS: u64 = 12_000;
    for options in [&["--json"][..], &[]] {
        let broker = setup.start();
        let mut listener = listen(setup, &broker, options);
        let mut anna = broker.peer("anna");
        for _ in 0..CALLS {
            anna.perform(request(0, "count", "x"));
        }
        listener.wait_until_stuck();
        let (mut printed, mut lost) = (0, 0);
        while printed + lost < CALLS {
            let line = listener.next_line();
            if options.is_empty() {
                printed += u64::from(line.starts_with("call0 "));
                let told =
                    line.strip_prefix("-- ").and_then(|line| line.strip_suffix(" calls lost: the output is too slow"));
                lost += told.map_or(0, |number| number.parse().expect("a number"));
            } else {
                printed += 1;
                lost += objects(&line)[0]["lost_before"].as_u64().expect("a number");
            }
        }
        assert!(lost > 0 && printed + lost == CALLS, "{printed} printed and {lost} lost of {CALLS}");
    }
}

fn names_bring_no_escape_sequences(setup: &Setup) {
    let broker = setup.start();
    let mut listener = listen(setup, &broker, &["--count", "1"]);
    broker.peer("red\x1B[31m").perform(request(0, "bell\x07\nline", ""));
    let line = listener.next_line();
    assert!(line.chars().all(|letter| !letter.is_control()), "{line:?}");
}

fn signals_end_it_well(setup: &Setup) {
    for signal in [Signal::INT, Signal::TERM] {
        let broker = setup.start();
        let mut listener = listen(setup, &broker, &[]);
        broker.peer("anna").perform(request(0, "leap", "far"));
        assert_eq!(listener.next_line(), "call0 leap from anna (3 bytes)");
        listener.signal(signal);
        let finished = listener.finish();
        assert_eq!((finished.code, finished.stderr.as_str()), (0, "listening as ear\n"));
        broker.wait_until_gone("ear");
    }
}

fn a_broker_that_goes_is_a_lost_connection(setup: &Setup) {
    let mut broker = setup.start();
    let listener = listen(setup, &broker, &[]);
    broker.signal(Signal::KILL);
    broker.wait();
    let finished = listener.finish();
    assert_eq!(finished.code, 3, "{finished:?}");
    assert!(finished.stderr.contains("busway: "), "{finished:?}");
}

fn what_came_before_the_end_is_printed(setup: &Setup) {
    // More than the pipe holds, and less than the listener.
    const CALLS: usize = 5_000;
    let mut broker = setup.start();
    let listener = listen(setup, &broker, &[]);
    let mut anna = broker.peer("anna");
    for number in 0..CALLS {
        anna.perform(request(0, "count", &number.to_string()).realtime());
    }
    listener.wait_until_stuck();
    broker.signal(Signal::KILL);
    broker.wait();
    let finished = listener.finish();
    assert_eq!(finished.code, 3, "{}", finished.stderr);
    let payloads = finished.stdout.lines().skip(1).step_by(2);
    assert!(payloads.eq((0..CALLS).map(|number| number.to_string())), "{}", finished.stdout.lines().count());
}

fn a_reader_that_has_had_enough_ends_it_quietly(setup: &Setup) {
    let broker = setup.start();
    let mut listener = listen(setup, &broker, &[]);
    listener.close_output();
    let finished = listener.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, "listening as ear\n"));
}

fn the_command_lines_speak_with_each_other(setup: &Setup) {
    let broker = setup.start();
    let mut listener = listen(setup, &broker, &[]);
    let run = |arguments: &[&str]| Busway::on(setup, &broker, &[&["-n", "cli", "rpc"], arguments].concat()).output();
    assert_eq!(run(&["call", "ear", "look", "a=1"]), "\n");
    assert_eq!(listener.next_line(), "call look from cli (4 bytes)");
    assert_eq!([(); 3].map(|()| listener.next_line()), ["MessagePack: {", "  \"a\": 1", "}"]);
    assert_eq!(run(&["notify", "ear", "news"]), "OK\n");
    assert_eq!([listener.next_line(), listener.next_line()], ["notification from cli (4 bytes)", "news"]);
}

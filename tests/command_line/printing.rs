//! What a listener prints: text for people, JSON for programs, and never a stranger's escape sequences.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::program::{Busway, Running, objects};
use crate::support::{BrokerProcess, Request, Setup, parameters, promises};

promises! {
    everywhere {
        json_has_an_object_a_line
        json_tells_text_from_bytes
        json_and_messagepack_are_laid_out_for_people
        bytes_are_shown_in_hexadecimal
        names_and_topics_bring_no_escape_sequences
        an_empty_payload_is_an_empty_line
        lost_frames_are_told
        frames_that_were_lost_last_are_told_at_the_end
        frames_that_were_lost_last_are_told_when_the_broker_goes
        frames_that_were_lost_are_told_although_nobody_reads_the_output
    }
}

/// What a listener prints of these frames.
fn printed(setup: &Setup, options: &[&str], sender: &str, requests: &[Request]) -> String {
    let broker = setup.start();
    let count = requests.len().to_string();
    let arguments = [&["-n", "ear"], options, &["listen", "-t", "light/#", "--count", &count]].concat();
    let listener = Busway::on(setup, &broker, &arguments).start().listening("ear");
    let mut sender = broker.peer(sender);
    for request in requests {
        sender.perform(request.clone());
    }
    let finished = listener.finish();
    assert_eq!(finished.code, 0);
    finished.stdout
}

fn json_has_an_object_a_line(setup: &Setup) {
    let requests = [
        Request::message("ear", "hello\nworld"),
        Request::broadcast("ear", "").realtime(),
        Request::publish("light/level", "87"),
    ];
    let expected = [
        json!({ "kind": "message", "sender": "anna", "realtime": false, "size": 11, "lost_before": 0,
                "payload": "hello\nworld" }),
        json!({ "kind": "broadcast", "sender": "anna", "realtime": true, "size": 0, "lost_before": 0, "payload": "" }),
        json!({ "kind": "publication", "sender": "anna", "topic": "light/level", "realtime": false, "size": 2,
                "lost_before": 0, "payload": "87" }),
    ];
    assert_eq!(objects(&printed(setup, &["--json"], "anna", &requests)), expected);
}

fn json_tells_text_from_bytes(setup: &Setup) {
    let texts = ["plain", "grüße \u{1F50C}", "tab\tand\r\n", r#"{"quoted": "\"json\""}"#];
    let binaries = [(&[0_u8, 1, 2][..], "AAEC"), (b"\xFF\xFE", "//4="), (b"\x1B[2J", "G1sySg==")];
    let mut requests: Vec<Request> = texts.iter().map(|text| Request::message("ear", text)).collect();
    requests.extend(binaries.iter().map(|(bytes, _)| Request::message("ear", bytes)));
    let objects = objects(&printed(setup, &["--json"], "anna", &requests));
    for (object, text) in objects.iter().zip(texts) {
        assert_eq!((&object["payload"], &object["payload_base64"]), (&json!(text), &Value::Null));
    }
    for (object, (_, encoded)) in objects[texts.len()..].iter().zip(binaries) {
        assert_eq!((&object["payload"], &object["payload_base64"]), (&Value::Null, &json!(encoded)));
    }
}

fn json_and_messagepack_are_laid_out_for_people(setup: &Setup) {
    let requests = [
        Request::message("ear", r#"{"level": 87, "on": [true]}"#),
        Request::message("ear", parameters(&[("level", 87.into()), ("name", "lamp".into())])),
        Request::message("ear", "87"),
    ];
    let output = printed(setup, &[], "anna", &requests);
    let expected = "message from anna (27 bytes)\nJSON: {\n  \"level\": 87,\n  \"on\": [\n    true\n  ]\n}\n\
                    message from anna (18 bytes)\nMessagePack: {\n  \"level\": 87,\n  \"name\": \"lamp\"\n}\n\
                    message from anna (2 bytes)\n87\n";
    assert_eq!(output, expected);
}

fn bytes_are_shown_in_hexadecimal(setup: &Setup) {
    let requests = [
        Request::message("ear", b"\xFF\x00\x10"),
        Request::message("ear", b"\x1B]0;title\x07"),
        Request::message("ear", [0xEE; 100_000]),
    ];
    let output = printed(setup, &[], "anna", &requests);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[1], "hex: ff0010");
    assert_eq!(lines[3], "hex: 1b5d303b7469746c6507");
    assert_eq!(lines[4], "message from anna (100000 bytes)");
    assert!(lines[5].len() < 1_000 && lines[5].ends_with("ee..."), "a glance, not a dump: {}", lines[5].len());
}

fn names_and_topics_bring_no_escape_sequences(setup: &Setup) {
    let requests = [Request::publish("light/\x1B[31mred", "ok"), Request::publish("light/two\nlines", "ok")];
    let sender = "bell\x07";
    let output = printed(setup, &[], sender, &requests);
    assert!(output.chars().all(|letter| !letter.is_control() || letter == '\n'), "{output:?}");
    assert_eq!(output.lines().count(), 4, "a topic is on one line: {output:?}");
    let objects = objects(&printed(setup, &["--json"], sender, &requests));
    // For programs it is what it was.
    assert_eq!((&objects[0]["topic"], &objects[1]["topic"]), (&json!("light/\x1B[31mred"), &json!("light/two\nlines")));
    assert_eq!(objects[0]["sender"], json!(sender));
    // DEL, and the letter that means the same as ESC [.
    let requests = [
        Request::message("ear", r#"{"\u009b31m": "\u007f"}"#),
        Request::message("ear", parameters(&[("\u{9B}31m", "\u{7F}".into())])),
        Request::publish("light/\u{9B}31m", "\u{7F}"),
    ];
    for options in [&[][..], &["--json"]] {
        let output = printed(setup, options, "bell\u{9B}", &requests);
        assert!(output.chars().all(|letter| !letter.is_control() || letter == '\n'), "{output:?}");
    }
}

fn an_empty_payload_is_an_empty_line(setup: &Setup) {
    let requests = [Request::message("ear", ""), Request::message("ear", "next")];
    let output = printed(setup, &[], "anna", &requests);
    assert_eq!(output, "message from anna (0 bytes)\n\nmessage from anna (4 bytes)\nnext\n");
}

fn lost_frames_are_told(setup: &Setup) {
    // More than a listener's queue holds, while nobody takes its output.
    const FRAMES: u64 = 40_000;
    let broker = setup.start();
    let arguments = ["-n", "ear", "--json", "listen", "-t", "light/#"];
    let mut listener = Busway::on(setup, &broker, &arguments).start().listening("ear");
    let mut anna = broker.peer("anna");
    for number in 0..FRAMES {
        anna.send(&Request::publish("light/flood", number.to_string()));
        if number % 1_000 == 0 {
            // The broker's own queue is not what this is about.
            anna.perform(Request::publish("nothing", ""));
        }
    }
    let (mut expected, mut lost) = (0, 0);
    for more in FRAMES.. {
        // Each line that is taken makes room; whichever frame comes first into it tells of the loss.
        anna.send(&Request::publish("light/flood", more.to_string()));
        let object: Value = serde_json::from_str(&listener.next_line()).expect("an object a line");
        let lost_before = object["lost_before"].as_u64().expect("a number");
        lost += lost_before;
        expected += lost_before;
        assert_eq!(object["payload"], json!(expected.to_string()), "what was lost is told, and nothing else is lost");
        if lost > 0 {
            return;
        }
        expected += 1;
        assert!(expected < FRAMES, "a pipe and a queue do not hold everything");
    }
}

/// A listener that has lost frames behind the last one that it could print, as nobody reads its output.
fn flooded(setup: &Setup, broker: &BrokerProcess, options: &[&str]) -> Running {
    let arguments = [&["-n", "ear"], options, &["-t", "light"]].concat();
    let listener = Busway::on(setup, broker, &arguments).start().listening("ear");
    let mut anna = broker.peer("anna");
    for number in 0..40_000 {
        anna.send(&Request::publish("light", number.to_string()));
        if number % 1_000 == 0 {
            // The broker's own queue is not what this is about.
            anna.perform(Request::publish("nothing", ""));
        }
    }
    anna.perform(Request::publish("nothing", ""));
    listener.wait_until_stuck();
    listener
}

/// The number of a line that tells of lost frames.
fn lost(line: &str) -> Option<u64> {
    line.strip_prefix("-- ")?.strip_suffix(" frames lost: the output is too slow")?.parse().ok()
}

fn frames_that_were_lost_last_are_told_at_the_end(setup: &Setup) {
    for command in [&["listen"][..], &["rpc", "listen"]] {
        let broker = setup.start();
        let listener = flooded(setup, &broker, command);
        listener.signal(Signal::TERM);
        let finished = listener.finish();
        let last = finished.stdout.lines().last().expect("it has printed something");
        assert!(lost(last).is_some_and(|lost| lost > 0), "{command:?}: {last}");
        assert_eq!((finished.code, finished.stderr.as_str()), (0, "listening as ear\n"));
    }
}

fn frames_that_were_lost_last_are_told_when_the_broker_goes(setup: &Setup) {
    for command in [&["--json", "listen"][..], &["--json", "rpc", "listen"]] {
        let mut broker = setup.start();
        let listener = flooded(setup, &broker, command);
        broker.signal(Signal::KILL);
        broker.wait();
        let finished = listener.finish();
        let last = objects(finished.stdout.lines().last().expect("it has printed something")).remove(0);
        let lost = last["lost_before"].as_u64().expect("a number");
        assert_eq!((&last, finished.code), (&json!({ "kind": "end", "lost_before": lost }), 3), "{command:?}");
        assert!(lost > 0 && finished.stderr.contains("its log says why"), "{}", finished.stderr);
    }
}

fn frames_that_were_lost_are_told_although_nobody_reads_the_output(setup: &Setup) {
    for command in [&["listen"][..], &["rpc", "listen"]] {
        let broker = setup.start();
        let listener = flooded(setup, &broker, command);
        listener.signal(Signal::TERM);
        let finished = listener.finish_unread();
        let told = finished.stderr.strip_prefix("listening as ear\nbusway: ").map(str::trim_end);
        assert!(finished.code == 0 && told.and_then(lost).is_some_and(|lost| lost > 0), "{}", finished.stderr);
    }
}

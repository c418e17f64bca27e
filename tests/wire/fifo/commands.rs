//! What a line says and whom it reaches.

use std::fs;
use std::process::Command;

use rmpv::Value;

use super::Scripted;
use crate::support::{Delivery, Kind, LITTLE, Setup, activity, eventually, expect_rest, promises, unpack};

promises! {
    everywhere {
        a_line_reaches_whom_it_names
        a_notification_and_a_call_are_what_the_rpc_layer_expects
        parameters_are_what_they_look_like
        a_line_without_its_end_counts_when_its_writer_has_gone
        what_many_scripts_write_at_once_arrives_whole
    }
    busway_unix_only {
        "the reference sends the first word of the text": the_whole_rest_of_the_line_is_sent
        "the reference takes what follows a second '=' away": a_value_may_have_an_equals_sign_in_it
        "the reference looks ten times a second": nobody_is_woken_while_nothing_is_written
    }
    reference_only {
        the_reference_sends_the_first_word
        the_reference_polls
    }
}

fn a_line_reaches_whom_it_names(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.subscriber("g.anna", &["light/#"]);
    let mut bert = scripted.broker.peer("g.bert");
    scripted.run("echo 'g.anna hello' >$fifo; echo '=light/level 87' >$fifo; echo 'g.* everybody' >$fifo");
    anna.expect(&Delivery::message("hello").from(".broker"));
    anna.expect(&Delivery::publication("light/level", "87").from(".broker"));
    anna.expect(&Delivery::broadcast("everybody").from(".broker"));
    bert.expect(&Delivery::broadcast("everybody").from(".broker"));
    scripted.run("printf 'g.bert one\\ng.bert two\\r\\n' >$fifo");
    bert.expect(&Delivery::message("one").from(".broker"));
    bert.expect(&Delivery::message("two").from(".broker"));
    bert.expect_nothing();
}

fn a_notification_and_a_call_are_what_the_rpc_layer_expects(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.peer("anna");
    scripted.run("echo 'anna .wake' >$fifo; echo 'anna :go speed=7' >$fifo; echo 'anna :stop' >$fifo");
    anna.expect(&Delivery::message(b"\x00wake").from(".broker"));
    // Call 0: nobody waits for an answer.
    anna.expect(&Delivery::message(b"\x01\0\0\0\0go\0\x81\xa5speed\x07").from(".broker"));
    anna.expect(&Delivery::message(b"\x01\0\0\0\0stop\0\x80").from(".broker"));
}

fn parameters_are_what_they_look_like(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.peer("anna");
    scripted.run("echo 'anna :set on=true off=false n=-12 x=1.5  big=9000000000 name=True empty=' >$fifo");
    let map = parameters_of(&anna.receive_delivery(), "set");
    for (key, value) in [
        ("on", Value::from(true)),
        ("off", false.into()),
        ("n", (-12).into()),
        ("x", 1.5.into()),
        ("big", 9_000_000_000_u64.into()),
        ("name", "True".into()),
        ("empty", "".into()),
    ] {
        assert_eq!(map[key], value, "{key} in {map}");
    }
    assert_eq!(map.as_map().map(Vec::len), Some(7), "{map}");
}

fn a_value_may_have_an_equals_sign_in_it(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.peer("anna");
    scripted.run("echo 'anna :set rule=a=b rule=c=d' >$fifo");
    let map = parameters_of(&anna.receive_delivery(), "set");
    assert_eq!(map, Value::Map(vec![("rule".into(), "c=d".into())]), "of two parameters the last counts");
}

fn parameters_of(delivery: &Delivery, method: &str) -> Value {
    assert_eq!((delivery.kind, delivery.sender.as_str()), (Kind::Message, ".broker"), "{delivery:?}");
    let head = [b"\x01\0\0\0\0", method.as_bytes(), b"\0"].concat();
    unpack(delivery.payload.strip_prefix(&head[..]).unwrap_or_else(|| panic!("a call of {method}: {delivery:?}")))
}

fn a_line_without_its_end_counts_when_its_writer_has_gone(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.peer("anna");
    // The second comes when the broker has seen the end of the first.
    for text in ["first", "second"] {
        scripted.run(&format!("printf 'anna {text}' >$fifo"));
        anna.expect(&Delivery::message(text).from(".broker"));
    }
    let dies = "exec >$fifo; printf 'anna half-a-th'; kill -9 $$";
    let status = Command::new("sh").args(["-c", dies]).env("fifo", &scripted.path).status();
    assert!(!status.expect("there is a shell").success());
    anna.expect(&Delivery::message("half-a-th").from(".broker"));
    scripted.run("echo 'anna whole' >$fifo");
    anna.expect(&Delivery::message("whole").from(".broker"));
}

/// Writes of up to 4096 bytes are not mixed with others; the system promises it.
fn what_many_scripts_write_at_once_arrives_whole(setup: &Setup) {
    const SCRIPTS: usize = 8;
    const LINES: usize = 50;
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.peer("anna");
    let filler = "x".repeat(2000);
    let scripts: Vec<_> = (0..SCRIPTS)
        .map(|script| {
            let line = format!("anna {script}-$number-{filler}");
            let text = format!("for number in $(seq {LINES}); do echo \"{line}\"; done >$fifo");
            Command::new("sh").args(["-ec", &text]).env("fifo", &scripted.path).spawn().expect("there is a shell")
        })
        .collect();
    let mut next = [1; SCRIPTS];
    for _ in 0..SCRIPTS * LINES {
        let delivery = anna.receive_delivery();
        let text = String::from_utf8(delivery.payload).expect("a line is text");
        let mut parts = text.split('-');
        let script: usize = parts.next().and_then(|part| part.parse().ok()).expect("the number of a script");
        assert_eq!(parts.next(), Some(next[script].to_string().as_str()), "each script's lines keep their order");
        assert_eq!(parts.next(), Some(filler.as_str()));
        next[script] += 1;
    }
    for mut script in scripts {
        assert!(script.wait().expect("it ends").success());
    }
    anna.expect_nothing();
}

fn the_whole_rest_of_the_line_is_sent(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.subscriber("anna", &["light"]);
    scripted.run("echo 'anna  two words ' >$fifo; echo '=light on and off' >$fifo; echo 'anna .wake up' >$fifo");
    anna.expect(&Delivery::message(" two words ").from(".broker"));
    anna.expect(&Delivery::publication("light", "on and off").from(".broker"));
    anna.expect(&Delivery::message(b"\x00wake up").from(".broker"));
    let long = format!("{{\"text\": \"{}\"}}", "é ".repeat(50_000));
    fs::write(&scripted.path, format!("anna {long}\n")).expect("the broker reads the FIFO");
    anna.expect(&Delivery::message(&long).from(".broker"));
}

fn the_reference_sends_the_first_word(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let mut anna = scripted.broker.peer("anna");
    scripted.run("echo 'anna two words' >$fifo");
    anna.expect(&Delivery::message("two").from(".broker"));
}

fn nobody_is_woken_while_nothing_is_written(setup: &Setup) {
    // Its own pings and deadlines are hours apart.
    let scripted = Scripted::start_with(setup, &["-t", "86400", "-w", "1"]);
    expect_rest(scripted.broker.id(), "before the first writer");
    let mut writer = scripted.writer();
    for _ in 0..100 {
        // Sometimes the next one comes before the last one goes, sometimes after.
        drop(scripted.writer());
        let next = scripted.writer();
        drop(std::mem::replace(&mut writer, next));
        drop(writer);
        writer = scripted.writer();
    }
    expect_rest(scripted.broker.id(), "while a writer has nothing to say");
    drop(writer);
    expect_rest(scripted.broker.id(), "after the last writer");
    let mut anna = scripted.broker.peer("anna");
    scripted.run("echo 'anna still there' >$fifo");
    anna.expect(&Delivery::message("still there").from(".broker"));
}

fn the_reference_polls(setup: &Setup) {
    let scripted = Scripted::start_with(setup, &["-t", "3600", "-w", "1"]);
    let (before, _) = activity(scripted.broker.id());
    eventually("the measure sees polling where there is some", || {
        activity(scripted.broker.id()).0 - before >= 2 * LITTLE
    });
}

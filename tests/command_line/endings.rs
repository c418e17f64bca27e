//! The broker goes, or whoever reads the output does.

use std::fs::OpenOptions;

use rustix::process::Signal;

use crate::program::{Busway, Running};
use crate::support::{BrokerProcess, Flavor, Request, Setup, eventually, promises};

promises! {
    everywhere {
        a_broker_that_is_killed_ends_a_listener_with_a_message
        a_broker_that_ends_ends_a_listener_with_a_message
        a_listener_that_is_to_reconnect_subscribes_again
        a_listener_that_is_to_reconnect_needs_a_broker_at_first
        what_came_before_the_end_is_printed
        a_reader_that_has_had_enough_ends_a_listener_quietly
        a_reader_that_leaves_while_nothing_comes_ends_a_listener_quietly
        a_reader_that_has_gone_already_is_no_error
        an_output_that_takes_nothing_is_an_error
        nobody_who_reads_the_messages_is_no_reason_to_panic
        a_broker_that_does_not_answer_is_given_up
        signals_end_a_listener_whose_output_nobody_reads
        signals_end_a_listener_whose_broker_stands_still
    }
}

fn listen(setup: &Setup, broker: &BrokerProcess) -> Running {
    Busway::on(setup, broker, &["-n", "ear", "--json", "listen", "-t", "light"]).start().listening("ear")
}

fn a_broker_that_is_killed_ends_a_listener_with_a_message(setup: &Setup) {
    let mut broker = setup.start();
    let listener = listen(setup, &broker);
    broker.signal(Signal::KILL);
    broker.wait();
    expect_loss(listener);
}

fn a_broker_that_ends_ends_a_listener_with_a_message(setup: &Setup) {
    let mut broker = setup.start();
    let listener = listen(setup, &broker);
    broker.signal(Signal::TERM);
    broker.wait();
    let remarks = listener.finish();
    assert_eq!(remarks.code, 3, "{remarks:?}");
    assert!(remarks.stderr.lines().any(|line| line.starts_with("busway: ")), "{remarks:?}");
    // The reference does not always wait until its farewell is written.
    let has_farewell = remarks.stdout.contains(".broker/warn");
    assert!(has_farewell || setup.flavor == Flavor::Reference, "the farewell comes first: {remarks:?}");
}

fn a_listener_that_is_to_reconnect_subscribes_again(setup: &Setup) {
    for command in [&["listen"][..], &["rpc", "listen"]] {
        let mut broker = setup.start();
        let arguments = [&["-n", "ear"], command, &["-t", "light", "--reconnect"]].concat();
        let mut listener = Busway::on(setup, &broker, &arguments).start().listening("ear");
        for _ in 0..2 {
            broker.signal(Signal::KILL);
            broker.wait();
            let remark = listener.next_remark();
            assert!(remark.ends_with("; trying again"), "{remark}");
            broker.start_again();
            assert_eq!(listener.next_remark(), "connected again, listening as ear");
            // The subscription is written before the state says so, and the broker answers in turn.
            broker.peer("anna").perform(Request::message("ear", "first"));
            assert_eq!([listener.next_line(), listener.next_line()][1], "first");
            broker.successor("anna").perform(Request::publish("light", "on"));
            let lines = [listener.next_line(), listener.next_line()];
            assert_eq!(lines, ["publication light from anna (2 bytes)", "on"]);
        }
        listener.signal(Signal::TERM);
        let finished = listener.finish();
        assert_eq!((finished.code, finished.stderr.lines().count()), (0, 5), "{finished:?}");
    }
}

fn a_listener_that_is_to_reconnect_needs_a_broker_at_first(setup: &Setup) {
    let mut broker = setup.start();
    let listener = Busway::on(setup, &broker, &["listen", "--reconnect"]);
    broker.signal(Signal::KILL);
    broker.wait();
    listener.run().expect_failure(3, &["cannot connect"]);
}

/// Exit code 3 and one message.
fn expect_loss(listener: Running) {
    let finished = listener.finish();
    assert_eq!(finished.code, 3, "{finished:?}");
    let messages: Vec<&str> = finished.stderr.lines().filter(|line| *line != "listening as ear").collect();
    assert!(matches!(messages[..], [message] if message.starts_with("busway: ")), "{finished:?}");
}

fn what_came_before_the_end_is_printed(setup: &Setup) {
    const FRAMES: usize = 1_000;
    let mut broker = setup.start();
    let mut listener = listen(setup, &broker);
    let mut anna = broker.peer("anna");
    for number in 0..FRAMES {
        anna.perform(Request::publish("light", number.to_string()));
    }
    // What the broker has given out is out of its hands.
    let first = listener.next_line();
    assert!(first.contains(r#""payload":"0""#), "{first}");
    for number in 1..FRAMES {
        let line = listener.next_line();
        assert!(line.contains(&format!(r#""payload":"{number}""#)), "{line}");
    }
    broker.signal(Signal::KILL);
    broker.wait();
    expect_loss(listener);
}

fn a_reader_that_has_had_enough_ends_a_listener_quietly(setup: &Setup) {
    let broker = setup.start();
    let mut listener = listen(setup, &broker);
    let mut anna = broker.peer("anna");
    anna.perform(Request::publish("light", "first"));
    assert!(listener.next_line().contains("first"));
    listener.close_output();
    eventually("the listener notices", || {
        anna.perform(Request::publish("light", "more"));
        listener.has_ended()
    });
    let finished = listener.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, "listening as ear\n"));
}

fn a_reader_that_leaves_while_nothing_comes_ends_a_listener_quietly(setup: &Setup) {
    let broker = setup.start();
    let mut listener = listen(setup, &broker);
    broker.peer("anna").perform(Request::publish("light", "the only one"));
    assert!(listener.next_line().contains("the only one"));
    listener.close_output();
    let finished = listener.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, "listening as ear\n"));
}

fn a_reader_that_has_gone_already_is_no_error(setup: &Setup) {
    let broker = setup.start();
    let _anna = broker.peer("anna");
    for command in
        [&["send", "anna", "hello"][..], &["publish", "light", "on"], &["broker", "client.list"], &["--help"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let finished = Busway::on(setup, &broker, command).standard_output(writer).run();
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{command:?}");
    }
}

fn an_output_that_takes_nothing_is_an_error(setup: &Setup) {
    let broker = setup.start();
    let full = OpenOptions::new().write(true).open("/dev/full").expect("the device is there");
    let finished = Busway::on(setup, &broker, &["broker", "test"]).standard_output(full).run();
    finished.expect_failure(1, &["cannot write the output"]);
}

fn nobody_who_reads_the_messages_is_no_reason_to_panic(setup: &Setup) {
    let broker = setup.start();
    for (arguments, code) in [(&["send", "nobody", "hello"][..], 1), (&["broker", "test"], 0), (&["listen", "--no"], 2)]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let busway = Busway::on(setup, &broker, arguments).standard_error(writer).environment("RUST_LOG", "trace");
        assert_eq!(busway.run().code, code, "{arguments:?}");
    }
}

fn a_broker_that_does_not_answer_is_given_up(setup: &Setup) {
    let broker = setup.start();
    let listener = listen(setup, &broker);
    broker.freeze();
    // The system still accepts for it.
    let finished = Busway::on(setup, &broker, &["--timeout", "0.2", "send", "ear", "hello"]).run();
    broker.signal(Signal::CONT);
    finished.expect_failure(3, &["in time"]);
    listener.signal(Signal::TERM);
    assert_eq!(listener.finish().code, 0);
}

fn signals_end_a_listener_whose_output_nobody_reads(setup: &Setup) {
    for (command, signal) in [(&["listen"][..], Signal::TERM), (&["rpc", "listen"], Signal::INT)] {
        let broker = setup.start();
        let arguments = [&["-n", "ear"], command, &["-t", "light"]].concat();
        let listener = Busway::on(setup, &broker, &arguments).start().listening("ear");
        let mut anna = broker.peer("anna");
        for _ in 0..300 {
            anna.perform(Request::publish("light", "x".repeat(4_000)));
        }
        listener.wait_until_stuck();
        listener.signal(signal);
        let finished = listener.finish_unread();
        assert_eq!((finished.code, finished.stderr.as_str()), (0, "listening as ear\n"));
    }
}

fn signals_end_a_listener_whose_broker_stands_still(setup: &Setup) {
    for (command, signals) in [(&["listen"][..], &[Signal::TERM][..]), (&["rpc", "listen"], &[Signal::INT; 2])] {
        let broker = setup.start();
        let arguments = [&["-n", "ear", "--timeout", "3600"], command].concat();
        let listener = Busway::on(setup, &broker, &arguments).start().listening("ear");
        broker.freeze();
        // It would say good-bye, if somebody were there to hear it.
        signals.iter().for_each(|signal| listener.signal(*signal));
        let finished = listener.finish();
        broker.signal(Signal::CONT);
        assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (0, "", "listening as ear\n"));
    }
}

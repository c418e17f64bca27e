//! `busway listen`: who hears what, for how long.

use std::fs::{self, File};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::program::{Busway, Running, objects};
use crate::support::{BrokerProcess, Flavor, Request, Setup, TemporaryDirectory, eventually, promises};

promises! {
    everywhere {
        messages_broadcasts_and_publications_are_printed
        each_frame_is_printed_when_it_comes
        without_topics_only_what_is_addressed_to_it_is_heard
        several_topics_can_be_given
        excluded_topics_are_left_out
        it_ends_after_as_many_frames_as_were_asked_for
        nothing_is_waited_for_when_no_frames_are_asked_for
        an_interrupt_ends_it_well
        a_request_to_terminate_ends_it_well
        many_frames_are_printed_in_order
        an_illegal_topic_is_refused
        a_filter_that_looks_like_a_mistake_is_taken_with_a_warning
        a_policy_is_asked_for_and_a_broker_that_knows_none_says_so
    }
    busway_only {
        "the reference cuts a listener that is too slow": a_signal_is_heard_amid_a_flood
        "the reference knows no policies": a_listener_that_does_not_read_is_not_cut_and_told_what_it_lost
        "the reference has no access rules": a_listener_that_may_not_ask_for_a_policy_goes_without
    }
}

fn listen(setup: &Setup, broker: &BrokerProcess, arguments: &[&str]) -> Running {
    Busway::on(setup, broker, &[&["-n", "ear", "listen"], arguments].concat()).start().listening("ear")
}

fn messages_broadcasts_and_publications_are_printed(setup: &Setup) {
    let broker = setup.start();
    let listener = listen(setup, &broker, &["-t", "light/#", "--count", "3"]);
    let mut anna = broker.peer("anna");
    anna.perform(Request::message("ear", "hello"));
    anna.perform(Request::broadcast("ea?", "nobody is called so"));
    anna.perform(Request::broadcast("ear", "everybody"));
    anna.perform(Request::publish("light/level", "87"));
    let finished = listener.finish();
    let expected = "message from anna (5 bytes)\nhello\n\
                    broadcast from anna (9 bytes)\neverybody\n\
                    publication light/level from anna (2 bytes)\n87\n";
    assert_eq!((finished.code, finished.stdout.as_str()), (0, expected));
    assert_eq!(finished.stderr, "listening as ear\n");
}

fn each_frame_is_printed_when_it_comes(setup: &Setup) {
    let broker = setup.start();
    let mut listener = listen(setup, &broker, &[]);
    let mut anna = broker.peer("anna");
    for number in 0..10 {
        anna.perform(Request::message("ear", number.to_string()));
        assert_eq!(listener.next_line(), "message from anna (1 bytes)");
        assert_eq!(listener.next_line(), number.to_string());
    }
    assert!(!listener.has_ended());
}

/// The payloads that a listener prints, until one says that it is the last.
fn heard(setup: &Setup, arguments: &[&str], topics: &[&str]) -> Vec<String> {
    let broker = setup.start();
    let mut listener = listen(setup, &broker, arguments);
    let mut anna = broker.peer("anna");
    for topic in topics {
        anna.perform(Request::publish(topic, topic));
    }
    anna.perform(Request::message("ear", "the end"));
    let mut heard = Vec::new();
    loop {
        listener.next_line();
        match listener.next_line() {
            end if end == "the end" => return heard,
            topic => heard.push(topic),
        }
    }
}

fn without_topics_only_what_is_addressed_to_it_is_heard(setup: &Setup) {
    assert!(heard(setup, &[], &["light", "sound"]).is_empty());
}

fn several_topics_can_be_given(setup: &Setup) {
    let arguments = ["-t", "light/+", "--topics", "sound", "-t", "a/#"];
    let topics = ["light/level", "light/level/deep", "sound", "a", "a/b/c"];
    assert_eq!(heard(setup, &arguments, &topics), ["light/level", "sound", "a/b/c"]);
}

fn excluded_topics_are_left_out(setup: &Setup) {
    let arguments = ["-t", "home/#", "--exclude", "home/private/#", "--exclude", "home/noise"];
    let topics = ["home/private/diary", "home/light", "home/noise", "home/noise/more"];
    assert_eq!(heard(setup, &arguments, &topics), ["home/light", "home/noise/more"]);
}

fn it_ends_after_as_many_frames_as_were_asked_for(setup: &Setup) {
    let broker = setup.start();
    let listener = listen(setup, &broker, &["--count", "2"]);
    let mut anna = broker.peer("anna");
    for text in ["one", "two", "three"] {
        // Nobody may be there for the third.
        anna.confirm(Request::message("ear", text));
    }
    let finished = listener.finish();
    assert_eq!((finished.code, finished.stdout.lines().count()), (0, 4));
    broker.wait_until_gone("ear");
}

fn nothing_is_waited_for_when_no_frames_are_asked_for(setup: &Setup) {
    let broker = setup.start();
    let finished = listen(setup, &broker, &["--count", "0"]).finish();
    assert_eq!((finished.code, finished.stdout.as_str()), (0, ""));
}

fn an_interrupt_ends_it_well(setup: &Setup) {
    expect_good_end(setup, Signal::INT);
}

fn a_request_to_terminate_ends_it_well(setup: &Setup) {
    expect_good_end(setup, Signal::TERM);
}

fn expect_good_end(setup: &Setup, signal: Signal) {
    let broker = setup.start();
    let mut listener = listen(setup, &broker, &[]);
    broker.peer("anna").perform(Request::message("ear", "hello"));
    assert_eq!([listener.next_line(), listener.next_line()], ["message from anna (5 bytes)", "hello"]);
    listener.signal(signal);
    let finished = listener.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, "listening as ear\n"));
    broker.wait_until_gone("ear");
}

fn many_frames_are_printed_in_order(setup: &Setup) {
    const FRAMES: usize = 5_000;
    let broker = setup.start();
    let listener = listen(setup, &broker, &["-t", "load", "--count", &FRAMES.to_string()]);
    let mut anna = broker.peer("anna");
    for number in 0..FRAMES {
        anna.send(&Request::publish("load", number.to_string()));
    }
    let finished = listener.finish();
    let payloads = finished.stdout.lines().skip(1).step_by(2);
    assert!(payloads.eq((0..FRAMES).map(|number| number.to_string())), "{}", finished.stdout.len());
}

fn an_illegal_topic_is_refused(setup: &Setup) {
    let broker = setup.start();
    let deep = ["x"; 129].join("/");
    for option in ["--topics", "--exclude"] {
        Busway::on(setup, &broker, &["listen", option, &deep]).run().expect_wrong_usage(&[option, "128 levels"]);
    }
}

fn a_filter_that_looks_like_a_mistake_is_taken_with_a_warning(setup: &Setup) {
    let broker = setup.start();
    for (option, filter, words) in [
        ("-t", "a/#/b", "this is 'a/#'"),
        ("-t", "a+/b", "only topics with a level named 'a+' match"),
        ("--exclude", "b/x#", "level named 'x#'"),
        ("-t", "*", "only topics with a level named '*' match"),
        ("-t", "a/*", "# for all that follow"),
        ("-t", "", "it is empty"),
    ] {
        for command in [&["listen"][..], &["rpc", "listen"]] {
            let arguments = [&["-n", "ear"], command, &[option, filter, "--count", "0"]].concat();
            let finished = Busway::on(setup, &broker, &arguments).run();
            let lines: Vec<&str> = finished.stderr.lines().collect();
            let [warning, "listening as ear"] = lines[..] else { panic!("{finished:?}") };
            assert!(warning.starts_with(&format!("busway: warning: the filter '{filter}': ")), "{warning}");
            assert!(finished.code == 0 && warning.contains(words), "{warning}");
            broker.wait_until_gone("ear");
        }
    }
}

fn a_policy_is_asked_for_and_a_broker_that_knows_none_says_so(setup: &Setup) {
    let broker = setup.start();
    let arguments = ["-n", "ear", "listen", "-t", "a/#", "--slow", "latest", "--count", "0"];
    let finished = Busway::on(setup, &broker, &arguments).run();
    if setup.flavor == Flavor::Busway {
        assert_eq!((finished.code, finished.stderr.as_str()), (0, "listening as ear\n"));
        let too_long = ["-n", "ear", "listen", "--slow", "wait:60", "--count", "0"];
        let refused = Busway::on(setup, &broker, &too_long).run();
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("at most 1 s"), "{}", refused.stderr);
    } else {
        assert_eq!(finished.code, 1);
        assert!(finished.stderr.contains("it knows none"), "{}", finished.stderr);
    }
}

fn a_listener_that_does_not_read_is_not_cut_and_told_what_it_lost(setup: &Setup) {
    for command in [&["listen"][..], &["rpc", "listen"]] {
        let broker = setup.start_with(&["--queue-size", "100"]);
        let arguments = [&["-n", "ear", "--json"], command, &["-t", "flood"]].concat();
        let mut listener = Busway::on(setup, &broker, &arguments).start().listening("ear");
        let mut anna = broker.peer("anna");
        // The whole program stands still: what comes meanwhile is the broker's to keep or to drop.
        listener.signal(Signal::STOP);
        for _ in 0..3_000 {
            // Not confirmed: the broker tells of the loss meanwhile.
            anna.send(&Request::publish("flood", "water".repeat(2_000)));
        }
        listener.signal(Signal::CONT);
        eventually("a line that tells of the loss", || {
            anna.send(&Request::publish("flood", "more"));
            let object = &objects(&listener.next_line())[0];
            object["lost_before"].as_u64().is_some_and(|lost| lost > 0)
        });
        assert!(!listener.has_ended());
    }
}

fn a_listener_that_may_not_ask_for_a_policy_goes_without(setup: &Setup) {
    let directory = TemporaryDirectory::new();
    let rules = directory.join("buswayd.toml");
    fs::write(&rules, "[access.ear]\n[access.anna]\nmessage = \"any\"\n").expect("a file can be written");
    let broker = setup.start_with(&["--config", rules.to_str().expect("paths of tests are text")]);
    let mut listener = listen(setup, &broker, &[]);
    broker.peer("anna").perform(Request::message("ear", "hello"));
    assert_eq!([listener.next_line(), listener.next_line()], ["message from anna (5 bytes)", "hello"]);
}

fn a_signal_is_heard_amid_a_flood(setup: &Setup) {
    let broker = setup.start();
    let arguments = ["-n", "ear", "--json", "listen", "-t", "flood", "--slow", "wait:1"];
    let nowhere = File::create("/dev/null").expect("there is such a file");
    let listener = Busway::on(setup, &broker, &arguments).standard_output(nowhere).start().listening("ear");
    let burst = Request::publish("flood", "water".repeat(1_000)).bytes().repeat(100);
    for mut peer in ["anna", "bert"].map(|name| broker.peer(name)) {
        let burst = burst.clone();
        // As long as the broker is there.
        thread::spawn(move || while peer.try_write(&burst).is_ok() {});
    }
    // By then it prints without end.
    thread::sleep(Duration::from_millis(500));
    listener.signal(Signal::TERM);
    let finished = listener.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, "listening as ear\n"));
}

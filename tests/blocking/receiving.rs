//! Waiting for frames: for ever, for a while, not at all, one after the other.

use std::thread;
use std::time::Duration;

use busway::blocking::RecvTimeoutError;
use busway::client::SendError;
use busway::{QoS, SlowPolicy};

use crate::bus::Bus;
use crate::support::WATCHDOG;
use crate::threads::{client, next_text, text, threads};

threads! {
    everywhere {
        a_thread_that_waits_is_woken_by_the_frame
        waiting_for_a_while_ends_without_a_frame_and_loses_none
        all_the_time_there_is_is_a_time_to_wait
        an_iteration_ends_with_the_connection
        a_client_that_is_closed_gives_what_has_arrived
        a_policy_for_slow_receivers_is_asked_for_where_the_broker_knows_it
    }
}

fn a_thread_that_waits_is_woken_by_the_frame(bus: &mut Bus) {
    let (anna, bert) = (client(bus, "anna"), client(bus, "bert"));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| next_text(&bert));
        anna.send("bert", "wake").wait().expect("it is accepted");
        assert_eq!(waiting.join().expect("no panic"), "wake");
    });
}

fn waiting_for_a_while_ends_without_a_frame_and_loses_none(bus: &mut Bus) {
    let (anna, bert) = (client(bus, "anna"), client(bus, "bert"));
    let short = Duration::from_millis(2);
    assert_eq!(bert.recv_timeout(Duration::ZERO).unwrap_err(), RecvTimeoutError::Timeout);
    assert_eq!(bert.recv_timeout(short).unwrap_err(), RecvTimeoutError::Timeout);
    let sender = thread::spawn(move || {
        for number in 0..300 {
            anna.send("bert", number.to_string()).wait().expect("it is accepted");
            if number % 100 == 0 {
                thread::sleep(short * 2);
            }
        }
        anna
    });
    // However often the wait is given up, every frame comes, and in order.
    for number in 0..300 {
        let frame = loop {
            match bert.recv_timeout(Duration::from_micros(50)) {
                Ok(frame) => break frame,
                Err(error) => assert_eq!(error, RecvTimeoutError::Timeout),
            }
        };
        assert_eq!(text(frame.payload()), number.to_string());
    }
    sender.join().expect("no panic");
    bert.close();
    assert_eq!(bert.recv_timeout(WATCHDOG).unwrap_err(), RecvTimeoutError::Disconnected);
}

fn all_the_time_there_is_is_a_time_to_wait(bus: &mut Bus) {
    let anna = client(bus, "anna");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| anna.recv_timeout(Duration::MAX).map(|frame| text(frame.payload())));
        anna.send("anna", "note").wait().expect("it is accepted");
        assert_eq!(waiting.join().expect("no panic"), Ok("note".to_owned()));
    });
}

fn an_iteration_ends_with_the_connection(bus: &mut Bus) {
    let (anna, bert) = (client(bus, "anna"), client(bus, "bert"));
    thread::scope(|scope| {
        let listening = scope.spawn(|| (&bert).into_iter().map(|frame| text(frame.payload())).collect::<Vec<_>>());
        for word in ["one", "two", "three"] {
            anna.send("bert", word).qos(QoS::Processed).wait().expect("bert is there");
        }
        // It has heard everything when it answers to itself.
        bert.send("bert", "four").qos(QoS::Processed).wait().expect("it reaches itself");
        bert.close();
        assert_eq!(listening.join().expect("no panic"), ["one", "two", "three", "four"]);
    });
}

fn a_client_that_is_closed_gives_what_has_arrived(bus: &mut Bus) {
    let anna = client(bus, "anna");
    for number in 0..10 {
        anna.send("anna", number.to_string()).qos(QoS::Processed).wait().expect("it reaches itself");
    }
    anna.close();
    let received: Vec<_> = anna.iter().map(|frame| text(frame.payload())).collect();
    assert_eq!(received, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(anna.recv().is_none() && anna.try_recv().is_none());
}

fn a_policy_for_slow_receivers_is_asked_for_where_the_broker_knows_it(bus: &mut Bus) {
    let (anna, bert) = (client(bus, "anna"), client(bus, "bert"));
    match bert.slow_policy(SlowPolicy::DropOldest) {
        Ok(()) => bert.subscribe("a/#").slow_policy(SlowPolicy::Latest).wait().expect("the broker knows it"),
        Err(error) => {
            assert!(matches!(error, SendError::Policy { .. }), "{error}");
            return;
        }
    }
    for number in 0..100 {
        anna.publish("a/b", number.to_string()).wait().expect("it is accepted");
    }
    anna.send("bert", "end").qos(QoS::Processed).wait().expect("the broker confirms");
    let (mut taken, mut lost, mut last) = (0, 0, String::new());
    for frame in &bert {
        lost += frame.lost_before();
        match frame.topic() {
            None => break,
            Some("a/b") => {
                taken += 1;
                last = text(frame.payload());
            }
            // The loss is announced to everybody.
            Some(topic) => assert_eq!(topic, ".broker/warn"),
        }
    }
    assert_eq!((taken + lost, last.as_str(), bert.lost_frames()), (100, "99", lost));
}

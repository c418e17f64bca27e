//! The log: who reads it, and what is in it.

use std::fs::{self, File};

use busway::QoS;
use busway::blocking::Client;

use crate::program::{Place, Running};
use crate::support::eventually;

#[test]
fn a_broker_whose_log_nobody_reads_serves_on() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    let mut running = Running::start_with(place.buswayd().env("RUST_LOG", "trace"), writer);
    eventually("the broker listens", || place.serves());
    for number in 0..10 {
        let name = format!("client.{number}");
        let client = Client::connect(place.socket(), &name).expect("it is served");
        for length in [5, 100_000] {
            client.send(&name, vec![7; length]).qos(QoS::Processed).wait().expect("it is confirmed");
            assert_eq!(client.recv().expect("it arrives").payload().len(), length);
        }
    }
    assert_eq!(running.end(), Some(0));
}

#[test]
fn a_broker_whose_log_is_read_no_more_serves_on() {
    let place = Place::new();
    // Open, and full after 64 KiB.
    let (_reader, writer) = std::io::pipe().expect("a pipe can be made");
    let mut running = Running::start_with(place.buswayd().env("RUST_LOG", "trace"), writer);
    eventually("the broker listens", || place.serves());
    for number in 0..500 {
        let client = Client::connect(place.socket(), &format!("client.{number}")).expect("it is served");
        client.send(&format!("client.{number}"), "x").qos(QoS::Processed).wait().expect("it is confirmed");
    }
    assert_eq!(running.end(), Some(0), "it waits for its reader a moment, not for ever");
}

#[test]
fn a_client_cannot_write_lines_of_its_own() {
    let place = Place::new();
    let log = place.directory.join("log");
    let mut running = Running::start_with(&mut place.buswayd(), File::create(&log).expect("a file can be made"));
    eventually("the broker listens", || place.serves());
    let client = Client::connect(place.socket(), "x\nFORGED").expect("the protocol allows such names");
    client.send("x\nFORGED", "x").qos(QoS::Processed).wait().expect("it is confirmed");
    let said = || fs::read_to_string(&log).expect("the log is there");
    eventually("the log names it", || said().contains("x\\nFORGED"));
    drop(client);
    assert_eq!(running.end(), Some(0));
    assert!(!said().lines().any(|line| line.starts_with("FORGED")), "{}", said());
}

#[test]
fn why_it_does_not_start_is_said_without_a_log_too() {
    for filter in ["off", "tokio=debug"] {
        let place = Place::new();
        let mut first = Running::start(&mut place.buswayd());
        eventually("the broker listens", || place.serves());
        let second = place.buswayd().env("RUST_LOG", filter).output().expect("buswayd can be started");
        let said = String::from_utf8_lossy(&second.stderr);
        assert_eq!(second.status.code(), Some(1), "{said}");
        assert!(said.contains("bus.sock"), "{filter}: {said}");
        assert_eq!(first.end(), Some(0));
    }
}

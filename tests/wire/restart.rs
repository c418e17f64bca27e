//! A broker that ends, well or badly, and another one in its place.

use std::fs;

use rustix::process::Signal;

use crate::support::{BrokerProcess, Delivery, Request, Setup, TemporaryDirectory, eventually, promises};

promises! {
    everywhere {
        a_broker_that_is_asked_to_end_ends_well_and_removes_its_socket
        a_broker_that_is_interrupted_ends_well_and_removes_its_socket
        the_clients_of_a_broker_that_ends_see_the_end
        the_clients_of_a_broker_that_is_killed_see_the_end
        a_broker_can_be_started_again_where_it_ended
        a_broker_that_was_killed_can_be_started_again_on_the_same_path
        the_process_id_is_in_the_file_that_was_asked_for_until_the_end
    }
}

fn a_broker_that_is_asked_to_end_ends_well_and_removes_its_socket(setup: &Setup) {
    expect_good_end(&mut setup.start(), Signal::TERM);
}

fn a_broker_that_is_interrupted_ends_well_and_removes_its_socket(setup: &Setup) {
    expect_good_end(&mut setup.start(), Signal::INT);
}

fn expect_good_end(broker: &mut BrokerProcess, signal: Signal) {
    let _idle = broker.connect();
    let mut peer = broker.subscriber("anna", &["light"]);
    assert!(broker.socket().exists());
    broker.signal(signal);
    let status = broker.wait();
    assert_eq!(status.code(), Some(0), "{status}:\n{}", broker.log());
    assert!(!broker.socket().exists(), "the socket is removed");
    assert!(!broker.log().contains("panicked"), "{}", broker.log());
    peer.drain();
}

fn the_clients_of_a_broker_that_ends_see_the_end(setup: &Setup) {
    let mut broker = setup.start();
    let mut peers = [broker.peer("anna"), broker.peer("bert")];
    broker.signal(Signal::TERM);
    broker.wait();
    for peer in &mut peers {
        peer.drain();
    }
}

fn the_clients_of_a_broker_that_is_killed_see_the_end(setup: &Setup) {
    let mut broker = setup.start();
    let mut peers = [broker.peer("anna"), broker.peer("bert")];
    broker.signal(Signal::KILL);
    broker.wait();
    for peer in &mut peers {
        peer.expect_closed();
    }
}

fn a_broker_can_be_started_again_where_it_ended(setup: &Setup) {
    let mut broker = setup.start();
    let mut before = broker.subscriber("anna", &["light"]);
    broker.signal(Signal::TERM);
    broker.wait();
    before.drain();
    broker.start_again();
    expect_fresh_start(&broker);
}

fn a_broker_that_was_killed_can_be_started_again_on_the_same_path(setup: &Setup) {
    let mut broker = setup.start();
    let _before = broker.subscriber("anna", &["light"]);
    broker.signal(Signal::KILL);
    broker.wait();
    assert!(broker.socket().exists(), "a killed broker leaves its socket behind");
    broker.start_again();
    expect_fresh_start(&broker);
}

/// Names and subscriptions do not outlive their broker.
fn expect_fresh_start(broker: &BrokerProcess) {
    let mut anna = broker.peer("anna");
    let mut bert = broker.peer("bert");
    bert.perform(Request::publish("light", "on"));
    anna.expect_nothing();
    bert.perform(Request::message("anna", "hello"));
    anna.expect(&Delivery::message("hello").from("bert"));
}

fn the_process_id_is_in_the_file_that_was_asked_for_until_the_end(setup: &Setup) {
    let directory = TemporaryDirectory::new();
    let file = directory.join("broker.pid");
    let mut broker = setup.start_with(&["-P", file.to_str().expect("the path is text")]);
    // Whether it is written before the broker accepts or after is the broker's choice.
    let id = broker.id().to_string();
    eventually("the file tells the process id", || fs::read_to_string(&file).is_ok_and(|text| text.trim() == id));
    broker.signal(Signal::TERM);
    broker.wait();
    assert!(!file.exists(), "the file is removed");
}

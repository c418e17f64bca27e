//! A client that sends itself more than its queue holds. It can only be as fast as it reads.

use std::thread;
use std::time::Duration;

use crate::support::{Delivery, Request, Setup, code, promises};

promises! {
    busway_only {
        "the reference cuts it as a slow receiver": a_client_that_floods_itself_with_messages_is_slowed_and_gets_them_all
        "the reference cuts it as a slow receiver": a_client_that_floods_its_own_subscription_is_slowed_and_gets_it_all
        "the reference cuts it as a slow receiver": a_client_that_floods_itself_through_a_small_queue_is_slowed_and_gets_it_all
        "the reference has no limit in bytes": one_frame_that_is_larger_than_the_queue_comes_back_with_its_confirmation
    }
    reference_only {
        the_reference_cuts_a_client_that_floods_itself
    }
}

const FRAMES: u32 = 20_000;

fn payload(number: u32) -> Vec<u8> {
    let mut payload = vec![0; 1_024];
    payload[..4].copy_from_slice(&number.to_le_bytes());
    payload
}

fn message(number: u32) -> (Request, Delivery) {
    (Request::message("anna", payload(number)), Delivery::message(payload(number)))
}

fn publication(number: u32) -> (Request, Delivery) {
    (Request::publish("flood", payload(number)), Delivery::publication("flood", payload(number)))
}

/// All of it at once: a client that has to make each frame first is no flood.
fn stream(frame: fn(u32) -> (Request, Delivery)) -> Vec<u8> {
    (0..FRAMES).flat_map(|number| frame(number).0.bytes()).collect()
}

fn a_client_that_floods_itself_with_messages_is_slowed_and_gets_them_all(setup: &Setup) {
    expect_all(setup, &[], message);
}

fn a_client_that_floods_its_own_subscription_is_slowed_and_gets_it_all(setup: &Setup) {
    expect_all(setup, &[], publication);
}

fn a_client_that_floods_itself_through_a_small_queue_is_slowed_and_gets_it_all(setup: &Setup) {
    expect_all(setup, &["--queue-size", "64", "--queue-bytes", "65536"], message);
}

fn one_frame_that_is_larger_than_the_queue_comes_back_with_its_confirmation(setup: &Setup) {
    let broker = setup.start_with(&["--queue-size", "1", "--queue-bytes", "65536"]);
    let mut anna = broker.peer("anna");
    let large = vec![7; 1 << 20];
    for op_id in 1..=3 {
        anna.send(&Request::message("anna", &large).op_id(op_id).confirmed());
        anna.expect(&Delivery::message(&large).from("anna"));
        anna.expect_confirmation(op_id, code::OK);
    }
}

fn expect_all(setup: &Setup, options: &[&str], frame: fn(u32) -> (Request, Delivery)) {
    let stream = stream(frame);
    let broker = setup.start_with(options);
    let mut receiver = broker.subscriber("anna", &["flood"]);
    let mut sender = receiver.second_handle();
    let sending = thread::spawn(move || sender.write(stream));
    // Time for the queue to fill: the reader of this client is late, not absent.
    thread::sleep(Duration::from_millis(500));
    for number in 0..FRAMES {
        receiver.expect(&frame(number).1.from("anna"));
    }
    sending.join().expect("everything could be written");
    receiver.expect_nothing();
}

fn the_reference_cuts_a_client_that_floods_itself(setup: &Setup) {
    let stream = stream(message);
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    // It reads only when it has written everything, or cannot write any more.
    let _ = peer.try_write(&stream);
    assert!(peer.drain() < stream.len());
    broker.wait_until_gone("anna");
}

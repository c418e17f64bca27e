//! What QoS Processed returns.

use std::thread;
use std::time::Duration;

use crate::support::{Frame, Request, Setup, code, operation, promises};

promises! {
    everywhere {
        every_operation_is_confirmed_when_asked
        no_operation_is_confirmed_when_not_asked
        a_realtime_request_is_confirmed_when_asked
        a_confirmation_echoes_the_op_id
        an_op_id_may_be_used_again
        confirmations_come_in_the_order_of_the_requests
        refusals_and_successes_keep_their_order
        a_confirmation_reaches_the_sender_alone
        a_client_that_does_not_read_its_confirmations_gets_them_all_later
    }
}

fn one_of_each() -> [Request; 8] {
    [
        Request::publish("light", "on"),
        Request::subscribe(&["dark"]),
        Request::unsubscribe(&["dark"]),
        Request::exclude(&["dark"]),
        Request::unexclude(&["dark"]),
        Request::publish("light", "on").only_for("bert"),
        Request::message("bert", "hello"),
        Request::broadcast("bert", "hello"),
    ]
}

fn every_operation_is_confirmed_when_asked(setup: &Setup) {
    let broker = setup.start();
    let _receiver = broker.subscriber("bert", &["light"]);
    let mut sender = broker.peer("anna");
    for request in one_of_each() {
        sender.perform(request);
    }
    sender.expect_nothing();
}

fn no_operation_is_confirmed_when_not_asked(setup: &Setup) {
    let broker = setup.start();
    let _receiver = broker.subscriber("bert", &["light"]);
    let mut sender = broker.peer("anna");
    for request in one_of_each() {
        sender.send(&request);
        sender.send(&request.realtime());
    }
    sender.expect_nothing();
}

fn a_realtime_request_is_confirmed_when_asked(setup: &Setup) {
    let broker = setup.start();
    let _receiver = broker.subscriber("bert", &["light"]);
    let mut sender = broker.peer("anna");
    for request in one_of_each() {
        sender.perform(request.realtime());
    }
    sender.expect_nothing();
}

fn a_confirmation_echoes_the_op_id(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    for op_id in [0, 1, 0x0102_0304, 0x8000_0000, u32::MAX] {
        sender.send(&Request::publish("light", "on").confirmed().op_id(op_id));
        sender.expect_confirmation(op_id, code::OK);
    }
}

fn an_op_id_may_be_used_again(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    for _ in 0..3 {
        sender.send(&Request::subscribe(&["light"]).confirmed().op_id(5));
    }
    for _ in 0..3 {
        sender.expect_confirmation(5, code::OK);
    }
}

fn confirmations_come_in_the_order_of_the_requests(setup: &Setup) {
    let broker = setup.start();
    let _receiver = broker.subscriber("bert", &["other"]);
    let mut sender = broker.peer("anna");
    let mut bytes = Vec::new();
    for (request, op_id) in one_of_each().into_iter().cycle().zip((0..1_000).rev()) {
        bytes.extend(request.confirmed().op_id(op_id).bytes());
    }
    sender.write(bytes);
    for op_id in (0..1_000).rev() {
        sender.expect_confirmation(op_id, code::OK);
    }
}

fn refusals_and_successes_keep_their_order(setup: &Setup) {
    let broker = setup.start();
    let _receiver = broker.peer("bert");
    let mut sender = broker.peer("anna");
    let expected = |op_id: u32| if op_id.is_multiple_of(3) { code::NOT_REGISTERED } else { code::OK };
    let mut bytes = Vec::new();
    for op_id in 0..300 {
        let target = if expected(op_id) == code::OK { "bert" } else { "nobody" };
        let request = Request::message(target, "hello").confirmed().op_id(op_id);
        let request = if op_id.is_multiple_of(2) { request.realtime() } else { request };
        bytes.extend(request.bytes());
    }
    sender.write(bytes);
    for op_id in 0..300 {
        sender.expect_confirmation(op_id, expected(op_id));
    }
}

fn a_confirmation_reaches_the_sender_alone(setup: &Setup) {
    let broker = setup.start();
    let mut primary = broker.peer("anna");
    let mut secondary = broker.peer("anna%%1");
    let mut receiver = broker.peer("bert");
    secondary.perform(Request::subscribe(&["light"]));
    secondary.perform(Request::message("bert", "hello"));
    assert!(matches!(receiver.receive(), Frame::Delivery(_)));
    receiver.expect_nothing();
    primary.expect_nothing();
}

/// Nobody is cut for confirmations that it has not read yet: the broker stops reading from it instead.
fn a_client_that_does_not_read_its_confirmations_gets_them_all_later(setup: &Setup) {
    const COUNT: u32 = 100_000;
    let broker = setup.start();
    let mut reader = broker.peer("anna");
    let mut writer = reader.second_handle();
    let writing = thread::spawn(move || {
        for chunk in 0..COUNT / 1_000 {
            let mut bytes = Vec::new();
            for op_id in chunk * 1_000..(chunk + 1) * 1_000 {
                bytes.extend(Request::raw(operation::SUBSCRIBE, b"light").confirmed().op_id(op_id).bytes());
            }
            writer.write(bytes);
        }
    });
    // Long enough for the queue of the broker to fill while nothing is read.
    thread::sleep(Duration::from_millis(500));
    for op_id in 0..COUNT {
        reader.expect_confirmation(op_id, code::OK);
    }
    writing.join().expect("everything could be written");
}

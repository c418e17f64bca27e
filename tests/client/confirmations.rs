//! Confirmations: awaited, awaited later, ignored.

use busway::client::{Confirmation, SendError};
use busway::{QoS, ResultCode};

use crate::bus::Place;
use crate::expectations::{NOT_REGISTERED, expect_message, expect_nothing, next_text, poll_once, settle};
use crate::fake_broker::FakeBroker;
use crate::promises::promises;

promises! {
    everywhere {
        confirmations_can_be_awaited_later_and_in_any_order
        ignored_confirmations_disturb_no_others
        operations_of_every_kind_get_their_own_answers_at_the_same_time
        the_confirmation_of_an_unconfirmed_operation_is_there_at_once
        an_operation_that_is_never_awaited_does_nothing
        operations_dropped_while_they_wait_disturb_no_others
        a_confirmation_can_be_awaited_after_the_client_is_dropped
    }
    alone {
        answers_are_found_by_their_number_in_whatever_order_they_come
        every_code_of_the_broker_becomes_an_error_that_keeps_it
        answers_to_nothing_are_ignored
    }
}

async fn confirmations_can_be_awaited_later_and_in_any_order(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    let mut confirmations: Vec<(usize, Confirmation)> = Vec::new();
    for number in 0..200 {
        let target = if number % 2 == 0 { "bert" } else { "nobody" };
        let operation = anna.send(target, number.to_string()).qos(QoS::Processed);
        confirmations.push((number, operation.enqueue().await.expect("it is accepted")));
    }
    // Neither first to last nor last to first.
    confirmations.sort_by_key(|(number, _)| number * 73 % 200);
    for (number, confirmation) in confirmations {
        assert_eq!(confirmation.await, if number % 2 == 0 { Ok(()) } else { NOT_REGISTERED }, "{number}");
    }
    for number in (0..200).step_by(2) {
        expect_message(&bert, "anna", &number.to_string()).await;
    }
    expect_nothing(&bert).await;
}

async fn ignored_confirmations_disturb_no_others(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    for number in 0..200 {
        let target = if number % 2 == 0 { "bert" } else { "nobody" };
        drop(anna.send(target, number.to_string()).qos(QoS::Processed).enqueue().await.expect("it is accepted"));
        if number % 20 == 0 {
            settle(&anna).await;
        }
    }
    assert_eq!(anna.send("bert", "last").qos(QoS::Processed).await, Ok(()));
    for number in (0..200).step_by(2) {
        assert_eq!(next_text(&bert).await, number.to_string());
    }
    assert_eq!(next_text(&bert).await, "last");
}

async fn operations_of_every_kind_get_their_own_answers_at_the_same_time(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    for _ in 0..50 {
        let (to_nobody, publication, subscription, to_self, exclusion, broadcast) = tokio::join!(
            anna.send("nobody", "").qos(QoS::Processed),
            anna.publish("light", "").qos(QoS::RealtimeProcessed),
            anna.subscribe(["sound", "smell"]),
            anna.send("anna", "note").qos(QoS::Processed),
            anna.exclude("light"),
            anna.broadcast("nobody", "").qos(QoS::Processed),
        );
        let answers = [publication, subscription, to_self, exclusion, broadcast];
        assert_eq!((to_nobody, answers), (NOT_REGISTERED, [const { Ok(()) }; 5]));
        assert_eq!(next_text(&anna).await, "note");
    }
}

async fn the_confirmation_of_an_unconfirmed_operation_is_there_at_once(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    for qos in [QoS::No, QoS::Realtime] {
        let mut confirmation = anna.send("nobody", "").qos(qos).try_enqueue().expect("the queue has room");
        assert_eq!(poll_once(&mut confirmation), std::task::Poll::Ready(Ok(())));
    }
}

async fn an_operation_that_is_never_awaited_does_nothing(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    drop(anna.send("anna", "not sent").qos(QoS::Processed));
    drop(anna.subscribe("light"));
    anna.publish("light", "not heard").qos(QoS::Processed).await.expect("it is confirmed");
    expect_nothing(&anna).await;
}

async fn operations_dropped_while_they_wait_disturb_no_others(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    let payload = "x".repeat(10_000);
    for number in 0..100 {
        let target = if number % 2 == 0 { "bert" } else { "nobody" };
        let mut dropped = anna.send(target, format!("{number} {payload}")).qos(QoS::Processed);
        // The first look is what has it accepted; the second comes never.
        let _ = poll_once(&mut dropped);
        drop(dropped);
        let mut subscription = anna.subscribe("light");
        let _ = poll_once(&mut subscription);
        drop(subscription);
        assert_eq!(anna.send("nobody", "").qos(QoS::Processed).await, NOT_REGISTERED);
        assert_eq!(anna.send("bert", "whole").qos(QoS::Processed).await, Ok(()));
    }
    for number in (0..100).step_by(2) {
        assert_eq!(next_text(&bert).await, format!("{number} {payload}"));
        assert_eq!([next_text(&bert).await, next_text(&bert).await], ["whole"; 2]);
    }
    expect_nothing(&bert).await;
}

async fn a_confirmation_can_be_awaited_after_the_client_is_dropped(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    let confirmation = anna.send("bert", "last words").qos(QoS::Processed).enqueue().await.expect("it is accepted");
    drop(anna);
    // The message arrives; whether its confirmation comes before the end of the connection is the broker's choice.
    assert!(matches!(confirmation.await, Ok(()) | Err(SendError::Disconnected)));
    expect_message(&bert, "anna", "last words").await;
}

async fn answers_are_found_by_their_number_in_whatever_order_they_come() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(broker.builder("anna")).await;
    let mut confirmations = Vec::new();
    for _ in 0..10 {
        let operation = client.send("bert", "hello").qos(QoS::Processed);
        confirmations.push(operation.enqueue().await.expect("it is accepted"));
    }
    let mut numbers = Vec::new();
    for _ in 0..10 {
        numbers.push(peer.expect_frame().await.op_id);
    }
    for (index, number) in numbers.iter().enumerate().rev() {
        let code = if index % 3 == 0 { ResultCode::NOT_DELIVERED } else { ResultCode::OK };
        peer.acknowledge(*number, code.0).await;
    }
    for (index, confirmation) in confirmations.into_iter().enumerate() {
        let refused = Err(SendError::Refused(ResultCode::NOT_DELIVERED));
        assert_eq!(confirmation.await, if index % 3 == 0 { refused } else { Ok(()) });
    }
}

async fn every_code_of_the_broker_becomes_an_error_that_keeps_it() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(broker.builder("anna")).await;
    for code in [0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x79, 0x00, 0x02, 0xFF] {
        let answer = tokio::join!(client.publish("light", "on").qos(QoS::Processed), async {
            let frame = peer.expect_frame().await;
            peer.acknowledge(frame.op_id, code).await;
        });
        let error = answer.0.expect_err("only 01 is success");
        assert_eq!((&error, error.code()), (&SendError::Refused(ResultCode(code)), ResultCode(code)));
        assert!(!error.to_string().is_empty());
    }
    let (answer, ()) = tokio::join!(client.subscribe("light"), async {
        let frame = peer.expect_frame().await;
        peer.acknowledge(frame.op_id, ResultCode::TIMEOUT.0).await;
    });
    assert_eq!(answer, Err(SendError::Timeout), "78 is a timeout, whoever noticed it");
}

async fn answers_to_nothing_are_ignored() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(broker.builder("anna")).await;
    for number in [0, 77_777, u32::MAX] {
        peer.acknowledge(number, ResultCode::NOT_REGISTERED.0).await;
    }
    let (answer, ()) = tokio::join!(client.send("bert", "").qos(QoS::Processed), async {
        let frame = peer.expect_frame().await;
        peer.acknowledge(frame.op_id, ResultCode::OK.0).await;
        peer.acknowledge(frame.op_id, ResultCode::OTHER.0).await;
    });
    assert_eq!(answer, Ok(()));
    assert!(client.is_connected());
}

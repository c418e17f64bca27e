//! Several connections of one program: a primary and its secondaries.

use busway::{FrameKind, QoS, ResultCode};

use crate::bus::Place;
use crate::expectations::{
    NOT_REGISTERED, expect, expect_closed, expect_message, expect_nothing, expect_publication, until,
};
use crate::promises::promises;

promises! {
    everywhere {
        a_secondary_is_a_client_with_a_name_of_its_own
        a_secondary_of_nobody_is_refused
        a_secondary_whose_name_is_taken_is_refused
        secondaries_end_with_their_primary
        a_secondary_may_leave_before_its_primary
        a_mask_reaches_secondaries_and_an_exact_name_does_not
        work_can_be_spread_over_secondaries
    }
}

async fn a_secondary_is_a_client_with_a_name_of_its_own(place: Place) {
    let bus = place.open().await;
    let (anna, second) = (bus.client("anna").await, bus.client("anna%%2").await);
    assert_eq!(second.name(), "anna%%2");
    anna.send("anna%%2", "to the second").qos(QoS::Processed).await.expect("it is there");
    second.send("anna", "to the first").qos(QoS::Processed).await.expect("it is there");
    expect_message(&second, "anna", "to the second").await;
    expect_message(&anna, "anna%%2", "to the first").await;
    second.subscribe("light").await.expect("it is confirmed");
    anna.publish("light", "on").qos(QoS::Processed).await.expect("it is confirmed");
    expect_publication(&second, "anna", "light", "on").await;
    expect_nothing(&anna).await;
}

async fn a_secondary_of_nobody_is_refused(place: Place) {
    let bus = place.open().await;
    assert_eq!(bus.attempt("anna%%1").await.err(), Some(ResultCode::NOT_REGISTERED));
    let _anna = bus.client("anna").await;
    assert!(bus.attempt("anna%%1").await.is_ok());
}

async fn a_secondary_whose_name_is_taken_is_refused(place: Place) {
    let bus = place.open().await;
    let (_anna, _second) = (bus.client("anna").await, bus.client("anna%%2").await);
    assert_eq!(bus.attempt("anna%%2").await.err(), Some(ResultCode::BUSY));
}

async fn secondaries_end_with_their_primary(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    let (second, third) = (bus.client("anna%%2").await, bus.client("anna%%3").await);
    let waiting = second.clone();
    let waiting = tokio::spawn(async move { waiting.recv().await.is_none() });
    anna.close().await;
    assert!(waiting.await.expect("no task panics"), "who waits for a frame learns of the end");
    assert!(third.recv().await.is_none());
    until(|| !second.is_connected() && !third.is_connected()).await;
    expect_closed(&second).await;
    assert!(second.publish("light", "on").await.is_err());
}

async fn a_secondary_may_leave_before_its_primary(place: Place) {
    let bus = place.open().await;
    let (anna, second) = (bus.client("anna").await, bus.client("anna%%2").await);
    second.close().await;
    bus.wait_until_gone("anna%%2").await;
    assert_eq!(anna.send("anna%%2", "").qos(QoS::Processed).await, NOT_REGISTERED);
    expect_nothing(&anna).await;
}

async fn a_mask_reaches_secondaries_and_an_exact_name_does_not(place: Place) {
    let bus = place.open().await;
    let (anna, second, bert) =
        (bus.client("group.anna").await, bus.client("group.anna%%2").await, bus.client("bert").await);
    bert.broadcast("group.anna", "exact").qos(QoS::Processed).await.expect("it is confirmed");
    bert.broadcast("group.*", "mask").qos(QoS::Processed).await.expect("it is confirmed");
    expect(&anna, FrameKind::Broadcast, "bert", "exact").await;
    expect(&anna, FrameKind::Broadcast, "bert", "mask").await;
    expect(&second, FrameKind::Broadcast, "bert", "mask").await;
}

async fn work_can_be_spread_over_secondaries(place: Place) {
    let bus = place.open().await;
    let mut workers = vec![bus.client("worker").await];
    for number in 0..8 {
        workers.push(bus.client(&format!("worker%%{number}")).await);
    }
    let echoes: Vec<_> = workers
        .into_iter()
        .map(|worker| {
            tokio::spawn(async move {
                let frame = worker.recv().await.expect("work comes");
                worker.send(frame.sender(), worker.name()).qos(QoS::Processed).await.expect("the sender is there");
                worker
            })
        })
        .collect();
    let master = bus.client("master").await;
    for number in 0..8 {
        let target = format!("worker%%{number}");
        master.send(&target, "work").qos(QoS::Processed).await.expect("it is there");
        expect_message(&master, &target, &target).await;
    }
    master.send("worker", "work").await.expect("it is accepted");
    expect_message(&master, "worker", "worker").await;
    for echo in echoes {
        echo.await.expect("no worker panics");
    }
}

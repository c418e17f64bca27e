//! A broker that goes without a word: everything that waits ends with an error, at once.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use busway::client::{ConnectionState, SendError};
use busway::{Client, QoS};
use rustix::process::Signal;

use crate::bus::{Bus, Place};
use crate::expectations::{DISCONNECTED, expect_closed, next_text, poll_once};
use crate::promises::promises;

promises! {
    over_sockets {
        pending_confirmations_end_with_the_broker
        pending_operations_end_with_the_broker
        a_pending_recv_ends_with_the_broker
        a_pending_flush_ends_with_the_broker
        a_pending_close_ends_with_the_broker
        the_state_is_closed_with_a_reason
        everything_fails_after_the_broker_has_gone
        what_arrived_before_the_end_can_still_be_received
        an_orderly_end_of_the_broker_is_an_end_too
        a_drop_after_the_broker_has_gone_is_no_harm
    }
}

/// A client whose own timeout ends nothing within the life of a test.
async fn patient(bus: &Bus) -> Client {
    bus.builder("anna").timeout(Duration::from_secs(3_600)).connect().await.expect("the broker is there")
}

/// A broker that answers nothing any more, and such a client.
async fn frozen(place: Place) -> (Bus, Client) {
    let bus = place.open().await;
    let client = patient(&bus).await;
    bus.freeze().await;
    (bus, client)
}

type Pending<'a> = Pin<Box<dyn Future<Output = Result<(), SendError>> + 'a>>;

/// Kills the broker while all of these wait; each of them has to end.
async fn kill_amid(mut bus: Bus, mut pending: Vec<Pending<'_>>) {
    for operation in &mut pending {
        assert!(poll_once(operation).is_pending());
    }
    bus.kill();
    for operation in pending {
        assert_eq!(operation.await, DISCONNECTED);
    }
}

/// More than sockets take while nobody reads.
async fn fill(client: &Client) {
    for _ in 0..32 {
        client.publish("bulk", vec![0; 1 << 20]).await.expect("it is accepted");
    }
}

async fn pending_confirmations_end_with_the_broker(place: Place) {
    let (mut bus, client) = frozen(place).await;
    let mut confirmations = Vec::new();
    for number in 0..100 {
        let operation = client.send("anna", number.to_string()).qos(QoS::Processed);
        confirmations.push(operation.enqueue().await.expect("it is accepted"));
    }
    bus.kill();
    for confirmation in confirmations {
        assert_eq!(confirmation.await, DISCONNECTED);
        assert!(!client.is_connected(), "who learns of the end finds it in the state");
    }
}

async fn pending_operations_end_with_the_broker(place: Place) {
    let (bus, client) = frozen(place).await;
    let pending: Vec<Pending<'_>> = vec![
        Box::pin(client.send("anna", "").qos(QoS::Processed)),
        Box::pin(client.broadcast("*", "").qos(QoS::RealtimeProcessed)),
        Box::pin(client.publish("light", vec![0; 1 << 20]).qos(QoS::Processed)),
        Box::pin(client.publish_for("light", "anna", "").qos(QoS::Processed)),
        Box::pin(client.subscribe(["light", "sound"])),
        Box::pin(client.unsubscribe("light")),
        Box::pin(client.exclude("light")),
        Box::pin(client.unexclude("light")),
    ];
    kill_amid(bus, pending).await;
}

async fn a_pending_recv_ends_with_the_broker(place: Place) {
    let mut bus = place.open().await;
    let client = patient(&bus).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.recv().await.is_none() })
        })
        .collect();
    bus.kill();
    for task in tasks {
        assert!(task.await.expect("no task panics"));
        assert!(!client.is_connected());
    }
}

async fn a_pending_flush_ends_with_the_broker(place: Place) {
    let (bus, client) = frozen(place).await;
    fill(&client).await;
    kill_amid(bus, vec![Box::pin(client.flush()), Box::pin(client.flush())]).await;
}

async fn a_pending_close_ends_with_the_broker(place: Place) {
    let (mut bus, client) = frozen(place).await;
    fill(&client).await;
    let mut close = Box::pin(client.close());
    assert!(poll_once(&mut close).is_pending());
    bus.kill();
    close.await;
    expect_closed(&client).await;
}

async fn the_state_is_closed_with_a_reason(place: Place) {
    let mut bus = place.open().await;
    let client = patient(&bus).await;
    let mut state = client.state();
    assert_eq!(*state.borrow_and_update(), ConnectionState::Connected);
    bus.kill();
    state.changed().await.expect("the client is there");
    match &*state.borrow_and_update() {
        ConnectionState::Closed { reason } => assert!(!reason.is_empty()),
        other => panic!("{other:?} after the end of the broker"),
    };
    assert!(!client.is_connected());
}

async fn everything_fails_after_the_broker_has_gone(place: Place) {
    let mut bus = place.open().await;
    let client = patient(&bus).await;
    bus.kill();
    expect_closed(&client).await;
    for qos in crate::expectations::EVERY_QOS {
        assert_eq!(client.publish("light", "on").qos(qos).await, DISCONNECTED);
        assert_eq!(client.subscribe("light").qos(qos).await, DISCONNECTED);
    }
    assert_eq!(client.flush().await, DISCONNECTED);
    assert!(client.recv().await.is_none());
    client.close().await;
}

async fn what_arrived_before_the_end_can_still_be_received(place: Place) {
    let mut bus = place.open().await;
    let client = patient(&bus).await;
    for number in 0..10 {
        client.send("anna", number.to_string()).qos(QoS::Processed).await.expect("it reaches itself");
    }
    bus.kill();
    expect_closed(&client).await;
    for number in 0..10 {
        assert_eq!(next_text(&client).await, number.to_string());
    }
    assert!(client.recv().await.is_none());
}

async fn an_orderly_end_of_the_broker_is_an_end_too(place: Place) {
    let mut bus = place.open().await;
    let client = patient(&bus).await;
    let process = bus.process_mut();
    process.signal(Signal::TERM);
    process.wait();
    // The farewell of the broker comes first; the reference does not always wait until it is written.
    let mut frames = Vec::new();
    while let Some(frame) = client.recv().await {
        frames.push((frame.sender().to_owned(), frame.topic().map(str::to_owned)));
    }
    let farewell = (".broker".to_owned(), Some(".broker/warn".to_owned()));
    assert!(frames == [farewell] || (frames.is_empty() && place.is_reference()), "{frames:?}");
    assert!(!expect_closed(&client).await.is_empty());
}

async fn a_drop_after_the_broker_has_gone_is_no_harm(place: Place) {
    let (mut bus, client) = frozen(place).await;
    fill(&client).await;
    bus.kill();
    drop(client);
}

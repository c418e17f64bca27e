//! A client that was asked to connect again after a loss does so, and says so.

use std::time::Duration;

use busway::client::{Builder, ConnectionState, Reconnect};
use busway::{Client, QoS};
use tokio::sync::watch;

use crate::bus::Place;
use crate::expectations::{DISCONNECTED, expect_closed, expect_message, expect_nothing, next_text, poll_once, until};
use crate::fake_broker::FakeBroker;
use crate::promises::promises;
use crate::support::code;

promises! {
    over_sockets {
        a_client_comes_back_under_its_name
        the_state_reports_the_loss_and_the_return
        operations_fail_while_the_broker_is_away
        what_waited_for_a_confirmation_fails_at_the_loss
        a_recv_outlives_the_loss
        what_arrived_before_the_loss_is_received_after_it
        a_client_comes_back_as_often_as_the_broker_goes
        a_close_ends_the_attempts
        a_drop_ends_the_attempts
        without_being_asked_a_client_does_not_come_back
    }
    alone {
        attempts_that_fail_in_any_way_are_made_again
        connections_that_do_not_last_are_no_reason_to_hurry
        a_close_amid_an_attempt_leaves_no_connection
        a_drop_amid_an_attempt_leaves_no_connection
        a_confirmation_of_the_new_connection_is_not_taken_for_one_of_the_old
    }
}

/// Soon, and again and again.
pub(crate) fn eager(builder: Builder) -> Builder {
    let delay = Duration::from_millis(10);
    // Nothing may end by a timeout that should end by the loss.
    builder.timeout(Duration::from_secs(3_600)).reconnect(Reconnect { first_delay: delay, max_delay: delay })
}

pub(crate) async fn lost(state: &mut watch::Receiver<ConnectionState>) -> String {
    let state = state.wait_for(|state| *state != ConnectionState::Connected).await.expect("the client is there");
    match &*state {
        ConnectionState::Disconnected { reason } => reason.clone(),
        other => panic!("{other:?} instead of a loss"),
    }
}

pub(crate) async fn back(state: &mut watch::Receiver<ConnectionState>) {
    state.wait_for(|state| *state == ConnectionState::Connected).await.expect("the client is there");
}

/// The broker goes and another comes to its place.
pub(crate) async fn replace(bus: &mut crate::bus::Bus, clients: &[&Client]) {
    let mut states: Vec<_> = clients.iter().map(|client| client.state()).collect();
    bus.kill();
    for state in &mut states {
        assert!(!lost(state).await.is_empty());
    }
    bus.process_mut().start_again();
    for state in &mut states {
        back(state).await;
    }
}

async fn a_client_comes_back_under_its_name(place: Place) {
    let mut bus = place.open().await;
    let anna = eager(bus.builder("anna")).connect().await.expect("the broker is there");
    replace(&mut bus, &[&anna]).await;
    let bert = bus.client("bert").await;
    bert.send("anna", "welcome back").qos(QoS::Processed).await.expect("anna is there");
    expect_message(&anna, "bert", "welcome back").await;
    anna.send("bert", "thank you").qos(QoS::Processed).await.expect("bert is there");
    expect_message(&bert, "anna", "thank you").await;
}

async fn the_state_reports_the_loss_and_the_return(place: Place) {
    let mut bus = place.open().await;
    let anna = eager(bus.builder("anna")).connect().await.expect("the broker is there");
    let mut state = anna.state();
    assert_eq!(*state.borrow_and_update(), ConnectionState::Connected);
    bus.kill();
    state.changed().await.expect("the client is there");
    assert!(matches!(&*state.borrow_and_update(), ConnectionState::Disconnected { reason } if !reason.is_empty()));
    assert!(!anna.is_connected());
    bus.process_mut().start_again();
    state.changed().await.expect("the client is there");
    assert_eq!(*state.borrow_and_update(), ConnectionState::Connected);
    assert!(anna.is_connected());
}

async fn operations_fail_while_the_broker_is_away(place: Place) {
    let mut bus = place.open().await;
    let anna = eager(bus.builder("anna")).connect().await.expect("the broker is there");
    bus.kill();
    lost(&mut anna.state()).await;
    for qos in crate::expectations::EVERY_QOS {
        assert_eq!(anna.publish("light", "on").qos(qos).await, DISCONNECTED);
        assert_eq!(anna.subscribe("light").qos(qos).await, DISCONNECTED);
    }
    assert_eq!(anna.flush().await, DISCONNECTED);
    let error = anna.send("anna", "kept").try_enqueue().expect_err("nobody is there");
    assert_eq!(error.payload.as_slice(), b"kept");
    bus.process_mut().start_again();
    back(&mut anna.state()).await;
    // What failed was not kept for later.
    expect_nothing(&anna).await;
}

async fn what_waited_for_a_confirmation_fails_at_the_loss(place: Place) {
    let mut bus = place.open().await;
    let anna = eager(bus.builder("anna")).connect().await.expect("the broker is there");
    bus.freeze().await;
    let mut send = anna.send("anna", "").qos(QoS::Processed);
    let mut subscribe = anna.subscribe("light");
    assert!(poll_once(&mut send).is_pending() && poll_once(&mut subscribe).is_pending());
    bus.kill();
    assert_eq!((send.await, subscribe.await), (DISCONNECTED, DISCONNECTED));
}

async fn a_recv_outlives_the_loss(place: Place) {
    let mut bus = place.open().await;
    let anna = eager(bus.builder("anna")).connect().await.expect("the broker is there");
    let waiting = anna.clone();
    let waiting = tokio::spawn(async move { next_text(&waiting).await });
    replace(&mut bus, &[&anna]).await;
    let bert = bus.client("bert").await;
    bert.send("anna", "at last").qos(QoS::Processed).await.expect("anna is there");
    assert_eq!(waiting.await.expect("no task panics"), "at last");
}

async fn what_arrived_before_the_loss_is_received_after_it(place: Place) {
    let mut bus = place.open().await;
    let anna = eager(bus.builder("anna")).connect().await.expect("the broker is there");
    for number in 0..10 {
        anna.send("anna", number.to_string()).qos(QoS::Processed).await.expect("it reaches itself");
    }
    replace(&mut bus, &[&anna]).await;
    for number in 0..10 {
        assert_eq!(next_text(&anna).await, number.to_string());
    }
    expect_nothing(&anna).await;
}

async fn a_client_comes_back_as_often_as_the_broker_goes(place: Place) {
    let mut bus = place.open().await;
    let anna = eager(bus.builder("anna")).connect().await.expect("the broker is there");
    let bert = eager(bus.builder("bert")).connect().await.expect("the broker is there");
    for round in 0..5 {
        replace(&mut bus, &[&anna, &bert]).await;
        let text = format!("round {round}");
        anna.send("bert", &text).qos(QoS::Processed).await.expect("bert is there");
        expect_message(&bert, "anna", &text).await;
    }
}

async fn a_close_ends_the_attempts(place: Place) {
    let mut bus = place.open().await;
    let anna = eager(bus.builder("anna")).connect().await.expect("the broker is there");
    bus.kill();
    lost(&mut anna.state()).await;
    anna.close().await;
    assert_eq!(expect_closed(&anna).await, "closed by this client");
    assert!(anna.recv().await.is_none());
    bus.process_mut().start_again();
    bus.wait_until_gone("anna").await;
}

async fn a_drop_ends_the_attempts(place: Place) {
    let mut bus = place.open().await;
    let anna = eager(bus.builder("anna")).connect().await.expect("the broker is there");
    let mut state = anna.state();
    bus.kill();
    lost(&mut state).await;
    drop(anna);
    // The last task of the connection takes the sender of states with it.
    until(|| state.has_changed().is_err()).await;
    assert!(matches!(*state.borrow(), ConnectionState::Closed { .. }));
}

async fn without_being_asked_a_client_does_not_come_back(place: Place) {
    let mut bus = place.open().await;
    let anna = bus.client("anna").await;
    bus.kill();
    expect_closed(&anna).await;
    bus.process_mut().start_again();
    assert_eq!(anna.publish("light", "on").await, DISCONNECTED);
    bus.wait_until_gone("anna").await;
}

async fn attempts_that_fail_in_any_way_are_made_again() {
    let broker = FakeBroker::start();
    let (client, peer) = broker.connect(eager(broker.builder("anna"))).await;
    drop(peer);
    // A broker that is about to end, no broker at all, and one where the name is not free yet.
    drop(broker.accept_silently().await);
    broker.accept_silently().await.write(b"HTTP/1.1 503 Service Unavailable\r\n").await;
    for _ in 0..3 {
        let mut peer = broker.accept_silently().await;
        peer.write(&[0xEB, 1, 0, code::OK]).await;
        peer.expect_hello().await;
        peer.expect_name().await;
        peer.write(&[code::BUSY]).await;
    }
    let peer = broker.accept().await;
    back(&mut client.state()).await;
    assert_eq!((peer.name.as_str(), client.publish("light", "on").await), ("anna", Ok(())));
}

/// A client that has lost its connection and is amid an attempt: the new one is accepted, and not greeted yet.
async fn amid_an_attempt(broker: &FakeBroker) -> (Client, crate::fake_broker::FakePeer) {
    let (client, peer) = broker.connect(eager(broker.builder("anna"))).await;
    drop(peer);
    let attempt = broker.accept_silently().await;
    (client, attempt)
}

async fn a_close_amid_an_attempt_leaves_no_connection() {
    let broker = FakeBroker::start();
    let (client, attempt) = amid_an_attempt(&broker).await;
    client.close().await;
    expect_abandoned(attempt).await;
    assert_eq!(expect_closed(&client).await, "closed by this client");
    assert_eq!(client.publish("light", "on").await, DISCONNECTED);
}

async fn a_drop_amid_an_attempt_leaves_no_connection() {
    let broker = FakeBroker::start();
    let (client, attempt) = amid_an_attempt(&broker).await;
    let state = client.state();
    drop(client);
    expect_abandoned(attempt).await;
    until(|| state.has_changed().is_err()).await;
    assert!(matches!(*state.borrow(), ConnectionState::Closed { .. }));
}

/// Whatever the client still says in its handshake, it goes.
async fn expect_abandoned(mut attempt: crate::fake_broker::FakePeer) {
    let _ = attempt.try_write(&[0xEB, 1, 0, code::OK, code::OK]).await;
    attempt.expect_end().await;
}

async fn a_confirmation_of_the_new_connection_is_not_taken_for_one_of_the_old() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(eager(broker.builder("anna"))).await;
    let old = client.send("bert", "old").qos(QoS::Processed).enqueue().await.expect("it is accepted");
    let old_number = peer.expect_frame().await.op_id;
    drop(peer);
    assert_eq!(old.await, DISCONNECTED);
    let mut peer = broker.accept().await;
    back(&mut client.state()).await;
    let (new, ()) = tokio::join!(client.send("bert", "new").qos(QoS::Processed), async {
        let frame = peer.expect_frame().await;
        assert_eq!(frame.body, b"bert\0new");
        peer.acknowledge(old_number, code::NOT_REGISTERED).await;
        peer.acknowledge(frame.op_id, code::OK).await;
    });
    assert_eq!(new, Ok(()));
}

async fn connections_that_do_not_last_are_no_reason_to_hurry() {
    let broker = FakeBroker::start();
    let reconnect = Reconnect { first_delay: Duration::from_millis(10), max_delay: Duration::from_secs(10) };
    let (_client, peer) = broker.connect(broker.builder("anna").reconnect(reconnect)).await;
    drop(peer);
    for _ in 0..5 {
        drop(broker.accept().await);
    }
    let since = std::time::Instant::now();
    drop(broker.accept().await);
    assert!(since.elapsed() >= Duration::from_millis(160), "{:?}: the sixth delay is 320 ms", since.elapsed());
}

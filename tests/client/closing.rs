//! Flushing and closing.

use busway::client::ConnectionState;
use busway::{Client, QoS};

use crate::bus::Place;
use crate::expectations::{
    DISCONNECTED, expect_closed, expect_nothing, next_text, poll_once, until, wait_on_this_thread,
};
use crate::fake_broker::FakeBroker;
use crate::promises::promises;

promises! {
    everywhere {
        what_was_published_before_a_close_arrives
        a_flush_returns_and_the_client_goes_on
        a_close_by_one_clone_ends_the_others
        a_close_ends_those_who_wait_for_frames
        what_arrived_before_a_close_can_still_be_received
        the_state_says_who_closed
        closing_twice_is_no_harm
        a_closed_client_gives_its_name_back
        everything_fails_after_a_close
        a_client_can_be_closed_without_a_runtime
    }
    over_sockets {
        a_flush_waits_until_the_system_has_everything
        a_close_waits_until_the_system_has_everything
    }
    alone {
        a_close_ends_while_the_broker_reads_nothing
        a_flush_and_a_close_end_amid_a_flood_and_lose_nothing
        the_reason_of_a_close_stays
    }
}

async fn what_was_published_before_a_close_arrives(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    for number in 0..1_000 {
        anna.send("bert", number.to_string()).await.expect("it is accepted");
    }
    anna.close().await;
    for number in 0..1_000 {
        assert_eq!(next_text(&bert).await, number.to_string());
    }
}

async fn a_flush_returns_and_the_client_goes_on(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    assert_eq!(anna.flush().await, Ok(()), "with nothing to do");
    for round in 0..20 {
        for number in 0..50 {
            anna.send("bert", format!("{round} {number}")).await.expect("it is accepted");
        }
        assert_eq!(anna.flush().await, Ok(()));
    }
    for round in 0..20 {
        for number in 0..50 {
            assert_eq!(next_text(&bert).await, format!("{round} {number}"));
        }
    }
}

async fn a_close_by_one_clone_ends_the_others(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    let (other, third) = (anna.clone(), anna.clone());
    anna.close().await;
    for clone in [&anna, &other, &third] {
        assert!(!clone.is_connected());
        assert_eq!(clone.publish("light", "on").await, DISCONNECTED);
        assert!(clone.recv().await.is_none());
        assert!(clone.try_recv().is_none());
    }
}

async fn a_close_ends_those_who_wait_for_frames(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let anna = anna.clone();
            tokio::spawn(async move { anna.recv().await.is_none() })
        })
        .collect();
    tokio::task::yield_now().await;
    anna.close().await;
    for task in waiting {
        assert!(task.await.expect("no task panics"));
    }
}

async fn what_arrived_before_a_close_can_still_be_received(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    for number in 0..10 {
        anna.send("anna", number.to_string()).qos(QoS::Processed).await.expect("it reaches itself");
    }
    anna.close().await;
    for number in 0..10 {
        assert_eq!(next_text(&anna).await, number.to_string());
    }
    assert!(anna.recv().await.is_none());
}

async fn the_state_says_who_closed(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    let mut state = anna.state();
    assert_eq!(*state.borrow_and_update(), ConnectionState::Connected);
    anna.close().await;
    state.changed().await.expect("the client is there");
    assert_eq!(expect_closed(&anna).await, "closed by this client");
}

async fn closing_twice_is_no_harm(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    tokio::join!(anna.close(), anna.close());
    anna.close().await;
    drop(anna);
    let anna = bus.successor("anna").await;
    expect_nothing(&anna).await;
}

async fn a_closed_client_gives_its_name_back(place: Place) {
    let bus = place.open().await;
    let mut closed: Vec<Client> = Vec::new();
    for _ in 0..20 {
        let anna = bus.successor("anna").await;
        anna.close().await;
        // Closed is closed, also while the value lives on.
        closed.push(anna);
    }
}

async fn everything_fails_after_a_close(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    anna.close().await;
    for qos in crate::expectations::EVERY_QOS {
        assert_eq!(anna.send("anna", "").qos(qos).await, DISCONNECTED);
        assert_eq!(anna.broadcast("*", "").qos(qos).await, DISCONNECTED);
        assert_eq!(anna.publish("light", "").qos(qos).await, DISCONNECTED);
        assert_eq!(anna.publish_for("light", "anna", "").qos(qos).await, DISCONNECTED);
        assert_eq!(anna.subscribe("light").qos(qos).await, DISCONNECTED);
        assert_eq!(anna.exclude("light").qos(qos).await, DISCONNECTED);
    }
    assert_eq!(anna.flush().await, DISCONNECTED);
    let error = anna.send("anna", "kept").try_enqueue().expect_err("it is closed");
    assert_eq!(error.payload.as_slice(), b"kept");
}

/// More than sockets take while nobody reads.
async fn fill(client: &Client) {
    for number in 0..32_u8 {
        client.publish("bulk", vec![number; 1 << 20]).await.expect("it is accepted");
    }
}

async fn a_flush_waits_until_the_system_has_everything(place: Place) {
    let bus = place.open().await;
    let (anna, receiver) = (bus.client("anna").await, bus.subscriber("receiver", &["bulk"]).await);
    bus.freeze().await;
    fill(&anna).await;
    let mut flush = Box::pin(anna.flush());
    assert!(poll_once(&mut flush).is_pending());
    bus.thaw();
    assert_eq!(flush.await, Ok(()));
    for number in 0..32_u8 {
        assert_eq!(receiver.recv().await.expect("it comes").payload()[0], number);
    }
}

async fn a_close_waits_until_the_system_has_everything(place: Place) {
    let bus = place.open().await;
    let (anna, receiver) = (bus.client("anna").await, bus.subscriber("receiver", &["bulk"]).await);
    bus.freeze().await;
    fill(&anna).await;
    let mut close = Box::pin(anna.close());
    assert!(poll_once(&mut close).is_pending());
    bus.thaw();
    close.await;
    for number in 0..32_u8 {
        assert_eq!(receiver.recv().await.expect("it comes").payload()[0], number);
    }
}

async fn a_close_ends_while_the_broker_reads_nothing() {
    let broker = FakeBroker::start();
    // Time to connect in, too.
    let timeout = std::time::Duration::from_secs(2);
    let (client, _peer) = broker.connect(broker.builder("anna").timeout(timeout)).await;
    fill(&client).await;
    client.close().await;
    assert_eq!(expect_closed(&client).await, "closed by this client");
}

async fn the_reason_of_a_close_stays() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(broker.builder("anna")).await;
    let state = client.state();
    client.publish("light", "last").await.expect("it is accepted");
    tokio::join!(client.close(), async {
        assert_eq!(peer.expect_frame().await.body, b"light\0last");
        assert_eq!(peer.receive().await, None);
        drop(peer);
    });
    drop(client);
    // The sender of states goes with the last task of the connection: nothing comes after that.
    until(|| state.has_changed().is_err()).await;
    assert_eq!(*state.borrow(), ConnectionState::Closed { reason: "closed by this client".into() });
}

async fn a_flush_and_a_close_end_amid_a_flood_and_lose_nothing() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(broker.builder("anna")).await;
    let reading = tokio::spawn(async move { peer.sip().await });
    let flooder = client.clone();
    let flooding = tokio::spawn(async move {
        let mut accepted = 0;
        while flooder.publish("topic", vec![7; 1_000]).await.is_ok() {
            accepted += 1;
        }
        accepted
    });
    // Until its queue is full, or nearly so.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(client.flush().await, Ok(()));
    client.close().await;
    let accepted: usize = flooding.await.expect("no task panics");
    let beside = reading.await.expect("no task panics") - accepted * (9 + 6 + 1_000);
    assert_eq!(beside % 9, 0, "nothing but pings is beside what was accepted");
}

async fn a_client_can_be_closed_without_a_runtime(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    anna.publish("light", "on").await.expect("it is accepted");
    let closed = tokio::task::spawn_blocking(move || {
        std::thread::spawn(move || {
            wait_on_this_thread(anna.close());
            anna.is_connected()
        })
        .join()
    });
    let is_connected = closed.await.expect("no task panics");
    assert!(!is_connected.expect("it does not panic"));
    bus.wait_until_gone("anna").await;
}

//! A client that has nothing to say stays connected.

use std::time::Duration;

use busway::QoS;
use busway::client::Builder;

use crate::bus::{Bus, Place};
use crate::expectations::{expect_message, expect_nothing, expect_publication};
use crate::fake_broker::FakeBroker;
use crate::promises::promises;
use crate::support::code;

promises! {
    over_sockets {
        an_idle_client_outlives_the_broker_s_timeout
        an_idle_subscriber_outlives_the_broker_s_timeout
        a_client_whose_frames_nobody_takes_outlives_the_broker_s_timeout
    }
    alone {
        pings_go_on_for_ever
        an_interval_of_nothing_is_no_reason_to_panic
        an_interval_without_end_is_no_reason_to_panic
    }
}

/// A broker that drops clients which are silent for a second and a quarter.
fn impatient(place: Place) -> Bus {
    place.start_with(&["-t", "1"])
}

/// Often enough that a loaded machine is not taken for a silent client.
fn chatty(builder: Builder) -> Builder {
    builder.keep_alive(Duration::from_millis(100))
}

/// Time passes by the broker's own clock: one after the other, three silent clients are dropped.
async fn outlive(bus: &Bus) {
    for number in 0..3 {
        let mut silent = bus.process().peer(&format!("silent {number}"));
        tokio::task::spawn_blocking(move || silent.drain()).await.expect("it is dropped");
    }
}

async fn an_idle_client_outlives_the_broker_s_timeout(place: Place) {
    let bus = impatient(place);
    let anna = chatty(bus.builder("anna")).connect().await.expect("the broker is there");
    outlive(&bus).await;
    assert!(anna.is_connected());
    anna.send("anna", "still here").await.expect("it is accepted");
    expect_message(&anna, "anna", "still here").await;
}

async fn an_idle_subscriber_outlives_the_broker_s_timeout(place: Place) {
    let bus = impatient(place);
    let anna = chatty(bus.builder("anna")).connect().await.expect("the broker is there");
    anna.subscribe("light").await.expect("it is confirmed");
    outlive(&bus).await;
    let bert = bus.client("bert").await;
    bert.publish("light", "on").qos(QoS::Processed).await.expect("it is confirmed");
    expect_publication(&anna, "bert", "light", "on").await;
    expect_nothing(&anna).await;
}

async fn a_client_whose_frames_nobody_takes_outlives_the_broker_s_timeout(place: Place) {
    let bus = impatient(place);
    let anna = chatty(bus.builder("anna")).receive_queue(1, 1).connect().await.expect("the broker is there");
    anna.subscribe("#").await.expect("it is confirmed");
    let bert = chatty(bus.builder("bert")).connect().await.expect("the broker is there");
    for _ in 0..100 {
        bert.publish("light", "on").await.expect("it is accepted");
    }
    outlive(&bus).await;
    assert!(anna.is_connected() && bert.is_connected());
}

async fn pings_go_on_for_ever() {
    let broker = FakeBroker::start();
    let builder = broker.builder("anna").keep_alive(Duration::from_millis(1));
    let (_client, mut peer) = broker.connect(builder).await;
    for _ in 0..50 {
        peer.expect_ping().await;
    }
}

async fn an_interval_of_nothing_is_no_reason_to_panic() {
    let broker = FakeBroker::start();
    let builder = broker.builder("anna").keep_alive(Duration::ZERO);
    let (client, mut peer) = broker.connect(builder).await;
    peer.expect_ping().await;
    // What keeps the connection alive also writes what callers leave behind.
    client.publish("light", "on").await.expect("it is accepted");
    assert_eq!(peer.expect_frame().await.body, b"light\0on");
}

async fn an_interval_without_end_is_no_reason_to_panic() {
    let broker = FakeBroker::start();
    let builder = broker.builder("anna").keep_alive(Duration::MAX).timeout(Duration::MAX);
    let (client, mut peer) = broker.connect(builder).await;
    let (answer, ()) = tokio::join!(client.publish("light", "on").qos(QoS::Processed), async {
        let frame = peer.expect_frame().await;
        peer.acknowledge(frame.op_id, code::OK).await;
    });
    assert_eq!(answer, Ok(()));
    client.publish("light", "off").await.expect("it is accepted");
    assert_eq!(peer.expect_frame().await.body, b"light\0off");
}

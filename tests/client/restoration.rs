//! What a client has asked for is asked for again when it comes back: that, and nothing it has taken back.

use busway::{Client, QoS};

use crate::bus::{Bus, Place};
use crate::expectations::{expect_nothing, expect_publication, settle};
use crate::fake_broker::FakeBroker;
use crate::promises::promises;
use crate::reconnection::{back, eager, replace};
use crate::support::{code, operation};

promises! {
    over_sockets {
        subscriptions_are_restored
        exclusions_are_restored
        what_was_taken_back_is_not_restored
        filters_asked_for_without_confirmation_are_restored
        thousands_of_filters_are_restored
        restored_filters_can_be_taken_back
        filters_are_restored_as_often_as_the_broker_goes
    }
    alone {
        what_the_broker_refused_is_not_restored
        exclusions_are_restored_before_subscriptions
        a_request_dropped_before_its_confirmation_counts_once_it_is_sent
    }
}

async fn reconnecting(bus: &Bus) -> Client {
    eager(bus.builder("anna")).connect().await.expect("the broker is there")
}

/// Another broker takes over; whatever is restored has been dealt with afterwards.
async fn restore(bus: &mut Bus, anna: &Client) -> Client {
    replace(bus, &[anna]).await;
    settle(anna).await;
    bus.client("bert").await
}

async fn publish(bert: &Client, topic: &str) {
    bert.publish(topic, topic).qos(QoS::Processed).await.expect("it is confirmed");
}

async fn subscriptions_are_restored(place: Place) {
    let mut bus = place.open().await;
    let anna = reconnecting(&bus).await;
    anna.subscribe("light/#").await.expect("it is confirmed");
    anna.subscribe(["sound", ""]).await.expect("it is confirmed");
    let bert = restore(&mut bus, &anna).await;
    for topic in ["light/level", "sound", ""] {
        publish(&bert, topic).await;
        expect_publication(&anna, "bert", topic, topic).await;
    }
    publish(&bert, "dark").await;
    expect_nothing(&anna).await;
}

async fn exclusions_are_restored(place: Place) {
    let mut bus = place.open().await;
    let anna = reconnecting(&bus).await;
    anna.subscribe("#").await.expect("it is confirmed");
    anna.exclude(["private/#", ".broker/#"]).await.expect("it is confirmed");
    let bert = restore(&mut bus, &anna).await;
    publish(&bert, "private/diary").await;
    publish(&bert, "public").await;
    expect_publication(&anna, "bert", "public", "public").await;
    expect_nothing(&anna).await;
}

async fn what_was_taken_back_is_not_restored(place: Place) {
    let mut bus = place.open().await;
    let anna = reconnecting(&bus).await;
    anna.subscribe(["a", "b", "c"]).await.expect("it is confirmed");
    anna.unsubscribe(["a", "b"]).await.expect("it is confirmed");
    anna.exclude(["b", "c"]).await.expect("it is confirmed");
    anna.unexclude(["b", "c"]).await.expect("it is confirmed");
    anna.subscribe("b").await.expect("it is confirmed");
    let bert = restore(&mut bus, &anna).await;
    for topic in ["a", "b", "c"] {
        publish(&bert, topic).await;
    }
    expect_publication(&anna, "bert", "b", "b").await;
    expect_publication(&anna, "bert", "c", "c").await;
    expect_nothing(&anna).await;
}

async fn filters_asked_for_without_confirmation_are_restored(place: Place) {
    let mut bus = place.open().await;
    let anna = reconnecting(&bus).await;
    anna.subscribe(["light", "sound"]).qos(QoS::No).await.expect("it is accepted");
    anna.unsubscribe("sound").qos(QoS::Realtime).await.expect("it is accepted");
    let bert = restore(&mut bus, &anna).await;
    publish(&bert, "light").await;
    publish(&bert, "sound").await;
    expect_publication(&anna, "bert", "light", "light").await;
    expect_nothing(&anna).await;
}

async fn thousands_of_filters_are_restored(place: Place) {
    let mut bus = place.open().await;
    let anna = reconnecting(&bus).await;
    let topics: Vec<String> = (0..3_000).map(|number| format!("sensor/{number}")).collect();
    anna.subscribe(&topics).await.expect("it is confirmed");
    let bert = restore(&mut bus, &anna).await;
    for topic in &topics {
        bert.publish(topic, topic).await.expect("it is accepted");
    }
    for topic in &topics {
        expect_publication(&anna, "bert", topic, topic).await;
    }
}

async fn restored_filters_can_be_taken_back(place: Place) {
    let mut bus = place.open().await;
    let anna = reconnecting(&bus).await;
    anna.subscribe(["light", "sound"]).await.expect("it is confirmed");
    let bert = restore(&mut bus, &anna).await;
    anna.unsubscribe("light").await.expect("it is confirmed");
    publish(&bert, "light").await;
    publish(&bert, "sound").await;
    expect_publication(&anna, "bert", "sound", "sound").await;
    expect_nothing(&anna).await;
}

async fn filters_are_restored_as_often_as_the_broker_goes(place: Place) {
    let mut bus = place.open().await;
    let anna = reconnecting(&bus).await;
    let mut topics = Vec::new();
    for round in 0..4 {
        let topic = format!("round/{round}");
        anna.subscribe(&topic).await.expect("it is confirmed");
        topics.push(topic);
        let bert = restore(&mut bus, &anna).await;
        for topic in &topics {
            publish(&bert, topic).await;
            expect_publication(&anna, "bert", topic, topic).await;
        }
    }
}

/// The filters with which a client comes back: operation and body of each frame.
async fn restored(broker: &FakeBroker, client: &Client) -> Vec<(u8, String)> {
    let mut peer = broker.accept().await;
    back(&mut client.state()).await;
    client.publish("end", "").await.expect("it is connected");
    let mut frames = Vec::new();
    loop {
        let frame = peer.expect_frame().await;
        if frame.operation == operation::PUBLISH {
            return frames;
        }
        frames.push((frame.operation, String::from_utf8(frame.body).expect("filters are text")));
    }
}

async fn what_the_broker_refused_is_not_restored() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(eager(broker.builder("anna"))).await;
    for (filter, code) in [("refused", code::DATA), ("taken", code::OK)] {
        let (answer, ()) = tokio::join!(client.subscribe(filter), async {
            let frame = peer.expect_frame().await;
            peer.acknowledge(frame.op_id, code).await;
        });
        assert_eq!(answer.is_ok(), code == code::OK);
    }
    drop(peer);
    assert_eq!(restored(&broker, &client).await, [(operation::SUBSCRIBE, "taken".to_owned())]);
}

async fn exclusions_are_restored_before_subscriptions() {
    let broker = FakeBroker::start();
    let (client, peer) = broker.connect(eager(broker.builder("anna"))).await;
    client.subscribe(["b", "a"]).qos(QoS::No).await.expect("it is accepted");
    client.exclude(["d", "c"]).qos(QoS::No).await.expect("it is accepted");
    drop(peer);
    // What is excluded must not slip through in between.
    let expected = [(operation::EXCLUDE, "c\0d".to_owned()), (operation::SUBSCRIBE, "a\0b".to_owned())];
    assert_eq!(restored(&broker, &client).await, expected);
}

async fn a_request_dropped_before_its_confirmation_counts_once_it_is_sent() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(eager(broker.builder("anna"))).await;
    client.subscribe(["stays", "goes"]).qos(QoS::No).await.expect("it is accepted");
    for request in [client.unsubscribe("goes"), client.subscribe("comes")] {
        let mut request = request;
        // Sent with the first look; nobody looks a second time.
        assert!(crate::expectations::poll_once(&mut request).is_pending());
    }
    for _ in 0..3 {
        let frame = peer.expect_frame().await;
        peer.acknowledge(frame.op_id, code::OK).await;
    }
    settle_with(&client, &mut peer).await;
    drop(peer);
    assert_eq!(restored(&broker, &client).await, [(operation::SUBSCRIBE, "comes\0stays".to_owned())]);
}

/// Everything before this has been read by the client.
async fn settle_with(client: &Client, peer: &mut crate::fake_broker::FakePeer) {
    let (answer, ()) = tokio::join!(client.publish("settle", "").qos(QoS::Processed), async {
        let frame = peer.expect_frame().await;
        peer.acknowledge(frame.op_id, code::OK).await;
    });
    assert_eq!(answer, Ok(()));
}

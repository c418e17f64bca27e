//! Publications, to all subscribers or to one.

use busway::{FrameKind, QoS};

use crate::Client;
use crate::bus::Place;
use crate::expectations::{EVERY_QOS, expect_nothing, expect_publication, next, next_text};
use crate::promises::promises;

promises! {
    everywhere {
        a_publication_reaches_every_subscriber_with_every_qos
        a_publication_to_nobody_is_confirmed
        a_publisher_that_has_subscribed_hears_itself
        publications_keep_their_order_across_topics
        messages_and_publications_of_one_sender_keep_their_order
        a_publication_for_one_reaches_it_alone
        a_publication_for_one_that_has_not_subscribed_is_confirmed_and_lost
        a_publication_for_one_reaches_its_secondaries
        a_burst_that_nobody_awaits_arrives_whole
    }
}

async fn a_publication_reaches_every_subscriber_with_every_qos(place: Place) {
    let bus = place.open().await;
    let publisher = bus.client("publisher").await;
    let mut subscribers = Vec::new();
    for number in 0..5 {
        subscribers.push(bus.subscriber(&format!("subscriber.{number}"), &["light/+"]).await);
    }
    for qos in EVERY_QOS {
        publisher.publish("light/level", "87").qos(qos).await.expect("it is accepted");
        for subscriber in &subscribers {
            let frame = expect_publication(subscriber, "publisher", "light/level", "87").await;
            assert_eq!(frame.is_realtime(), qos.is_realtime(), "{qos:?}");
        }
    }
    expect_nothing(&publisher).await;
}

async fn a_publication_to_nobody_is_confirmed(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    assert_eq!(anna.publish("light", "on").qos(QoS::Processed).await, Ok(()));
    assert_eq!(anna.publish("", "").qos(QoS::RealtimeProcessed).await, Ok(()));
    expect_nothing(&anna).await;
}

async fn a_publisher_that_has_subscribed_hears_itself(place: Place) {
    let bus = place.open().await;
    let anna = bus.subscriber("anna", &["#"]).await;
    anna.publish("light", "on").await.expect("it is accepted");
    expect_publication(&anna, "anna", "light", "on").await;
}

async fn publications_keep_their_order_across_topics(place: Place) {
    let bus = place.open().await;
    let (publisher, subscriber) = (bus.client("publisher").await, bus.subscriber("subscriber", &["#"]).await);
    for number in 0..1_000 {
        let topic = format!("topic/{}", number % 7);
        publisher.publish(&topic, number.to_string()).await.expect("it is accepted");
    }
    for number in 0..1_000 {
        assert_eq!(next_text(&subscriber).await, number.to_string());
    }
}

async fn messages_and_publications_of_one_sender_keep_their_order(place: Place) {
    let bus = place.open().await;
    let (sender, receiver) = (bus.client("sender").await, bus.subscriber("group.receiver", &["topic"]).await);
    for number in 0..300 {
        let payload = number.to_string();
        let operation = match number % 3 {
            0 => sender.send("group.receiver", payload),
            1 => sender.publish("topic", payload),
            _ => sender.broadcast("group.*", payload),
        };
        operation.await.expect("it is accepted");
    }
    for number in 0..300 {
        let kinds = [FrameKind::Message, FrameKind::Publication, FrameKind::Broadcast];
        let frame = next(&receiver).await;
        assert_eq!(frame.payload().as_slice(), number.to_string().as_bytes());
        assert_eq!(frame.kind(), kinds[number % 3]);
    }
}

/// Two subscribers of the same topic, and a publisher.
async fn trio(bus: &crate::bus::Bus) -> [Client; 3] {
    [
        bus.client("publisher").await,
        bus.subscriber("anna", &["light/#"]).await,
        bus.subscriber("bert", &["light/#"]).await,
    ]
}

async fn a_publication_for_one_reaches_it_alone(place: Place) {
    let bus = place.open().await;
    let [publisher, anna, bert] = trio(&bus).await;
    for qos in EVERY_QOS {
        publisher.publish_for("light/level", "anna", "87").qos(qos).await.expect("it is accepted");
        let frame = expect_publication(&anna, "publisher", "light/level", "87").await;
        assert_eq!(frame.is_realtime(), qos.is_realtime(), "{qos:?}");
    }
    expect_nothing(&bert).await;
    expect_nothing(&publisher).await;
}

async fn a_publication_for_one_that_has_not_subscribed_is_confirmed_and_lost(place: Place) {
    let bus = place.open().await;
    let [publisher, anna, _] = trio(&bus).await;
    assert_eq!(publisher.publish_for("dark", "anna", "").qos(QoS::Processed).await, Ok(()));
    assert_eq!(publisher.publish_for("light/level", "nobody", "").qos(QoS::Processed).await, Ok(()));
    expect_nothing(&anna).await;
}

async fn a_publication_for_one_reaches_its_secondaries(place: Place) {
    let bus = place.open().await;
    let [publisher, anna, bert] = trio(&bus).await;
    let second = bus.subscriber("anna%%2", &["light/level"]).await;
    let deaf = bus.client("anna%%3").await;
    publisher.publish_for("light/level", "anna", "87").qos(QoS::Processed).await.expect("it is confirmed");
    expect_publication(&anna, "publisher", "light/level", "87").await;
    expect_publication(&second, "publisher", "light/level", "87").await;
    expect_nothing(&deaf).await;
    expect_nothing(&bert).await;
}

async fn a_burst_that_nobody_awaits_arrives_whole(place: Place) {
    let bus = place.open().await;
    let (publisher, subscriber) = (bus.client("publisher").await, bus.subscriber("subscriber", &["burst"]).await);
    // No task switch in between: what was accepted goes out when this task waits.
    for number in 0..2_000 {
        publisher.publish("burst", number.to_string()).try_enqueue().expect("the queue has room");
    }
    for number in 0..2_000 {
        assert_eq!(next_text(&subscriber).await, number.to_string());
    }
}

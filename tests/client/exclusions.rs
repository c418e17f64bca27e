//! What a client keeps away from itself.

use busway::QoS;

use crate::bus::Place;
use crate::expectations::{EVERY_QOS, expect_nothing, expect_publication, settle};
use crate::promises::promises;

promises! {
    everywhere {
        what_is_excluded_does_not_arrive
        an_exclusion_outlives_every_subscription
        several_topics_are_excluded_and_given_back_at_once
        exclusions_change_with_every_qos
        an_exclusion_is_its_client_s_own
        messages_and_broadcasts_are_never_excluded
    }
}

async fn what_is_excluded_does_not_arrive(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.subscriber("anna", &["light/#"]).await, bus.client("bert").await);
    anna.exclude("light/private/#").await.expect("it is confirmed");
    bert.publish("light/private/a", "hidden").qos(QoS::Processed).await.expect("it is confirmed");
    bert.publish("light/public", "seen").qos(QoS::Processed).await.expect("it is confirmed");
    expect_publication(&anna, "bert", "light/public", "seen").await;
    anna.unexclude("light/private/#").await.expect("it is confirmed");
    bert.publish("light/private/a", "seen now").await.expect("it is accepted");
    expect_publication(&anna, "bert", "light/private/a", "seen now").await;
}

async fn an_exclusion_outlives_every_subscription(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    anna.exclude("light").await.expect("it is confirmed");
    anna.subscribe(["light", "#"]).await.expect("it is confirmed");
    bert.publish("light", "hidden").qos(QoS::Processed).await.expect("it is confirmed");
    expect_nothing(&anna).await;
    anna.unsubscribe(["light", "#"]).await.expect("it is confirmed");
    anna.subscribe("light").await.expect("it is confirmed");
    bert.publish("light", "hidden").qos(QoS::Processed).await.expect("it is confirmed");
    expect_nothing(&anna).await;
}

async fn several_topics_are_excluded_and_given_back_at_once(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.subscriber("anna", &["+"]).await, bus.client("bert").await);
    anna.exclude(["a", "b", "c"]).await.expect("it is confirmed");
    anna.unexclude(&vec!["a".to_owned(), "c".to_owned()]).await.expect("it is confirmed");
    for topic in ["a", "b", "c", "d"] {
        bert.publish(topic, topic).qos(QoS::Processed).await.expect("it is confirmed");
    }
    for topic in ["a", "c", "d"] {
        expect_publication(&anna, "bert", topic, topic).await;
    }
    expect_nothing(&anna).await;
}

async fn exclusions_change_with_every_qos(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.subscriber("anna", &["light"]).await, bus.client("bert").await);
    for qos in EVERY_QOS {
        anna.exclude("light").qos(qos).await.expect("it is accepted");
        settle(&anna).await;
        bert.publish("light", "hidden").qos(QoS::Processed).await.expect("it is confirmed");
        expect_nothing(&anna).await;
        anna.unexclude("light").qos(qos).await.expect("it is accepted");
        settle(&anna).await;
        bert.publish("light", "seen").qos(QoS::Processed).await.expect("it is confirmed");
        expect_publication(&anna, "bert", "light", "seen").await;
    }
}

async fn an_exclusion_is_its_client_s_own(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.subscriber("anna", &["light"]).await, bus.subscriber("bert", &["light"]).await);
    anna.exclude("light").await.expect("it is confirmed");
    bert.publish("light", "on").qos(QoS::Processed).await.expect("it is confirmed");
    expect_publication(&bert, "bert", "light", "on").await;
    expect_nothing(&anna).await;
}

async fn messages_and_broadcasts_are_never_excluded(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    anna.exclude(["#", "anna", "bert"]).await.expect("it is confirmed");
    bert.send("anna", "message").qos(QoS::Processed).await.expect("anna is there");
    bert.broadcast("ann?", "to nobody").qos(QoS::Processed).await.expect("it is confirmed");
    bert.broadcast("anna", "broadcast").qos(QoS::Processed).await.expect("it is confirmed");
    for text in ["message", "broadcast"] {
        assert_eq!(crate::expectations::next_text(&anna).await, text);
    }
    expect_nothing(&anna).await;
}

//! What a client hears: subscribing and unsubscribing, one filter or several.

use busway::QoS;
use busway::client::SendError;

use crate::Client;
use crate::bus::{Bus, Place};
use crate::expectations::{EVERY_QOS, expect_nothing, expect_publication, next_text, settle};
use crate::promises::promises;

promises! {
    everywhere {
        without_a_subscription_nothing_is_heard
        one_filter_is_taken_as_text
        several_filters_are_taken_as_arrays_slices_and_vectors
        no_filter_at_all_is_no_request
        wildcards_match_levels
        what_is_unsubscribed_is_heard_no_longer
        several_filters_are_taken_back_at_once
        unsubscribing_what_was_never_subscribed_is_no_error
        filters_change_with_every_qos
        overlapping_filters_bring_one_copy
        a_filter_subscribed_twice_is_gone_when_unsubscribed_once
        thousands_of_filters_are_taken_in_one_request
        what_follows_thousands_of_filters_finds_them_changed
        subscriptions_of_many_tasks_all_count
    }
}

/// What of these topics a client hears, in the order in which they are published.
async fn heard(bus: &Bus, client: &Client, topics: &[&str]) -> Vec<String> {
    let publisher = bus.successor("publisher of topics").await;
    for topic in topics {
        publisher.publish(topic, *topic).qos(QoS::Processed).await.expect("it is confirmed");
    }
    client.send(client.name(), "the end").qos(QoS::Processed).await.expect("it reaches itself");
    let mut heard = Vec::new();
    loop {
        match next_text(client).await {
            end if end == "the end" => break,
            topic => heard.push(topic),
        }
    }
    heard
}

async fn without_a_subscription_nothing_is_heard(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    assert!(heard(&bus, &anna, &["light", "anna", ""]).await.is_empty());
}

async fn one_filter_is_taken_as_text(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    anna.subscribe("light").await.expect("it is confirmed");
    anna.subscribe(&"sound".to_owned()).await.expect("it is confirmed");
    assert_eq!(heard(&bus, &anna, &["light", "sound", "dark"]).await, ["light", "sound"]);
}

async fn several_filters_are_taken_as_arrays_slices_and_vectors(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    anna.subscribe(["a", "b"]).await.expect("it is confirmed");
    anna.subscribe(&["c".to_owned(), "d".to_owned()]).await.expect("it is confirmed");
    anna.subscribe(&["e".to_owned(), "f".to_owned()][..]).await.expect("it is confirmed");
    anna.subscribe(&vec!["g".to_owned(), "h".to_owned()]).await.expect("it is confirmed");
    let topics = ["a", "b", "c", "d", "e", "f", "g", "h"];
    assert_eq!(heard(&bus, &anna, &[&topics[..], &["i"]].concat()).await, topics);
}

async fn no_filter_at_all_is_no_request(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    let none: [&str; 0] = [];
    assert_eq!(anna.subscribe(none).await, Ok(()));
    assert_eq!(anna.exclude(&Vec::<String>::new()).await, Ok(()));
    // An empty request would be one for the empty topic.
    assert!(heard(&bus, &anna, &["", "light"]).await.is_empty());
    anna.subscribe("").await.expect("the empty topic is one");
    assert_eq!(heard(&bus, &anna, &["", "light"]).await, [""]);
}

async fn wildcards_match_levels(place: Place) {
    let bus = place.open().await;
    let anna = bus.subscriber("anna", &["light/#", "+/level", "exact"]).await;
    let topics = ["light", "light/a", "light/a/b", "sound/level", "sound/x/level", "exact", "exact/not"];
    assert_eq!(heard(&bus, &anna, &topics).await, ["light/a", "light/a/b", "sound/level", "exact"]);
}

async fn what_is_unsubscribed_is_heard_no_longer(place: Place) {
    let bus = place.open().await;
    let anna = bus.subscriber("anna", &["light/#", "sound/#"]).await;
    anna.unsubscribe("light/#").await.expect("it is confirmed");
    assert_eq!(heard(&bus, &anna, &["light/a", "sound/a"]).await, ["sound/a"]);
}

async fn several_filters_are_taken_back_at_once(place: Place) {
    let bus = place.open().await;
    let anna = bus.subscriber("anna", &["a", "b", "c", "d"]).await;
    anna.unsubscribe(["a", "c"]).await.expect("it is confirmed");
    assert_eq!(heard(&bus, &anna, &["a", "b", "c", "d"]).await, ["b", "d"]);
}

async fn unsubscribing_what_was_never_subscribed_is_no_error(place: Place) {
    let bus = place.open().await;
    let anna = bus.subscriber("anna", &["light/+"]).await;
    assert_eq!(anna.unsubscribe(["dark", "light/#", "light"]).await, Ok(()));
    assert_eq!(heard(&bus, &anna, &["light/a"]).await, ["light/a"], "filters are taken back as they were given");
}

async fn filters_change_with_every_qos(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    for qos in EVERY_QOS {
        anna.subscribe("light").qos(qos).await.expect("it is accepted");
        settle(&anna).await;
        assert_eq!(heard(&bus, &anna, &["light"]).await, ["light"], "{qos:?}");
        anna.unsubscribe("light").qos(qos).await.expect("it is accepted");
        settle(&anna).await;
        assert!(heard(&bus, &anna, &["light"]).await.is_empty(), "{qos:?}");
    }
}

async fn overlapping_filters_bring_one_copy(place: Place) {
    let bus = place.open().await;
    let anna = bus.subscriber("anna", &["+/#", "light/#", "light/+", "light/level"]).await;
    // Of the broker's own topics only the client's coming would be heard.
    anna.exclude(".broker/#").await.expect("it is confirmed");
    assert_eq!(heard(&bus, &anna, &["light/level"]).await, ["light/level"]);
}

async fn a_filter_subscribed_twice_is_gone_when_unsubscribed_once(place: Place) {
    let bus = place.open().await;
    let anna = bus.subscriber("anna", &["light", "light"]).await;
    anna.subscribe("light").await.expect("it is confirmed");
    anna.unsubscribe("light").await.expect("it is confirmed");
    assert!(heard(&bus, &anna, &["light"]).await.is_empty());
}

async fn what_follows_thousands_of_filters_finds_them_changed(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    let topics: Vec<String> = (0..3_000).map(|number| format!("sensor/{number}")).collect();
    let last = topics.last().expect("there are some");
    anna.subscribe(&topics).qos(QoS::No).await.expect("it is accepted");
    anna.publish(last, "heard").await.expect("it is accepted");
    anna.unsubscribe(&topics).qos(QoS::No).await.expect("it is accepted");
    anna.publish(last, "not heard").await.expect("it is accepted");
    anna.send("anna", "the end").await.expect("it is accepted");
    assert_eq!([next_text(&anna).await, next_text(&anna).await], ["heard", "the end"]);
}

async fn thousands_of_filters_are_taken_in_one_request(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    let filters: Vec<String> = (0..5_000).map(|number| format!("sensor/{number}/value")).collect();
    anna.subscribe(&filters).await.expect("it is confirmed");
    assert_eq!(heard(&bus, &anna, &["sensor/0/value", "sensor/4999/value"]).await.len(), 2);
    anna.unsubscribe(&filters).await.expect("it is confirmed");
    assert!(heard(&bus, &anna, &["sensor/0/value", "sensor/4999/value"]).await.is_empty());
}

async fn subscriptions_of_many_tasks_all_count(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let anna = anna.clone();
            tokio::spawn(async move {
                let topic = format!("task/{number}");
                anna.subscribe(&topic).await?;
                if number % 2 == 0 {
                    anna.unsubscribe(&topic).await?;
                }
                Ok::<(), SendError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics").expect("it is confirmed");
    }
    let publisher = bus.client("publisher").await;
    for number in 0..16 {
        publisher.publish(&format!("task/{number}"), "on").qos(QoS::Processed).await.expect("it is confirmed");
    }
    for number in (1..16).step_by(2) {
        expect_publication(&anna, "publisher", &format!("task/{number}"), "on").await;
    }
    expect_nothing(&anna).await;
}

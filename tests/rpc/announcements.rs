//! The broker's announcements: the RPC layer listens to them for itself, and the application sees those it asked for.

use std::collections::BTreeMap;

use busway::rpc::{Methods, Rpc};
use busway::{Client, QoS};
use rmpv::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::bus::{Bus, Place};
use crate::expectations::{expect_nothing, settle};
use crate::promises::promises;
use crate::service::{FOR_EVER, Seen, echo, expect_left, expect_nobody, seen, service, silent, text};

promises! {
    everywhere {
        an_application_that_did_not_subscribe_sees_none
        an_application_that_subscribed_sees_them
        every_filter_that_brings_them_counts
        the_last_filter_taken_back_ends_them
        calls_notice_who_leaves_whatever_the_application_unsubscribes
        what_others_publish_there_moves_no_call
        a_client_outlives_its_rpc_without_them
        one_rpc_after_the_other_listens_for_itself
        calls_of_one_that_was_followed_notice_who_leaves
    }
}

/// Tells of announcements and of publications on the topic `mark`.
fn watcher(told: UnboundedSender<String>) -> Methods {
    echo().on_frame(move |_, frame| {
        let words = match frame.topic() {
            Some(".broker/info") if frame.sender() == ".broker" => {
                let event: BTreeMap<String, Value> = rmp_serde::from_slice(frame.payload()).expect("a map");
                format!("{} {}", event["s"].as_str().expect("text"), event["d"].as_str().expect("text"))
            }
            _ => text(frame.payload()),
        };
        told.send(words).expect("somebody looks");
        async {}
    })
}

/// A service that has called, so that it listens for its own part.
async fn watching(bus: &Bus) -> (Rpc, Client, Seen) {
    let (told, seen) = seen();
    let rpc = service(bus, "watcher", watcher(told)).await;
    rpc.client().subscribe("mark").await.unwrap();
    rpc.call("watcher", "echo", "").await.unwrap();
    (rpc, bus.client("sender").await, seen)
}

/// Somebody comes and goes; what is seen of it, up to a mark.
async fn visit(bus: &Bus, sender: &Client, seen: &mut Seen) -> Vec<String> {
    bus.client("visitor").await.close().await;
    bus.wait_until_gone("visitor").await;
    sender.publish("mark", "the end").qos(QoS::Processed).await.unwrap();
    let mut words = Vec::new();
    loop {
        match seen.next().await {
            end if end == "the end" => return words,
            // Whoever waits for the visitor's end comes and goes as well.
            other if other.contains("observer") || other.contains("sender") => {}
            word => words.push(word),
        }
    }
}

async fn an_application_that_did_not_subscribe_sees_none(place: Place) {
    let bus = place.open().await;
    let (_rpc, sender, mut seen) = watching(&bus).await;
    assert_eq!(visit(&bus, &sender, &mut seen).await, [""; 0]);
}

async fn an_application_that_subscribed_sees_them(place: Place) {
    let bus = place.open().await;
    let (rpc, sender, mut seen) = watching(&bus).await;
    rpc.client().subscribe(".broker/info").await.unwrap();
    for _ in 0..3 {
        assert_eq!(visit(&bus, &sender, &mut seen).await, ["reg visitor", "unreg visitor"]);
    }
}

async fn every_filter_that_brings_them_counts(place: Place) {
    let bus = place.open().await;
    let (rpc, sender, mut seen) = watching(&bus).await;
    for filter in ["#", "+/#", "+/+", "+/info", ".broker/#", ".broker/+"] {
        rpc.client().subscribe(filter).await.unwrap();
        assert_eq!(visit(&bus, &sender, &mut seen).await, ["reg visitor", "unreg visitor"], "{filter}");
        rpc.client().unsubscribe(filter).await.unwrap();
        assert_eq!(visit(&bus, &sender, &mut seen).await, [""; 0], "{filter}");
    }
}

async fn the_last_filter_taken_back_ends_them(place: Place) {
    let bus = place.open().await;
    let (rpc, sender, mut seen) = watching(&bus).await;
    rpc.client().subscribe(["#", ".broker/info"]).await.unwrap();
    rpc.client().unsubscribe("#").await.unwrap();
    rpc.client().subscribe("mark").await.unwrap();
    assert_eq!(visit(&bus, &sender, &mut seen).await, ["reg visitor", "unreg visitor"]);
    rpc.client().unsubscribe(".broker/info").await.unwrap();
    assert_eq!(visit(&bus, &sender, &mut seen).await, [""; 0]);
}

async fn calls_notice_who_leaves_whatever_the_application_unsubscribes(place: Place) {
    let bus = place.open().await;
    let (rpc, _sender, _seen) = watching(&bus).await;
    rpc.client().subscribe([".broker/info", "#"]).await.unwrap();
    rpc.client().unsubscribe(["#", ".broker/info"]).await.unwrap();
    let begun = std::sync::Arc::default();
    let peer = service(&bus, "peer", silent(&begun)).await;
    let (outcome, ()) = tokio::join!(rpc.call("peer", "wait", ""), async {
        begun.notified().await;
        peer.close().await;
    });
    expect_left(outcome);
}

async fn what_others_publish_there_moves_no_call(place: Place) {
    let bus = place.open().await;
    let (rpc, sender, mut seen) = watching(&bus).await;
    let begun = std::sync::Arc::default();
    let methods = silent(&begun);
    let peer = service(&bus, "peer", methods).await;
    let (outcome, ()) = tokio::join!(rpc.call("peer", "wait", ""), async {
        begun.notified().await;
        let forged = rmp_serde::to_vec_named(&BTreeMap::from([("s", "unreg"), ("d", "peer")])).unwrap();
        sender.publish(".broker/info", forged).qos(QoS::Processed).await.unwrap();
        sender.publish(".broker/info", "no map").qos(QoS::Processed).await.unwrap();
        rpc.call("watcher", "echo", "").await.unwrap();
        assert_eq!(rpc.pending_calls(), 1);
        peer.close().await;
    });
    expect_left(outcome);
    assert_eq!(seen.rest(), [""; 0]);
    // Who asked for the topic gets all of it.
    rpc.client().subscribe(".broker/info").await.unwrap();
    sender.publish(".broker/info", "no map").await.unwrap();
    while seen.next().await != "no map" {}
}

async fn a_client_outlives_its_rpc_without_them(place: Place) {
    let bus = place.open().await;
    let (rpc, sender, _seen) = watching(&bus).await;
    let client = rpc.client().clone();
    rpc.call("watcher", "echo", "").await.unwrap();
    drop(rpc);
    wait_until_quiet(&bus, &sender, &client).await;
    expect_nothing(&client).await;
}

/// The subscription is taken back when the serving ends; that is soon, and nothing tells when.
async fn wait_until_quiet(bus: &Bus, sender: &Client, client: &Client) {
    loop {
        while client.try_recv().is_some() {}
        bus.client("visitor").await.close().await;
        bus.wait_until_gone("visitor").await;
        settle(sender).await;
        settle(client).await;
        if client.try_recv().is_none() {
            return;
        }
    }
}

async fn one_rpc_after_the_other_listens_for_itself(place: Place) {
    let bus = place.open().await;
    let client = bus.client("caller").await;
    for _ in 0..20 {
        let rpc = Rpc::builder(client.clone()).deadline(FOR_EVER).start(());
        let begun = std::sync::Arc::default();
        let peer = Rpc::new(bus.successor("peer").await, silent(&begun));
        let (outcome, ()) = tokio::join!(rpc.call("peer", "wait", ""), async {
            begun.notified().await;
            peer.close().await;
        });
        expect_left(outcome);
    }
}

async fn calls_of_one_that_was_followed_notice_who_leaves(place: Place) {
    let bus = place.open().await;
    let client = bus.client("caller").await;
    let followed = |is_calling_before: bool| {
        let (bus, client) = (&bus, &client);
        async move {
            let first = Rpc::builder(client.clone()).deadline(FOR_EVER).start(());
            if is_calling_before {
                expect_nobody(first.call("nobody", "echo", "").await);
            }
            let begun = std::sync::Arc::default();
            let peer = Rpc::new(bus.successor("peer").await, silent(&begun));
            // From here on another reads, which calls nobody.
            let second = Rpc::builder(client.clone()).start(());
            settle(client).await;
            let (outcome, ()) = tokio::join!(first.call("peer", "wait", ""), async {
                begun.notified().await;
                peer.close().await;
            });
            expect_left(outcome);
            drop((first, second));
        }
    };
    followed(true).await;
    followed(false).await;
    // Whoever came last takes the subscription back.
    wait_until_quiet(&bus, &bus.client("sender").await, &client).await;
}

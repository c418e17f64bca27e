//! What was accepted arrives, even when its client is dropped or its runtime ends right afterwards.

use std::thread;

use busway::client::Builder;
use busway::{Client, QoS};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;

use crate::bus::{Bus, Place};
use crate::expectations::{next, next_text, poll_once};
use crate::promises::promises;
use crate::support::Delivery;

promises! {
    everywhere {
        what_was_published_before_the_drop_arrives
        the_name_of_a_dropped_client_is_free_again
        a_client_dropped_with_frames_unread_is_gone
    }
    over_sockets {
        a_drop_while_the_broker_is_busy_loses_nothing
        a_drop_while_the_receiver_reads_slowly_loses_nothing
        a_drop_with_confirmations_on_their_way_loses_nothing
        a_drop_with_confirmations_yet_to_come_loses_nothing
        a_close_with_confirmations_yet_to_come_loses_nothing
        a_drop_with_frames_on_their_way_to_it_loses_nothing
        a_close_with_confirmations_on_their_way_loses_nothing
        the_end_of_a_runtime_of_one_thread_loses_nothing
        the_end_of_a_runtime_of_many_threads_loses_nothing
        a_drop_after_the_end_of_the_runtime_loses_nothing
    }
}

const FRAMES: usize = 2_000;

/// Copied ones and shared ones; all of them are far more than a socket takes at once.
fn payload(number: usize) -> Vec<u8> {
    let mut payload = format!("{number} ").into_bytes();
    payload.resize(if number.is_multiple_of(5) { 40_000 } else { 1_000 }, b'.');
    payload
}

async fn publish_all(client: &Client, qos: QoS) {
    for number in 0..FRAMES {
        client.publish("bulk", payload(number)).qos(qos).enqueue().await.expect("it is accepted");
    }
}

async fn expect_all(receiver: &Client) {
    for number in 0..FRAMES {
        assert!(next(receiver).await.payload().as_slice() == payload(number), "frame {number} of {FRAMES}");
    }
}

async fn what_was_published_before_the_drop_arrives(place: Place) {
    let bus = place.open().await;
    let receiver = bus.subscriber("receiver", &["bulk"]).await;
    for _ in 0..20 {
        let sender = bus.successor("sender").await;
        sender.publish("bulk", "one").await.expect("it is accepted");
        sender.send("receiver", "two").qos(QoS::Realtime).await.expect("it is accepted");
        drop(sender);
        assert_eq!([next_text(&receiver).await, next_text(&receiver).await], ["one", "two"]);
    }
    let sender = bus.successor("sender").await;
    publish_all(&sender, QoS::No).await;
    drop(sender);
    expect_all(&receiver).await;
}

async fn the_name_of_a_dropped_client_is_free_again(place: Place) {
    let bus = place.open().await;
    for _ in 0..20 {
        drop(bus.successor("anna").await);
    }
}

async fn a_client_dropped_with_frames_unread_is_gone(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    for _ in 0..100 {
        anna.send("bert", "unread").qos(QoS::Processed).await.expect("bert is there");
    }
    drop(bert);
    bus.wait_until_gone("bert").await;
}

async fn a_drop_while_the_broker_is_busy_loses_nothing(place: Place) {
    let bus = place.open().await;
    let (sender, receiver) = (bus.client("sender").await, bus.subscriber("receiver", &["bulk"]).await);
    bus.freeze().await;
    publish_all(&sender, QoS::No).await;
    drop(sender);
    bus.thaw();
    expect_all(&receiver).await;
}

async fn a_drop_while_the_receiver_reads_slowly_loses_nothing(place: Place) {
    let bus = place.open().await;
    let sender = bus.client("sender").await;
    // A client of the library always reads; raw bytes wait where they are.
    let mut receiver = bus.process().subscriber("receiver", &["bulk"]);
    publish_all(&sender, QoS::No).await;
    drop(sender);
    bus.wait_until_gone("sender").await;
    for number in 0..FRAMES {
        receiver.expect(&Delivery::publication("bulk", payload(number)).from("sender"));
    }
}

async fn a_drop_with_confirmations_on_their_way_loses_nothing(place: Place) {
    let bus = place.open().await;
    let (sender, receiver) = (bus.client("sender").await, bus.subscriber("receiver", &["bulk"]).await);
    publish_all(&sender, QoS::Processed).await;
    drop(sender);
    expect_all(&receiver).await;
}

async fn a_drop_with_confirmations_yet_to_come_loses_nothing(place: Place) {
    let bus = place.open().await;
    let (sender, receiver) = (bus.client("sender").await, bus.subscriber("receiver", &["bulk"]).await);
    bus.freeze().await;
    publish_all(&sender, QoS::Processed).await;
    drop(sender);
    bus.thaw();
    expect_all(&receiver).await;
}

async fn a_close_with_confirmations_yet_to_come_loses_nothing(place: Place) {
    let bus = place.open().await;
    let (sender, receiver) = (bus.client("sender").await, bus.subscriber("receiver", &["bulk"]).await);
    bus.freeze().await;
    publish_all(&sender, QoS::Processed).await;
    let mut close = Box::pin(sender.close());
    assert!(poll_once(&mut close).is_pending());
    bus.thaw();
    close.await;
    expect_all(&receiver).await;
}

async fn a_drop_with_frames_on_their_way_to_it_loses_nothing(place: Place) {
    let bus = place.open().await;
    // What it publishes comes back to the one that is going.
    let (sender, receiver) = (bus.subscriber("sender", &["bulk"]).await, bus.subscriber("receiver", &["bulk"]).await);
    publish_all(&sender, QoS::No).await;
    drop(sender);
    expect_all(&receiver).await;
}

async fn a_close_with_confirmations_on_their_way_loses_nothing(place: Place) {
    let bus = place.open().await;
    let (sender, receiver) = (bus.client("sender").await, bus.subscriber("receiver", &["bulk"]).await);
    publish_all(&sender, QoS::Processed).await;
    sender.close().await;
    expect_all(&receiver).await;
}

async fn the_end_of_a_runtime_of_one_thread_loses_nothing(place: Place) {
    expect_nothing_lost(place, || runtime::Builder::new_current_thread().enable_all().build(), Last::Runtime).await;
}

async fn the_end_of_a_runtime_of_many_threads_loses_nothing(place: Place) {
    let build = || runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    expect_nothing_lost(place, build, Last::Runtime).await;
}

async fn a_drop_after_the_end_of_the_runtime_loses_nothing(place: Place) {
    expect_nothing_lost(place, || runtime::Builder::new_current_thread().enable_all().build(), Last::Client).await;
}

/// What a program lets go of last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Runtime,
    Client,
}

/// A program that connects, publishes and ends, twice: once with a broker that reads, once with one that is busy.
async fn expect_nothing_lost(place: Place, build: fn() -> std::io::Result<Runtime>, last: Last) {
    let bus = place.open().await;
    let receiver = bus.subscriber("receiver", &["bulk"]).await;
    for is_busy in [false, true] {
        bus.wait_until_gone("sender").await;
        run_to_the_end(&bus, bus.builder("sender"), build, (last, is_busy)).await;
        expect_all(&receiver).await;
    }
}

async fn run_to_the_end(bus: &Bus, builder: Builder, build: fn() -> std::io::Result<Runtime>, how: (Last, bool)) {
    let (last, is_busy) = how;
    let (connected, is_connected) = oneshot::channel();
    let (stopped, is_stopped) = oneshot::channel();
    let (published, is_published) = oneshot::channel();
    let program = thread::spawn(move || {
        let runtime = build().expect("a runtime can be started");
        let client = runtime.block_on(async {
            let client = builder.connect().await.expect("the broker is there");
            connected.send(()).expect("the test waits");
            is_stopped.await.expect("the test goes on");
            publish_all(&client, QoS::No).await;
            client
        });
        published.send(()).expect("the test waits");
        if last == Last::Runtime {
            runtime.block_on(async { drop(client) });
            drop(runtime);
        } else {
            drop(runtime);
            drop(client);
        }
    });
    is_connected.await.expect("it connects");
    if is_busy {
        bus.freeze().await;
    }
    stopped.send(()).expect("the program waits");
    is_published.await.expect("it publishes");
    if is_busy {
        bus.thaw();
    }
    tokio::task::spawn_blocking(|| program.join()).await.expect("no panic").expect("the program ends well");
}

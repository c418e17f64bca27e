//! Receivers that read slowly, not at all, or keep what they get.

use std::collections::HashMap;
use std::time::Duration;

use busway::client::Transport;
use busway::{Client, Payload, QoS};

use crate::lane_peer::LanePeer;
use crate::place::{Holdings, broker, expect_return_to, names};
use crate::support::{BrokerProcess, WATCHDOG};
use crate::witness::Witness;

fn run(play: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(WATCHDOG, play).await.expect("watchdog: somebody waits for good");
    });
}

async fn connect(broker: &BrokerProcess, name: &str, topics: &[&str]) -> Client {
    let builder = Client::builder(broker.socket(), name).timeout(WATCHDOG).receive_queue(1 << 20, 1 << 30);
    let client = builder.connect().await.expect("it connects");
    while client.transport() != Transport::Lane {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if !topics.is_empty() {
        client.subscribe(topics).await.expect("it subscribes");
    }
    client
}

/// The next payload that is not a warning of the broker.
async fn next(client: &Client) -> Payload {
    loop {
        let frame = client.recv().await.expect("it stays connected");
        if frame.sender() != ".broker" {
            return frame.into_payload();
        }
    }
}

fn payload(number: u32, length: usize) -> Vec<u8> {
    let mut payload = vec![number.to_le_bytes()[0]; length];
    payload[..4].copy_from_slice(&number.to_le_bytes());
    payload
}

fn check(got: &Payload, number: u32, length: usize) {
    assert_eq!(got.as_slice(), payload(number, length), "payload {number}");
}

#[test]
fn a_receiver_that_never_reads_holds_up_neither_its_sender_nor_others() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    run(async {
        // Takes the lane over and never looks at it.
        let stalled = LanePeer::subscribed(&broker, "stalled", &["queued"]);
        let reader = connect(&broker, "reader", &["queued"]).await;
        let sender = connect(&broker, "sender", &[]).await;
        for number in 0..1024 {
            sender.publish("queued", payload(number, 2048)).qos(QoS::Processed).await.expect("it goes on");
            check(&next(&reader).await, number, 2048);
        }
        assert!(names(&broker).contains(&"stalled".to_owned()), "so much may wait for a client");
        // More than may wait for it.
        for number in 0..9_000 {
            sender.publish("queued", payload(number, 2048)).qos(QoS::Processed).await.expect("it goes on");
            check(&next(&reader).await, number, 2048);
        }
        broker.expect_logged(&["stalled", "it reads too slowly"]);
        drop((stalled, reader, sender));
    });
    expect_return_to(&broker, before);
    witness.finish();
}

#[test]
fn four_hoarders_at_once_get_copies_and_the_sender_goes_on() {
    let broker = broker(&["--shm-client-bytes", "64M"]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    run(async {
        let reader = connect(&broker, "reader", &["kept"]).await;
        let mut hoarders = Vec::new();
        for number in 0..4 {
            hoarders.push((connect(&broker, &format!("hoarder.{number}"), &["kept"]).await, Vec::new()));
        }
        let sender = connect(&broker, "sender", &[]).await;
        for number in 0..3_000 {
            sender.publish("kept", payload(number, 8_000)).qos(QoS::Processed).await.expect("it goes on");
            check(&next(&reader).await, number, 8_000);
            for (hoarder, kept) in &mut hoarders {
                kept.push(next(hoarder).await);
            }
        }
        for (hoarder, kept) in &hoarders {
            assert!(hoarder.is_connected());
            for (number, payload) in (0..).zip(kept) {
                check(payload, number, 8_000);
            }
            let in_place = kept.iter().filter(|payload| payload.is_in_place()).count();
            // A quarter of the sender's 64 MiB.
            assert!(in_place > 0 && in_place <= (16 << 20) / 8_000, "{in_place} of {} in place", kept.len());
        }
        // Whoever reads promptly still reads in place.
        let mut in_place = 0;
        for number in 0..100 {
            sender.publish("kept", payload(number, 8_000)).qos(QoS::Processed).await.expect("it goes on");
            in_place += u32::from(next(&reader).await.is_in_place());
        }
        assert!(in_place > 0, "the reader gets nothing in place any more");
        drop((hoarders, reader, sender));
    });
    expect_return_to(&broker, before);
    witness.finish();
}

#[test]
fn who_keeps_the_last_payload_of_five_thousand_topics_stays_connected() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    run(async {
        let reader = connect(&broker, "keeper", &["state/#"]).await;
        let sender = connect(&broker, "sender", &[]).await;
        let mut last: HashMap<String, (u32, Payload)> = HashMap::new();
        for number in 0..15_000u32 {
            let topic = format!("state/{}", number * 7 % 5_000);
            sender.publish(&topic, payload(number, 1_500)).qos(QoS::Processed).await.expect("it is confirmed");
            let frame = reader.recv().await.expect("it stays connected");
            assert_eq!(frame.topic(), Some(topic.as_str()));
            last.insert(topic, (number, frame.into_payload()));
        }
        assert_eq!(last.len(), 5_000);
        for (number, kept) in last.values() {
            check(kept, *number, 1_500);
        }
        assert!(last.values().any(|(_, kept)| kept.is_in_place()));
        assert!(reader.is_connected());
        drop((reader, sender, last));
    });
    expect_return_to(&broker, before);
    witness.finish();
}

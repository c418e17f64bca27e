//! Large payloads that are only borrowed: whatever happens amid them, frames are whole and in order.

use std::time::Duration;

use busway::{Client, QoS};
use tokio::time::timeout;

use crate::bus::Place;
use crate::expectations::{DISCONNECTED, expect_closed, next, poll_once};
use crate::fake_broker::{FakeBroker, FakePeer};
use crate::promises::promises;
use crate::support::operation;

promises! {
    over_sockets {
        the_largest_payloads_arrive_among_small_frames_in_order
    }
    alone {
        a_broker_that_reads_nothing_holds_nobody_up
        a_broker_in_the_same_thread_holds_nobody_up
        an_operation_that_is_given_up_leaves_whole_frames
        what_is_sent_at_the_same_time_stays_whole_and_in_order
        the_end_of_the_connection_ends_it
    }
}

/// Far more than sockets take at once.
const LENGTH: usize = 8 << 20;
/// With small frames behind it still less than a broker holds for a client.
const LARGEST: usize = 63 << 20;
const SMALL: usize = 20;

/// Bytes that tell payloads and their parts apart.
fn payload(number: usize, length: usize) -> Vec<u8> {
    let mut payload = Vec::with_capacity(length + (64 << 10));
    while payload.len() < length {
        let part = number * 1_000_000 + payload.len() / (64 << 10);
        payload.extend_from_slice(&part.to_le_bytes().repeat(8 << 10));
    }
    payload.truncate(length);
    payload
}

async fn the_largest_payloads_arrive_among_small_frames_in_order(place: Place) {
    let bus = place.open().await;
    let (sender, receiver) = (bus.client("sender").await, bus.subscriber("receiver", &["bulk"]).await);
    let large = payload(1, LARGEST);
    let send = async {
        for number in 0..SMALL {
            if number == SMALL / 2 {
                sender.publish("bulk", &large).await.expect("it is accepted");
            }
            sender.publish("bulk", &number.to_le_bytes()).await.expect("it is accepted");
        }
        sender.flush().await.expect("the connection holds");
    };
    let receive = async {
        for number in 0..SMALL {
            if number == SMALL / 2 {
                assert!(next(&receiver).await.payload().as_slice() == large, "as it was sent");
            }
            assert_eq!(next(&receiver).await.payload().as_slice(), number.to_le_bytes());
        }
    };
    tokio::join!(send, receive);
}

/// A client and a broker that reads when the test does.
async fn connected() -> (Client, FakePeer) {
    let broker = FakeBroker::start();
    broker.connect(broker.builder("anna").shm(false).timeout(Duration::from_secs(3_600))).await
}

/// What was published.
async fn published(peer: &mut FakePeer) -> Vec<u8> {
    let frame = peer.expect_frame().await;
    assert_eq!(frame.operation, operation::PUBLISH);
    frame.body.strip_prefix(b"load\0").expect("a publication of the load").to_vec()
}

async fn a_broker_that_reads_nothing_holds_nobody_up() {
    let (client, mut peer) = connected().await;
    for number in 0..4 {
        let mut lent = payload(number, LENGTH);
        client.publish("load", &lent).await.expect("it is accepted");
        // It is the caller's again.
        lent.fill(0xFF);
        client.publish("load", &number.to_le_bytes()).await.expect("it is accepted");
    }
    for number in 0..4 {
        assert!(published(&mut peer).await == payload(number, LENGTH), "payload {number}");
        assert_eq!(published(&mut peer).await, number.to_le_bytes());
    }
}

async fn a_broker_in_the_same_thread_holds_nobody_up() {
    let program = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (client, mut peer) = connected().await;
            for number in 0..8 {
                let lent = payload(number, LENGTH);
                let (sent, arrived) = tokio::join!(client.publish("load", &lent), published(&mut peer));
                sent.expect("it is accepted");
                assert!(arrived == lent, "payload {number}");
            }
        });
    };
    tokio::task::spawn_blocking(program).await.expect("no panic");
}

async fn an_operation_that_is_given_up_leaves_whole_frames() {
    let (client, mut peer) = connected().await;
    let reader = tokio::spawn(async move {
        let (mut large, mut expected) = (0, 0_usize);
        while expected < 60 {
            let arrived = published(&mut peer).await;
            if arrived.len() == LENGTH {
                assert!(arrived == payload(expected, LENGTH), "amid payload {expected}");
                large += 1;
            } else {
                assert_eq!(arrived, expected.to_le_bytes());
                expected += 1;
            }
            if expected.is_multiple_of(3) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        large
    });
    for number in 0..60_usize {
        let mut lent = payload(number, LENGTH);
        let mut publication = client.publish("load", &lent);
        match number % 3 {
            0 => drop(poll_once(&mut publication)),
            1 => drop(timeout(Duration::from_micros(number as u64 * 50), &mut publication).await),
            _ => publication.await.expect("it is accepted"),
        }
        lent.fill(0xFF);
        client.publish("load", &number.to_le_bytes()).await.expect("it is accepted");
    }
    assert!(reader.await.expect("every frame is whole") >= 20, "those that were awaited");
}

async fn what_is_sent_at_the_same_time_stays_whole_and_in_order() {
    let (client, mut peer) = connected().await;
    const FRAMES: usize = 20;
    let senders: Vec<_> = [LENGTH, 1 << 20, 100]
        .into_iter()
        .map(|length| {
            let client = client.clone();
            tokio::spawn(async move {
                for number in 0..FRAMES {
                    let lent = payload(number, length);
                    client.publish("load", &lent).await.expect("it is accepted");
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut arrived = std::collections::HashMap::<usize, usize>::new();
    for _ in 0..3 * FRAMES {
        let frame = published(&mut peer).await;
        let number = arrived.entry(frame.len()).or_default();
        assert!(frame == payload(*number, frame.len()), "payload {number} of {} bytes", frame.len());
        *number += 1;
    }
    assert_eq!((arrived.len(), arrived[&LENGTH], arrived[&(1 << 20)], arrived[&100]), (3, FRAMES, FRAMES, FRAMES));
    for sender in senders {
        sender.await.expect("no panic");
    }
}

async fn the_end_of_the_connection_ends_it() {
    let (client, peer) = connected().await;
    let end = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(peer);
    });
    let lent = payload(0, LARGEST);
    // Accepted or not, it does not hang, and neither does what follows.
    let _ = client.publish("load", &lent).qos(QoS::Processed).await;
    end.await.expect("no panic");
    expect_closed(&client).await;
    assert_eq!(client.publish("load", &lent).await, DISCONNECTED);
}

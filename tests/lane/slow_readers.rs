//! Receivers that are slow and do not stand still: who waits for them loses nothing, however little they take at a time.

use std::time::Duration;

use busway::{Client, QoS, SlowPolicy};
use tokio::task::JoinSet;

use crate::stalled::{FRAMES, QUEUE, Way, bus, endpoint, info, number_of, payload};
use crate::support::{Bus, keep, next, on_lane, until};

/// Far longer than the receiver ever stands still, and far shorter than it needs for what lies before it.
const BOUND: Duration = Duration::from_secs(1);

/// Receives one frame after the other, each after a pause; `frames` are more than all on the way can hold.
async fn read_evenly(way: Way, frames: u64, bytes: usize, pause: Duration) {
    let bus = bus().await;
    let builder = Client::builder(endpoint(&bus, way), "stalled").shm(way == Way::Lane);
    let receiver = builder.receive_queue(QUEUE, 64 << 20).connect().await.expect("it connects");
    if way == Way::Lane {
        on_lane(&receiver).await;
    }
    receiver.unsubscribe(".broker/warn").await.expect("it unsubscribes");
    receiver.subscribe("a/#").slow_policy(SlowPolicy::Wait(BOUND)).await.expect("the broker allows it");
    let publisher = bus.lane("publisher").await;
    let publishing = tokio::spawn(async move {
        let mut payload = vec![0; bytes];
        for number in 0..frames {
            payload[..8].copy_from_slice(&number.to_le_bytes());
            publisher.publish("a/b", payload.clone()).await.expect("it is accepted");
        }
        // It stays until everything is received.
        publisher
    });
    let mut received = 0;
    while received < frames {
        tokio::time::sleep(pause).await;
        let frame = next(&receiver).await;
        assert_eq!((number_of(&frame), frame.lost_before()), (received, 0), "{way:?}");
        received += 1;
    }
    drop(publishing.await.expect("it ends"));
    assert_eq!((receiver.lost_frames(), info(&bus).lost_frames), (0, 0), "{way:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_evenly_over_a_socket_loses_nothing() {
    // The system tells of room when 768 KiB of it are free, which takes twice the bound.
    keep(read_evenly(Way::Unix, 600, 4 << 10, Duration::from_millis(10))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_evenly_on_the_lane_loses_nothing() {
    // As many as are handed on at once elsewhere take twice the bound.
    keep(read_evenly(Way::Lane, 3_000, 500, Duration::from_millis(2))).await;
}

/// A wait in vain for one subscription is none for another that may be waited for for longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_bound_that_has_passed_leaves_longer_ones_alone() {
    keep(async {
        let bus: Bus = bus().await;
        for way in [None, Some(Way::Lane), Some(Way::Unix)] {
            let receiver = match way {
                None => bus.internal("stalled"),
                Some(way) => {
                    let builder = Client::builder(endpoint(&bus, way), "stalled").shm(way == Way::Lane);
                    builder.receive_queue(QUEUE, 64 << 20).connect().await.expect("it connects")
                }
            };
            receiver.unsubscribe(".broker/warn").await.expect("it unsubscribes");
            let short = SlowPolicy::Wait(Duration::from_millis(50));
            receiver.subscribe("short").slow_policy(short).await.expect("the broker allows it");
            let long = SlowPolicy::Wait(Duration::from_secs(3_600));
            receiver.subscribe("long").slow_policy(long).await.expect("the broker allows it");
            let publisher = bus.internal("publisher");
            // Until everything on the way is full, and one has waited in vain.
            while info(&bus).lost_frames == 0 {
                publisher.publish("short", vec![0; 4 << 10]).qos(QoS::Processed).await.expect("it is a publication");
            }
            let late = publisher.publish("long", "late").qos(QoS::Processed).enqueue().await.expect("accepted");
            let late = tokio::spawn(late);
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(!late.is_finished(), "{way:?}: it may wait for longer");
            while next(&receiver).await.topic() != Some("long") {}
            late.await.expect("it ends").expect("it is confirmed");
            receiver.close().await;
            publisher.close().await;
            until(|| bus.broker().clients().clients.len() == 1).await;
        }
    })
    .await;
}

/// Each frame that is received is room for one sender: most wait for longer than the bound, while others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_wait_for_as_long_as_the_receiver_takes_something() {
    const SENDERS: usize = 30;
    keep(async {
        let bus: Bus = bus().await;
        let receiver = bus.internal("stalled");
        receiver.unsubscribe(".broker/warn").await.expect("it unsubscribes");
        receiver.slow_policy(SlowPolicy::Wait(BOUND)).await.expect("it is allowed");
        let mut senders = JoinSet::new();
        let first = bus.internal("first");
        for _ in 0..QUEUE {
            first.send("stalled", "full").qos(QoS::Processed).await.expect("there is room");
        }
        for number in 0..SENDERS {
            let sender = bus.internal(&format!("sender.{number}"));
            let confirmation = sender.send("stalled", "x").qos(QoS::Processed).enqueue().await.expect("it is accepted");
            senders.spawn(async move { (confirmation.await, sender) });
        }
        for _ in 0..QUEUE + SENDERS {
            tokio::time::sleep(BOUND / 10).await;
            next(&receiver).await;
        }
        while let Some(outcome) = senders.join_next().await {
            assert_eq!(outcome.expect("it ends").0, Ok(()));
        }
        assert_eq!((receiver.lost_frames(), info(&bus).lost_frames), (0, 0));
    })
    .await;
}

/// A receiver that is waited for sends for each frame that it has received, and awaits the confirmations elsewhere, or
/// wants none; nothing stands still for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_waited_for_may_send_for_each_frame_that_it_receives() {
    keep(async {
        for (way, is_confirmed) in [(Way::Lane, false), (Way::Lane, true), (Way::Unix, false), (Way::Unix, true)] {
            let bus = bus().await;
            let listener = bus.internal("listener");
            listener.slow_policy(SlowPolicy::DropOldest).await.expect("it is allowed");
            let builder = Client::builder(endpoint(&bus, way), "stalled").shm(way == Way::Lane);
            let receiver = builder.receive_queue(QUEUE, 64 << 20).connect().await.expect("it connects");
            receiver.unsubscribe(".broker/warn").await.expect("it unsubscribes");
            let policy = SlowPolicy::Wait(Duration::from_secs(3_600));
            receiver.subscribe("a/#").slow_policy(policy).await.expect("the broker allows it");
            let publisher = bus.lane("publisher").await;
            let publishing = tokio::spawn(async move {
                for number in 0..FRAMES {
                    publisher.publish("a/b", payload(number)).await.expect("it is accepted");
                }
                publisher
            });
            until(|| info(&bus).queue >= QUEUE).await;
            let mut confirmations = JoinSet::new();
            for number in 0..FRAMES {
                let frame = next(&receiver).await;
                assert_eq!((number_of(&frame), frame.lost_before()), (number, 0), "{way:?}");
                let qos = if is_confirmed { QoS::Processed } else { QoS::No };
                let confirmation = receiver.send("listener", "x").qos(qos).enqueue().await.expect("it is accepted");
                confirmations.spawn(confirmation);
            }
            while let Some(outcome) = confirmations.join_next().await {
                assert_eq!(outcome.expect("it ends"), Ok(()), "{way:?}");
            }
            drop(publishing.await.expect("it ends"));
            assert_eq!((receiver.lost_frames(), info(&bus).lost_frames), (0, 0), "{way:?}");
        }
    })
    .await;
}

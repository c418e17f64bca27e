//! Clients that send on what they receive: who waits for them, and whom they wait for.

use std::time::Duration;

use busway::{Client, QoS, SlowPolicy};

use crate::stalled::{QUEUE, Way, bus, endpoint, number_of, stall};
use crate::support::{Bus, keep, next, on_lane, until};

/// More than everything on the way from end to end holds.
const FRAMES: u64 = 12_000;
const HOUR: Duration = Duration::from_secs(3_600);

/// Travels in the ring.
fn payload(number: u64) -> Vec<u8> {
    let mut payload = vec![0; 500];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload
}

fn queue_of(bus: &Bus, name: &str) -> usize {
    bus.broker().clients().clients.into_iter().find(|client| client.name == name).expect("it is there").queue
}

/// One task that receives and sends, one after the other, until the end.
async fn send_on(client: Client) {
    loop {
        let frame = next(&client).await;
        client.publish("a/out", frame.payload().to_vec()).await.expect("it is accepted");
        if number_of(&frame) == FRAMES - 1 {
            return client.publish("nobody", "").qos(QoS::Processed).await.expect("the broker has routed all");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_can_neither_send_nor_receive_for_a_while_goes_on_when_its_receiver_does() {
    keep(async {
        for way in [Way::Lane, Way::Unix] {
            let bus = bus().await;
            let stalled = stall(&bus, way, async |client| {
                client.subscribe("a/out").slow_policy(SlowPolicy::Wait(HOUR)).await.expect("the broker allows it");
            })
            .await;
            let builder = Client::builder(endpoint(&bus, way), "middle").shm(way == Way::Lane);
            let middle =
                builder.receive_queue(16, 1 << 20).send_queue(16, 1 << 20).connect().await.expect("it connects");
            if way == Way::Lane {
                on_lane(&middle).await;
            }
            middle.unsubscribe(".broker/warn").await.expect("it unsubscribes");
            middle.subscribe("in").slow_policy(SlowPolicy::Wait(HOUR)).await.expect("the broker allows it");
            let middle = tokio::spawn(send_on(middle));
            let publisher = Client::builder(bus.socket(), "publisher").send_queue(16, 1 << 20);
            let publisher = publisher.connect().await.expect("it connects");
            let publishing = tokio::spawn(async move {
                for number in 0..FRAMES {
                    publisher.publish("in", payload(number)).await.expect("it is accepted");
                }
                publisher
            });
            until(|| queue_of(&bus, "middle") >= QUEUE).await;
            // Longer than anybody in the middle waits before trying something else.
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(!middle.is_finished() && !publishing.is_finished(), "{way:?}: the way is full from end to end");
            stalled.go_on.send(()).expect("it waits");
            middle.await.expect("it sends everything on");
            let publisher = publishing.await.expect("it sends everything");
            // It waits for nobody.
            until(|| queue_of(&bus, "stalled") == 0).await;
            publisher.publish("end", payload(u64::MAX)).await.expect("it is accepted");
            let received = stalled.received.await.expect("it gets everything");
            assert!(received.numbers("a/out").into_iter().eq(0..FRAMES), "{way:?}: all of it, in order");
        }
    })
    .await;
}

/// Receives so many numbers, in order.
async fn expect_all(client: Client, name: &'static str) {
    for number in 0..FRAMES {
        let frame = next(&client).await;
        assert_eq!((number_of(&frame), frame.lost_before()), (number, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_flood_each_other_and_read_lose_nothing() {
    keep(async {
        for way in [Way::Lane, Way::Unix] {
            let bus = bus().await;
            let mut clients = Vec::new();
            for name in ["one", "other"] {
                let builder = Client::builder(endpoint(&bus, way), name).shm(way == Way::Lane);
                let client = builder.send_queue(16, 1 << 20).connect().await.expect("it connects");
                if way == Way::Lane {
                    on_lane(&client).await;
                }
                client.unsubscribe(".broker/warn").await.expect("it unsubscribes");
                let policy = SlowPolicy::Wait(Duration::from_secs(2));
                client.slow_policy(policy).await.expect("the broker allows it");
                clients.push(client);
            }
            let mut tasks = Vec::new();
            for (client, target) in clients.iter().zip(["other", "one"]) {
                let sender = client.clone();
                tasks.push(tokio::spawn(async move {
                    for number in 0..FRAMES {
                        sender.send(target, payload(number)).await.expect("it is accepted");
                    }
                }));
                tasks.push(tokio::spawn(expect_all(client.clone(), target)));
            }
            for task in tasks {
                task.await.expect("nothing is lost");
            }
        }
    })
    .await;
}

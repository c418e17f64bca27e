//! Who looks for frames while they come fast, and sleeps when they do not, misses none.

use std::time::Duration;

use busway::{Client, QoS};

use crate::support::{Bus, keep, next, on_lane};

/// More than usual, so that loaded machines look, too.
const BUDGET: Duration = Duration::from_millis(5);
/// Microseconds around the times that are spent on looking at least and at most, and far beyond them.
const PAUSES: [u64; 7] = [0, 20, 4_900, 5_100, 19_900, 20_100, 40_000];

async fn connect(bus: &Bus, name: &str, shm: bool) -> Client {
    let client = Client::builder(bus.socket(), name).busy_poll(BUDGET).shm(shm).connect().await.unwrap();
    if shm {
        on_lane(&client).await;
    }
    client
}

/// Each answers the other, in streaks that are long enough to be looked for, with pauses between them.
async fn talk(one: Client, other: Client) {
    let name = other.name().to_owned();
    let answering = tokio::spawn(async move {
        while let Some(frame) = other.recv().await {
            let sender = frame.sender().to_owned();
            other.send(&sender, frame.into_payload()).qos(QoS::Realtime).await.unwrap();
        }
    });
    let mut number = 0_u32;
    for round in 0..30 {
        for _ in 0..20 {
            number += 1;
            one.send(&name, &number.to_le_bytes()).qos(QoS::Realtime).await.unwrap();
            assert_eq!(next(&one).await.payload().as_slice(), number.to_le_bytes());
        }
        tokio::time::sleep(Duration::from_micros(PAUSES[round % PAUSES.len()])).await;
        // The first after a pause, awaited as a confirmation.
        one.send(&name, &0_u32.to_le_bytes()).qos(QoS::Processed).await.unwrap();
        assert_eq!(next(&one).await.payload().as_slice(), [0; 4]);
    }
    answering.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_after_a_pause_are_found_on_the_lane() {
    keep(async {
        let bus = Bus::with(|builder| builder.busy_poll(BUDGET)).await;
        talk(connect(&bus, "one", true).await, connect(&bus, "other", true).await).await;
    })
    .await;
}

#[tokio::test]
async fn frames_after_a_pause_are_found_in_one_thread() {
    keep(async {
        let bus = Bus::with(|builder| builder.busy_poll(BUDGET)).await;
        talk(connect(&bus, "one", true).await, connect(&bus, "other", false).await).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_after_a_pause_are_found_on_sockets() {
    keep(async {
        let bus = Bus::with(|builder| builder.busy_poll(BUDGET)).await;
        talk(connect(&bus, "one", false).await, connect(&bus, "other", false).await).await;
    })
    .await;
}

/// More rings than the bell has room for, each of which has to be heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sleeps_before_each_frame_hears_each_ring() {
    keep(async {
        let bus = Bus::with(|builder| builder.busy_poll(Duration::ZERO)).await;
        let connect = async |name| {
            let client = Client::builder(bus.socket(), name).busy_poll(Duration::ZERO).connect().await.unwrap();
            on_lane(&client).await;
            client
        };
        let (one, other) = (connect("one").await, connect("other").await);
        for number in 0..10_000_u32 {
            let (from, to) = if number % 2 == 0 { (&one, &other) } else { (&other, &one) };
            from.send(to.name(), &number.to_le_bytes()).await.unwrap();
            assert_eq!(next(to).await.payload().as_slice(), number.to_le_bytes());
        }
    })
    .await;
}

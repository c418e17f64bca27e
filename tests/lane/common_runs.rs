//! Small frames for several lanes are written once, and nothing of that may be seen.

use busway::{Client, FrameKind};

use crate::support::{Bus, keep, next, pattern};

async fn expect(client: &Client, from: usize, frames: usize) {
    for number in from..from + frames {
        let frame = next(client).await;
        let is_right = frame.payload()[..] == payload(number)[..] && frame.topic() == Some("light");
        assert!(is_right && frame.kind() == FrameKind::Publication, "{} got another frame at {number}", client.name());
        assert!(!frame.payload().is_in_place(), "what is small is the receiver's own");
    }
}

/// All that travels in the ring, one length after the other.
fn payload(number: usize) -> Vec<u8> {
    pattern(number % 513, number)
}

/// More frames than a receiver may hold runs of, so that each place is written again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_stream_comes_whole_to_each_of_many_lanes_and_to_those_who_have_none() {
    const BATCH: usize = 1500;
    const BATCHES: usize = 20;
    keep(async {
        let bus = Bus::start().await;
        let publisher = bus.lane("publisher").await;
        let mut receivers = vec![bus.unix("unix").await, bus.internal("internal")];
        for name in ["lane.1", "lane.2", "lane.3", "lane.4"] {
            receivers.push(bus.lane(name).await);
        }
        for receiver in &receivers {
            receiver.subscribe("light").await.unwrap();
        }
        for batch in 0..BATCHES {
            let from = batch * BATCH;
            for number in from..from + BATCH {
                publisher.publish("light", payload(number)).await.unwrap();
            }
            for receiver in &receivers {
                expect(receiver, from, BATCH).await;
            }
        }
    })
    .await;
}

/// Who comes later has to map the memory first, and gets copies until then; who goes takes nothing with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_come_and_go_amid_a_stream() {
    const BATCH: usize = 700;
    keep(async {
        let bus = Bus::start().await;
        let publisher = bus.lane("publisher").await;
        let mut receivers = Vec::new();
        for round in 0..12 {
            if round % 4 != 3 {
                let receiver = bus.lane(&format!("lane.{round}")).await;
                receiver.subscribe("light").await.unwrap();
                receivers.push(receiver);
            } else {
                // With what it has not read.
                for number in 0..BATCH {
                    publisher.publish("light", payload(number)).await.unwrap();
                }
                drop(receivers.remove(0));
                for receiver in &receivers {
                    expect(receiver, 0, BATCH).await;
                }
            }
            for number in 0..BATCH {
                publisher.publish("light", payload(number)).await.unwrap();
            }
            for receiver in &receivers {
                expect(receiver, 0, BATCH).await;
            }
        }
    })
    .await;
}

//! Answers that come late.

use std::time::Duration;

use busway::client::SendError;
use busway::{Client, QoS, ResultCode, SlowPolicy};

use crate::support::{Bus, keep, on_lane};

/// Frames that wait for an in-process client.
const QUEUE: usize = 8192;

/// Nothing else happens that would bring it: no sign of life comes before the test is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_after_a_wait_comes_by_itself() {
    keep(async {
        let hours = Duration::from_secs(7200);
        let bus = Bus::with(|builder| builder.timeout(hours)).await;
        let slow = bus.internal("slow");
        slow.slow_policy(SlowPolicy::Wait(Duration::from_millis(50))).await.unwrap();
        let sender = Client::builder(bus.socket(), "sender").timeout(hours).keep_alive(hours).connect().await.unwrap();
        on_lane(&sender).await;
        for _ in 0..QUEUE {
            sender.send("slow", "x").await.unwrap();
        }
        let late = sender.send("slow", "late").qos(QoS::Processed).await;
        assert!(matches!(late, Err(SendError::Refused(ResultCode::NOT_DELIVERED))), "{late:?}");
    })
    .await;
}

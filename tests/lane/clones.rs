//! Clones of a client that send at the same time.

use std::time::Duration;

use busway::{Client, SlowPolicy};

use crate::stalled::{number_of, options};
use crate::support::{Bus, keep, next};

const THREADS: usize = 3;
const EACH: u64 = 30_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn frames_of_one_task_keep_their_order_while_clones_wait_for_the_receiver() {
    keep(async {
        let bus = Bus::with(|builder| options(builder).queue(2, 1 << 20)).await;
        let receiver = bus.internal("receiver");
        receiver.unsubscribe(".broker/warn").await.expect("it unsubscribes");
        let policy = SlowPolicy::Wait(Duration::from_secs(3_600));
        receiver.subscribe("a/#").slow_policy(policy).await.expect("it is allowed");
        let sender = bus.internal("sender");
        let tasks: Vec<_> = (0..THREADS)
            .map(|thread| {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let topic = format!("a/{thread}");
                    for number in 0..EACH {
                        sender.publish(&topic, number.to_le_bytes().to_vec()).await.expect("it is accepted");
                    }
                })
            })
            .collect();
        let mut expected = [0; THREADS];
        for _ in 0..THREADS as u64 * EACH {
            let frame = next(&receiver).await;
            let topic = frame.topic().expect("a publication");
            let thread: usize = topic[2..].parse().expect("the number of a thread");
            assert_eq!(number_of(&frame), expected[thread], "in order");
            expected[thread] += 1;
        }
        for task in tasks {
            task.await.expect("it ends");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_refused_while_the_connection_moves_to_the_lane() {
    keep(async {
        let bus = Bus::start().await;
        for round in 0..200 {
            let client = Client::connect(bus.socket(), &format!("sender.{round}")).await.expect("it connects");
            let sending = {
                let client = client.clone();
                tokio::spawn(async move {
                    while client.transport() != busway::client::Transport::Lane {
                        client.publish("nobody", "").await.expect("it is accepted");
                        client.subscribe("nothing").await.expect("it is accepted");
                    }
                })
            };
            sending.await.expect("nothing is refused");
        }
    })
    .await;
}

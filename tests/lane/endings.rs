//! Connections that end while they move to the lane.

use busway::{Client, QoS};

use crate::support::{Bus, keep, next};

/// The negotiation takes some turns of the runtime: each round ends it after another number of them.
const ROUNDS: usize = 400;

async fn pause(round: usize) {
    for _ in 0..round / 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_farewell_of_a_broker_that_ends_amid_the_switch_arrives() {
    keep(async {
        for round in 0..ROUNDS {
            let mut bus = Bus::start().await;
            let client = Client::connect(bus.socket(), "listener").await.unwrap();
            pause(round).await;
            bus.shut_down().await;
            let mut topics = Vec::new();
            while let Some(frame) = client.recv().await {
                topics.push(frame.topic().map(str::to_owned));
            }
            assert_eq!(topics, [Some(".broker/warn".to_owned())], "round {round}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_has_sent_before_it_ends_amid_the_switch_arrives() {
    keep(async {
        let bus = Bus::start().await;
        let subscriber = bus.lane("subscriber").await;
        subscriber.subscribe("last/#").await.unwrap();
        for round in 0..ROUNDS {
            let client = Client::connect(bus.socket(), &format!("sender.{round}")).await.unwrap();
            for number in 0..50 {
                client.publish("last/words", format!("{round} {number}")).await.unwrap();
                if number == 25 {
                    pause(round).await;
                }
            }
            if round % 2 == 0 {
                client.close().await;
            }
            drop(client);
            for number in 0..50 {
                let frame = next(&subscriber).await;
                assert_eq!(frame.payload().as_slice(), format!("{round} {number}").as_bytes());
            }
        }
        subscriber.publish("last/words", "done").qos(QoS::Processed).await.unwrap();
        assert_eq!(next(&subscriber).await.payload().as_slice(), b"done");
    })
    .await;
}

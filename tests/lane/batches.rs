//! Readers need not wait until their sender has time for something else.

use std::sync::mpsc;
use std::time::Duration;

use busway::{Client, QoS};

use crate::support::{Bus, keep, next, on_lane};

const LENGTH: usize = 1 << 20;
/// The broker bears the sender to be silent for so long: at its end it would read what is there.
const SILENCE: Duration = Duration::from_secs(60);
/// Before the one that nobody may wait with.
const WARM_UP: usize = 5;

/// The sender's only thread stands still after the last payload, so that no task of its client can ring for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_payload_is_read_while_its_sender_goes_on() {
    keep(async {
        let bus = Bus::with(|builder| builder.busy_poll(Duration::ZERO).timeout(SILENCE)).await;
        let subscriber = bus.lane("subscriber").await;
        subscriber.subscribe("large").await.unwrap();
        let (heard, hears) = mpsc::channel();
        let socket = bus.socket();
        let sender = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let publisher = Client::connect(socket, "publisher").await.unwrap();
                on_lane(&publisher).await;
                for _ in 0..WARM_UP {
                    publisher.publish("large", publisher.loan(LENGTH)).qos(QoS::Processed).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                publisher.publish("large", publisher.loan(LENGTH)).await.unwrap();
                hears.recv_timeout(Duration::from_secs(10)).is_ok()
            })
        });
        for _ in 0..=WARM_UP {
            assert_eq!(next(&subscriber).await.payload().len(), LENGTH);
        }
        heard.send(()).unwrap();
        assert!(sender.join().unwrap(), "it was read before the sender's thread went on");
    })
    .await;
}

//! Connections that end while they move to the lane.

use busway::{Client, QoS};

use crate::stalled::{QUEUE, bus, info};
use crate::support::{Bus, keep, next, on_lane, until};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_has_sent_before_it_ends_arrives_although_it_has_not_read_what_waits_for_it() {
    const LAST_WORDS: u64 = 500;
    keep(async {
        let bus = bus().await;
        let subscriber = bus.lane("subscriber").await;
        subscriber.subscribe("last/words").await.unwrap();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let (go_on, told) = std::sync::mpsc::channel::<()>();
        let socket = bus.socket();
        let leaving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let client = runtime.block_on(async {
                let client = Client::connect(socket, "stalled").await.unwrap();
                on_lane(&client).await;
                client.subscribe("flood").qos(QoS::Processed).await.unwrap();
                ready.send(()).unwrap();
                told.recv().unwrap();
                for number in 0..LAST_WORDS {
                    client.publish("last/words", number.to_string()).try_enqueue().unwrap();
                }
                client
            });
            // Whoever would read for the client ends first.
            drop(runtime);
            drop(client);
        });
        is_ready.await.unwrap();
        let publisher = bus.unix("publisher").await;
        while info(&bus).queue <= QUEUE / 2 + QUEUE / 4 {
            publisher.publish("flood", vec![7; 200]).qos(QoS::Processed).await.unwrap();
        }
        go_on.send(()).unwrap();
        for number in 0..LAST_WORDS {
            assert_eq!(next(&subscriber).await.payload().as_slice(), number.to_string().as_bytes());
        }
        leaving.join().unwrap();
        until(|| bus.broker().clients().clients.iter().all(|client| client.name != "stalled")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_runtime_has_ended_says_that_it_is_closed() {
    keep(async {
        let bus = Bus::start().await;
        let socket = bus.socket();
        for shm in [true, false] {
            let socket = socket.clone();
            let client = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
                let connected = Client::builder(socket, &format!("orphan.{shm}")).shm(shm).connect();
                runtime.unwrap().block_on(connected).unwrap()
            });
            let client = client.join().unwrap();
            assert!(client.recv().await.is_none(), "nothing comes any more");
            client.send("nobody", "hello").qos(QoS::Processed).await.unwrap_err();
            client.publish("nothing", "hello").await.unwrap_err();
            assert!(matches!(*client.state().borrow(), busway::client::ConnectionState::Closed { .. }));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_that_a_client_has_not_read_before_its_runtime_ended_are_given_back() {
    // More than a user may have connections that have ended and still hold payloads.
    const CLIENTS: usize = 80;
    keep(async {
        let bus = Bus::start().await;
        let publisher = bus.lane("publisher").await;
        for number in 0..CLIENTS {
            let socket = bus.socket();
            let (ready, is_ready) = tokio::sync::oneshot::channel();
            let (reads, mut has_read) = tokio::sync::oneshot::channel();
            let (go_on, told) = std::sync::mpsc::channel::<()>();
            let unread = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let client = runtime.block_on(async {
                    let client = Client::connect(socket, &format!("reader.{number}")).await.unwrap();
                    on_lane(&client).await;
                    client.subscribe("picture").await.unwrap();
                    ready.send(()).unwrap();
                    // As soon as one comes in place, the others do.
                    while !next(&client).await.payload().is_in_place() {}
                    reads.send(()).unwrap();
                    client
                });
                told.recv().unwrap();
                drop(runtime);
                drop(client);
            });
            is_ready.await.unwrap();
            let publish = || publisher.publish("picture", vec![7; 10_000]).qos(QoS::Processed);
            while has_read.try_recv().is_err() {
                publish().await.unwrap();
                tokio::task::yield_now().await;
            }
            let name = format!("reader.{number}");
            let in_place = || {
                let clients = bus.broker().clients().clients;
                clients.iter().find(|client| client.name == name).and_then(|client| client.in_place).unwrap()
            };
            let before = in_place();
            for _ in 0..5 {
                publish().await.unwrap();
            }
            until(|| in_place() == before + 5).await;
            go_on.send(()).unwrap();
            unread.join().unwrap();
        }
        bus.lane("the.next").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_ring_at_the_end_of_the_broker_is_received_whatever_the_queue_holds() {
    // What one turn brings, and a little; the ring holds more than three times as much.
    const QUEUE: usize = 1100;
    keep(async {
        let mut bus = Bus::start().await;
        let publisher = bus.lane("publisher").await;
        let socket = bus.socket();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let (go_on, told) = std::sync::mpsc::channel::<()>();
        let stalled = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let builder = Client::builder(socket, "stalled").receive_queue(QUEUE, 64 << 20);
                let client = builder.connect().await.unwrap();
                on_lane(&client).await;
                client.subscribe("flood").await.unwrap();
                ready.send(()).unwrap();
                // Nothing of it runs, until all of it has been written and the broker has gone.
                told.recv().unwrap();
                let mut received = 0;
                while let Some(frame) = client.recv().await {
                    received += usize::from(frame.topic() == Some("flood"));
                }
                (received, client.lost_frames())
            })
        });
        is_ready.await.unwrap();
        for _ in 0..3 * QUEUE {
            publisher.publish("flood", "x").await.unwrap();
        }
        publisher.publish("flood", "x").qos(QoS::Processed).await.unwrap();
        bus.shut_down().await;
        go_on.send(()).unwrap();
        assert_eq!(stalled.join().unwrap(), (3 * QUEUE + 1, 0));
    })
    .await;
}

//! From when a client has connected until it is on the lane, or knows why it will not be.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use busway::client::{Reconnect, Transport};
use busway::{Client, LaneOff};
use busway_net::wire::{HELLO, ResultCode};

use crate::support::{Bus, keep};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);
/// Long enough for a broker that never answers.
const SHORT: Duration = Duration::from_millis(50);

// On one thread the connection's task has not run when `connect` returns.
#[tokio::test]
async fn right_after_connecting_the_lane_is_being_negotiated() {
    keep(async {
        let bus = Bus::start().await;
        let client = Client::connect(bus.socket(), "client").await.unwrap();
        assert_eq!(client.lane_off_reason(), Some(LaneOff::Negotiating));
        assert_eq!(client.transport(), Transport::Unix);
        assert!(!client.loan(1 << 20).is_in_place());
        assert_eq!(client.wait_for_lane(LONG).await, Ok(()));
        assert_eq!((client.transport(), client.lane_off_reason()), (Transport::Lane, None));
    })
    .await;
}

#[tokio::test]
async fn where_there_will_be_no_lane_nobody_waits_for_it() {
    keep(async {
        let bus = Bus::start().await;
        assert_eq!(bus.unix("unix").await.wait_for_lane(LONG).await, Err(LaneOff::NotAsked));
        let tcp = bus.broker().endpoints().last().expect("it listens on a port").clone();
        let tcp = Client::connect(tcp, "tcp").await.unwrap();
        assert_eq!(tcp.wait_for_lane(LONG).await, Err(LaneOff::NotAsked));
        assert_eq!(bus.internal("internal").wait_for_lane(LONG).await, Ok(()));
        let without = Bus::with(|builder| builder.shm(false)).await;
        let refused = Client::connect(without.socket(), "refused").await.unwrap();
        assert_eq!(refused.wait_for_lane(LONG).await, Err(LaneOff::Disabled));
    })
    .await;
}

#[tokio::test]
async fn the_wait_ends_with_the_connection() {
    keep(async {
        let bus = Bus::start().await;
        let client = bus.lane("client").await;
        client.close().await;
        assert_eq!(client.wait_for_lane(LONG).await, Err(LaneOff::Disconnected));
        assert_eq!(client.lane_off_reason(), Some(LaneOff::Disconnected));
    })
    .await;
}

#[tokio::test]
async fn who_connects_again_waits_for_the_next_lane() {
    keep(async {
        let mut bus = Bus::start().await;
        let again = Reconnect { first_delay: Duration::from_millis(1), max_delay: Duration::from_millis(10) };
        let client = Client::builder(bus.socket(), "client").reconnect(again).connect().await.unwrap();
        assert_eq!(client.wait_for_lane(LONG).await, Ok(()));
        bus.shut_down().await;
        while client.is_connected() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(client.wait_for_lane(SHORT).await, Err(LaneOff::Disconnected));
        bus.restart(|builder| builder).await;
        assert_eq!(client.wait_for_lane(LONG).await, Ok(()));
        assert_eq!(client.transport(), Transport::Lane);
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_knows_no_lane_is_waited_for_as_long_as_was_asked() {
    keep(async {
        let path = std::env::temp_dir().join(format!("busway-coming-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a fresh path can be bound");
        let broker = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client comes");
            stream.write_all(&HELLO).expect("it listens");
            stream.read_exact(&mut [0; 3]).expect("its greeting");
            stream.write_all(&[ResultCode::OK.0]).expect("it listens");
            stream.read_exact(&mut [0; 8]).expect("its name");
            stream.write_all(&[ResultCode::OK.0]).expect("it listens");
            // Nothing more, until the client goes.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let client = Client::connect(path.clone(), "client").await.unwrap();
        assert_eq!(client.wait_for_lane(SHORT).await, Err(LaneOff::Negotiating));
        assert_eq!(client.transport(), Transport::Unix);
        drop(client);
        tokio::task::spawn_blocking(|| broker.join()).await.unwrap().expect("no panic");
        let _ = std::fs::remove_file(path);
    })
    .await;
}

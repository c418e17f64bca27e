//! Where memory for lanes is scarce, more of them get less.

use busway::LaneOff;
use busway::client::Transport;

use crate::support::{Bus, keep, next, on_lane, pattern, until};

/// Of this much one user may use three quarters, and lanes are wide as long as a quarter of it is not in use.
const ALL: u64 = 16 << 20;
/// What a wide lane takes at least.
const WIDE: u64 = (256 + 512) << 10;
const FRAMES: usize = 3000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_clients_than_would_have_room_otherwise_get_a_lane_and_the_rest_the_socket() {
    keep(async {
        let bus = Bus::with(|builder| builder.shm_bytes(ALL)).await;
        let mut clients = Vec::new();
        let refused = loop {
            let name = format!("client.{}", clients.len());
            let client = busway::Client::connect(bus.socket(), &name).await.unwrap();
            until(|| matches!(client.lane_off_reason(), None | Some(LaneOff::Memory))).await;
            if client.transport() != Transport::Lane {
                break client;
            }
            clients.push(client);
        };
        let if_all_were_wide = ALL / 4 * 3 / WIDE;
        assert!(clients.len() as u64 > if_all_were_wide, "{} of {if_all_were_wide}", clients.len());

        // A wide one, a narrow one and the one without a lane: more than either ring holds arrives at each.
        let narrow = clients.pop().unwrap();
        let wide = clients.swap_remove(0);
        on_lane(&narrow).await;
        for receiver in [&wide, &narrow, &refused] {
            receiver.subscribe("data").await.unwrap();
        }
        for number in 0..FRAMES {
            clients[0].publish("data", pattern(200, number)).await.unwrap();
        }
        for receiver in [&wide, &narrow, &refused] {
            for number in 0..FRAMES {
                assert_eq!(next(receiver).await.payload()[..], pattern(200, number), "{}", receiver.name());
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_large_payloads_have_used_up_comes_back_for_small_ones() {
    keep(async {
        let bus = Bus::with(|builder| builder.shm_client_bytes(16 << 20)).await;
        let interval = std::time::Duration::from_millis(10);
        let publisher =
            busway::Client::builder(bus.socket(), "publisher").keep_alive(interval).connect().await.unwrap();
        on_lane(&publisher).await;
        let subscriber = bus.lane("subscriber").await;
        subscriber.subscribe("picture").await.unwrap();
        // Twice as much memory as it needs, which is all.
        publisher.publish("picture", pattern(8 << 20, 0)).await.unwrap();
        assert_eq!(next(&subscriber).await.payload().len(), 8 << 20);
        loop {
            publisher.publish("picture", pattern(100_000, 1)).await.unwrap();
            if next(&subscriber).await.payload().is_in_place() {
                break;
            }
            tokio::time::sleep(interval).await;
        }
    })
    .await;
}

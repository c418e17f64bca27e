//! Who sends without ever waiting is heard, and leaves others their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::bus::{Bus, Place};
use crate::promises::promises;
use crate::support::WATCHDOG;

promises! {
    over_sockets {
        who_never_waits_is_heard
        who_sends_in_a_loop_leaves_others_their_turn
        who_sends_large_payloads_in_a_loop_leaves_others_their_turn_sooner
    }
}

/// Long enough that the coarse clock goes on meanwhile, however the kernel is built.
const WORK: Duration = Duration::from_millis(20);
const FRAMES: usize = 5;

async fn who_never_waits_is_heard(place: Place) {
    let bus = place.open().await;
    let receiver = bus.subscriber("receiver", &["device"]).await;
    let (heard, wait) = std::sync::mpsc::channel();
    let sender = sender_of(&bus);
    let sender = thread::spawn(move || {
        alone().block_on(async {
            let client = sender.connect().await.expect("the broker is there");
            // On the lane, if there is one.
            tokio::time::sleep(Duration::from_millis(300)).await;
            for _ in 0..FRAMES {
                client.publish("device", "data").await.expect("it is accepted");
                // As who reads from a device does.
                thread::sleep(WORK);
            }
            wait.recv_timeout(WATCHDOG / 2).expect("all were heard before this thread waits for anything");
        });
    });
    for _ in 0..FRAMES {
        let frame = receiver.recv().await.expect("the connection stays");
        assert_eq!(frame.payload().as_slice(), b"data");
    }
    heard.send(()).expect("the sender waits for it");
    tokio::task::spawn_blocking(move || sender.join()).await.expect("it ends").expect("nothing went wrong");
}

async fn who_sends_in_a_loop_leaves_others_their_turn(place: Place) {
    leave_turns(place, 4, (20_000, b"data")).await;
}

async fn who_sends_large_payloads_in_a_loop_leaves_others_their_turn_sooner(place: Place) {
    leave_turns(place, 2, (40, &vec![0; 1 << 20])).await;
}

/// Sends so often, without anything to wait for, and leaves so many turns.
async fn leave_turns(place: Place, turns: usize, (times, payload): (usize, &[u8])) {
    let bus = place.open().await;
    let (sender, payload) = (sender_of(&bus), payload.to_vec());
    let work = move || {
        alone().block_on(async {
            let client = sender.connect().await.expect("the broker is there");
            let had_turns = Arc::new(AtomicBool::new(false));
            let other = tokio::spawn({
                let had_turns = Arc::clone(&had_turns);
                async move {
                    for _ in 1..turns {
                        tokio::task::yield_now().await;
                    }
                    had_turns.store(true, Ordering::Relaxed);
                }
            });
            for _ in 0..times {
                client.publish("nobody/listens", &payload[..]).await.expect("it is accepted");
            }
            assert!(had_turns.load(Ordering::Relaxed), "the other task ran before the loop was over");
            other.await.expect("it has ended");
        });
    };
    tokio::task::spawn_blocking(work).await.expect("nothing went wrong");
}

fn sender_of(bus: &Bus) -> busway::client::Builder {
    bus.builder("sender")
}

fn alone() -> tokio::runtime::Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be started")
}

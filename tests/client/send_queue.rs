//! A broker that does not read: what a client sends waits in a bounded queue.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use busway::client::{SendError, TryErrorKind};
use busway::{Client, QoS};

use crate::expectations::{poll_once, until};
use crate::fake_broker::{FakeBroker, FakePeer};
use crate::promises::promises;
use crate::support::operation;

promises! {
    alone {
        a_full_queue_gives_the_payload_back
        who_awaits_goes_on_when_there_is_room
        everybody_who_waits_goes_on_when_there_is_room
        subscriptions_wait_for_room_too
        what_is_dropped_while_it_waits_is_never_sent
        a_queue_that_stands_still_keeps_no_task_that_gave_up
        the_queue_is_bounded_in_frames
        the_end_of_the_connection_ends_those_who_wait
        a_queue_of_one_frame_works
    }
}

/// So large that a handful fills whatever the sockets hold.
const LENGTH: usize = 256 << 10;
/// More frames than sockets and queue hold: 4 MiB of socket buffers would be a lot.
const MANY: usize = 64;

fn payload(number: usize) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(LENGTH, 0);
    payload
}

/// A client with a queue of eight frames, and a broker that has not begun to read.
async fn stalled() -> (Client, FakePeer) {
    let broker = FakeBroker::start();
    // Nothing that waits here may end by the client's own timeout.
    let builder = broker.builder("anna").send_queue(8, 64 << 20).timeout(Duration::from_secs(3_600));
    broker.connect(builder).await
}

/// Sends numbered frames until nothing more is taken; says how many were.
async fn fill(client: &Client) -> usize {
    let mut accepted = 0;
    let mut refusals = 0;
    // The queue may be full for a moment while the sockets still take some of it.
    while refusals < 20 {
        match client.publish("load", payload(accepted)).try_enqueue() {
            Ok(_) => {
                accepted += 1;
                refusals = 0;
            }
            Err(error) => {
                assert_eq!(error.error, TryErrorKind::Full);
                assert!(error.payload.as_slice() == payload(accepted), "the payload comes back");
                refusals += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert!(accepted < MANY, "the queue is bounded");
    }
    accepted
}

/// The number in the next frame, which has to be whole.
async fn take(peer: &mut FakePeer) -> usize {
    let frame = peer.expect_frame().await;
    let body = frame.body.strip_prefix(b"load\0").expect("a publication of the load");
    assert_eq!((frame.operation, body.len()), (operation::PUBLISH, LENGTH));
    usize::from_le_bytes(body[..8].try_into().expect("eight bytes"))
}

async fn a_full_queue_gives_the_payload_back() {
    let (client, mut peer) = stalled().await;
    let accepted = fill(&client).await;
    let mut late = 0;
    until(|| match client.send("bert", "borrowed").qos(QoS::Processed).try_enqueue() {
        Ok(_) => {
            late += 1;
            false
        }
        Err(error) => {
            assert_eq!((&error.error, error.payload.as_slice()), (&TryErrorKind::Full, &b"borrowed"[..]));
            assert_eq!(error.to_string(), error.error.to_string());
            true
        }
    })
    .await;
    for number in 0..accepted {
        assert_eq!(take(&mut peer).await, number);
    }
    for _ in 0..late {
        assert_eq!(peer.expect_frame().await.body, b"bert\0borrowed");
    }
}

async fn who_awaits_goes_on_when_there_is_room() {
    let (client, mut peer) = stalled().await;
    let sender = client.clone();
    let sending = tokio::spawn(async move {
        for number in 0..MANY {
            sender.publish("load", payload(number)).await?;
        }
        Ok::<(), SendError>(())
    });
    // All of it cannot have been taken, however long it has had.
    until(|| client.publish("never", payload(0)).try_enqueue().is_err()).await;
    assert!(!sending.is_finished());
    let mut expected = 0;
    while expected < MANY {
        let frame = peer.expect_frame().await;
        if let Some(body) = frame.body.strip_prefix(b"load\0") {
            assert_eq!(body[..8], expected.to_le_bytes());
            expected += 1;
        }
    }
    assert_eq!(sending.await.expect("no task panics"), Ok(()));
}

async fn everybody_who_waits_goes_on_when_there_is_room() {
    let (client, mut peer) = stalled().await;
    let accepted = fill(&client).await;
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move { client.publish("load", payload(1_000 + task)).await })
        })
        .collect();
    for number in 0..accepted {
        assert_eq!(take(&mut peer).await, number);
    }
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(take(&mut peer).await);
    }
    others.sort_unstable();
    assert_eq!(others, (1_000..1_020).collect::<Vec<_>>());
    for task in tasks {
        assert_eq!(task.await.expect("no task panics"), Ok(()));
    }
}

async fn subscriptions_wait_for_room_too() {
    let (client, mut peer) = stalled().await;
    let accepted = fill(&client).await;
    let answer = tokio::join!(client.subscribe("light").qos(QoS::No), async {
        for number in 0..accepted {
            assert_eq!(take(&mut peer).await, number);
        }
        let frame = peer.expect_frame().await;
        assert_eq!((frame.operation, &frame.body[..]), (operation::SUBSCRIBE, &b"light"[..]));
    });
    assert_eq!(answer.0, Ok(()));
}

async fn what_is_dropped_while_it_waits_is_never_sent() {
    let (client, mut peer) = stalled().await;
    let mut accepted = fill(&client).await;
    let mut dropped = 0;
    while dropped < 50 {
        let mut operation = client.publish("load", payload(accepted));
        match poll_once(&mut operation) {
            Poll::Pending => dropped += 1,
            Poll::Ready(answer) => {
                assert_eq!(answer, Ok(()));
                accepted += 1;
            }
        }
    }
    let answer = tokio::join!(client.publish("load", payload(accepted)), async {
        for number in 0..=accepted {
            assert_eq!(take(&mut peer).await, number);
        }
    });
    assert_eq!(answer.0, Ok(()));
    client.publish("end", "").await.expect("there is room");
    assert_eq!(peer.expect_frame().await.body, b"end\0");
}

async fn a_queue_that_stands_still_keeps_no_task_that_gave_up() {
    struct Task;
    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    let (client, _peer) = stalled().await;
    fill(&client).await;
    let task = Arc::new(Task);
    let waker = Waker::from(Arc::clone(&task));
    let mut context = Context::from_waker(&waker);
    let mut kept = Vec::new();
    let mut waited = 0;
    // The sockets may still take some.
    while waited < 20 {
        let mut futures: [Pin<Box<dyn Future<Output = _>>>; 4] = [
            Box::pin(client.publish("load", payload(0))),
            Box::pin(async { client.send("bert", payload(0)).qos(QoS::Processed).enqueue().await.map(drop) }),
            Box::pin(client.subscribe("light")),
            Box::pin(client.flush()),
        ];
        if futures.iter_mut().all(|future| future.as_mut().poll(&mut context).is_pending()) {
            waited += 1;
        }
        kept.extend(futures);
    }
    assert!(Arc::strong_count(&task) > 2, "somebody waits");
    drop(kept);
    drop(waker);
    assert_eq!(Arc::strong_count(&task), 1);
}

async fn the_queue_is_bounded_in_frames() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(broker.builder("anna").send_queue(16, usize::MAX)).await;
    // A large frame that the sockets do not take, and small ones behind it.
    client.publish("load", vec![0; 16 << 20]).await.expect("an empty queue takes any payload");
    let mut accepted = 0;
    while client.publish("small", "").try_enqueue().is_ok() {
        accepted += 1;
    }
    assert!((1..=16).contains(&accepted), "{accepted} frames were taken");
    assert_eq!(peer.expect_frame().await.body.len(), 5 + (16 << 20));
    for _ in 0..accepted {
        assert_eq!(peer.expect_frame().await.body, b"small\0");
    }
}

async fn the_end_of_the_connection_ends_those_who_wait() {
    let (client, peer) = stalled().await;
    fill(&client).await;
    let mut waiting = Vec::new();
    for number in 0..4 {
        let client = client.clone();
        waiting.push(tokio::spawn(async move {
            match number {
                0 => client.publish("load", payload(0)).await,
                1 => client.send("bert", payload(0)).qos(QoS::Processed).enqueue().await.map(drop),
                2 => client.subscribe("light").await,
                _ => client.flush().await,
            }
        }));
    }
    tokio::task::yield_now().await;
    drop(peer);
    for task in waiting {
        assert_eq!(task.await.expect("no task panics"), Err(SendError::Disconnected));
    }
}

async fn a_queue_of_one_frame_works() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(broker.builder("anna").send_queue(1, 1)).await;
    let sending = tokio::spawn(async move {
        for number in 0..MANY {
            client.publish("load", payload(number)).await.expect("it is accepted");
        }
    });
    for number in 0..MANY {
        assert_eq!(take(&mut peer).await, number);
    }
    sending.await.expect("no task panics");
}

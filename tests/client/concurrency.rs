//! One connection, many tasks.

use std::collections::{BTreeSet, HashMap};

use busway::{Client, QoS};

use crate::bus::Place;
use crate::expectations::{EVERY_QOS, NOT_REGISTERED, next_text, settle};
use crate::promises::promises;

promises! {
    everywhere {
        sixty_four_clones_send_at_once_and_each_keeps_its_order
        sixty_four_clones_get_their_own_confirmations
        large_and_small_frames_of_many_clones_arrive_whole
        several_clones_receive_and_each_frame_comes_once
        a_clone_that_stops_waiting_leaves_the_frames_to_the_others
        clones_have_the_name_and_the_state_of_the_original
        two_clients_flood_each_other_and_lose_nothing
    }
}

const CLONES: usize = 64;

async fn sixty_four_clones_send_at_once_and_each_keeps_its_order(place: Place) {
    const EACH: usize = 40;
    let bus = place.open().await;
    let (sender, receiver) = (bus.client("sender").await, bus.subscriber("receiver", &["order"]).await);
    let tasks: Vec<_> = (0..CLONES).map(|task| tokio::spawn(count_up(sender.clone(), task, EACH))).collect();
    let mut next: HashMap<usize, usize> = HashMap::new();
    for _ in 0..CLONES * EACH {
        let text = next_text(&receiver).await;
        let (task, number) = text.split_once(' ').expect("two numbers");
        let expected = next.entry(task.parse().expect("a number")).or_default();
        assert_eq!(number, expected.to_string(), "task {task}");
        *expected += 1;
    }
    for task in tasks {
        task.await.expect("no task panics");
    }
}

/// Sends numbers by messages and publications, at every QoS.
async fn count_up(sender: Client, task: usize, count: usize) {
    for number in 0..count {
        let payload = format!("{task} {number}");
        let operation =
            if number % 2 == 0 { sender.send("receiver", payload) } else { sender.publish("order", payload) };
        operation.qos(EVERY_QOS[(task + number / 2) % 4]).await.expect("it is accepted");
    }
}

async fn sixty_four_clones_get_their_own_confirmations(place: Place) {
    let bus = place.open().await;
    let client = bus.client("anna").await;
    let tasks: Vec<_> = (0..CLONES)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    let (target, expected) =
                        if (task + number) % 2 == 0 { ("anna", Ok(())) } else { ("nobody", NOT_REGISTERED) };
                    assert_eq!(client.send(target, "").qos(QoS::Processed).await, expected);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("every clone got what it asked for");
    }
    for _ in 0..CLONES * 10 {
        assert!(client.try_recv().is_some(), "whoever has its confirmation has the frame");
    }
    assert!(client.try_recv().is_none());
}

async fn large_and_small_frames_of_many_clones_arrive_whole(place: Place) {
    const EACH: usize = 8;
    let bus = place.open().await;
    let (sender, receiver) = (bus.client("sender").await, bus.client("receiver").await);
    let tasks: Vec<_> = (0..16_u8)
        .map(|task| {
            let sender = sender.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    // Copied, shared, and larger than what a socket takes at once.
                    let length = [10, 5_000, 100_000, 700_000][number % 4];
                    sender.send("receiver", vec![task; length]).await.expect("it is accepted");
                }
            })
        })
        .collect();
    let mut lengths = [0; 16];
    for _ in 0..16 * EACH {
        let payload = receiver.recv().await.expect("it comes").into_payload();
        let task = payload[0];
        assert!(payload.iter().all(|byte| *byte == task), "no frame has bytes of another");
        lengths[usize::from(task)] += payload.len();
    }
    assert_eq!(lengths, [2 * (10 + 5_000 + 100_000 + 700_000); 16]);
    for task in tasks {
        task.await.expect("no task panics");
    }
}

async fn several_clones_receive_and_each_frame_comes_once(place: Place) {
    const FRAMES: usize = 2_000;
    let bus = place.open().await;
    let (sender, receiver) = (bus.client("sender").await, bus.client("receiver").await);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let receiver = receiver.clone();
            tokio::spawn(async move {
                let mut numbers = Vec::new();
                while let Some(frame) = receiver.recv().await {
                    let text = String::from_utf8(frame.payload().to_vec()).expect("the payload is text");
                    numbers.push(text.parse::<usize>().expect("a number"));
                    tokio::task::yield_now().await;
                }
                numbers
            })
        })
        .collect();
    for number in 0..FRAMES {
        let qos = if number % 50 == 0 { QoS::Processed } else { QoS::No };
        sender.send("receiver", number.to_string()).qos(qos).await.expect("it is accepted");
    }
    settle(&sender).await;
    // Its own confirmation follows everything that was sent to it; what is queued then is still handed out.
    settle(&receiver).await;
    receiver.close().await;
    let mut all = Vec::new();
    for task in tasks {
        let numbers = task.await.expect("no task panics");
        assert!(numbers.is_sorted(), "each clone sees the order");
        all.extend(numbers);
    }
    assert_eq!(all.len(), FRAMES, "no frame comes twice");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), (0..FRAMES).collect());
}

async fn a_clone_that_stops_waiting_leaves_the_frames_to_the_others(place: Place) {
    let bus = place.open().await;
    let (sender, receiver) = (bus.client("sender").await, bus.client("receiver").await);
    for number in 0..200 {
        let quitter = receiver.clone();
        let waiting = tokio::spawn(async move { quitter.recv().await });
        let staying = receiver.clone();
        let staying = tokio::spawn(async move { staying.recv().await });
        tokio::task::yield_now().await;
        sender.send("receiver", number.to_string()).await.expect("it is accepted");
        waiting.abort();
        let taken = match waiting.await {
            Ok(frame) => {
                staying.abort();
                let _ = staying.await;
                frame
            }
            Err(_) => staying.await.expect("it is not aborted"),
        };
        assert_eq!(taken.expect("it comes").payload().as_slice(), number.to_string().as_bytes());
    }
}

async fn clones_have_the_name_and_the_state_of_the_original(place: Place) {
    let bus = place.open().await;
    let client = bus.client("anna").await;
    let clone = client.clone();
    assert_eq!((clone.name(), clone.is_connected(), clone.lost_frames()), ("anna", true, 0));
    drop(client);
    assert!(clone.is_connected(), "one of two is not the last");
    clone.send("anna", "note").await.expect("it is accepted");
    assert_eq!(next_text(&clone).await, "note");
    clone.close().await;
    assert!(!clone.is_connected());
}

async fn two_clients_flood_each_other_and_lose_nothing(place: Place) {
    const FRAMES: usize = 5_000;
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    let flood = async |from: &Client, to: &str| {
        for number in 0..FRAMES {
            from.send(to, number.to_string()).await.expect("it is accepted");
        }
    };
    let take = async |client: &Client| {
        for number in 0..FRAMES {
            assert_eq!(next_text(client).await, number.to_string());
        }
    };
    tokio::join!(flood(&anna, "bert"), flood(&bert, "anna"), take(&anna), take(&bert));
}

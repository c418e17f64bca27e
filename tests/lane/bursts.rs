//! Frames that differ in nothing but their payloads go together, and nothing of that may be seen.

use busway::{Client, Frame, FrameKind, QoS};

use crate::stalled::{self, WAYS, stall};
use crate::support::{Bus, keep, next, pattern, until};

/// By what a frame is told from others.
type Told = (FrameKind, Option<String>, Vec<u8>);

fn told(frame: &Frame) -> Told {
    assert_eq!((frame.sender(), frame.lost_before()), ("publisher", 0));
    (frame.kind(), frame.topic().map(str::to_owned), frame.payload().to_vec())
}

async fn expect_all(client: &Client, expected: Vec<Told>) {
    for (place, expected) in expected.into_iter().enumerate() {
        // Not `assert_eq`: nobody wants to read all bytes.
        assert!(told(&next(client).await) == expected, "{} got another frame at {place}", client.name());
    }
    tokio::task::yield_now().await;
    assert!(client.try_recv().is_none(), "{} got more", client.name());
}

/// Runs shorter and longer than what a broker takes in one go, with payloads that travel in the ring, in an arena and in
/// pieces among each other, and with other frames between the runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_like_frames_keep_their_order_and_their_lengths_for_all() {
    const LENGTHS: [usize; 9] = [64, 0, 1, 511, 64, 513, 64, 4097, 20_000];
    const RUNS: [usize; 7] = [1, 2, 3, 63, 64, 65, 200];
    keep(async {
        let bus = Bus::start().await;
        let publisher = bus.lane("publisher").await;
        let receivers = [bus.lane("lane").await, bus.unix("unix").await, bus.internal("internal")];
        for receiver in &receivers {
            receiver.subscribe(["light", "light/+"]).await.unwrap();
        }
        let mut expected = vec![Vec::new(); receivers.len()];
        let mut number = 0;
        for (round, run) in RUNS.into_iter().enumerate() {
            for kind in 0..4 {
                for _ in 0..run {
                    let payload = pattern(LENGTHS[number % LENGTHS.len()], number);
                    number += 1;
                    let publication = |topic: &str| (FrameKind::Publication, Some(topic.to_owned()), payload.clone());
                    let (operation, told) = match kind {
                        0 => (publisher.publish("light", &payload), publication("light")),
                        1 => (publisher.publish("light/1", &payload), publication("light/1")),
                        2 => (publisher.broadcast("*", &payload), (FrameKind::Broadcast, None, payload.clone())),
                        _ => {
                            let receiver = receivers[round % receivers.len()].name();
                            (publisher.send(receiver, &payload), (FrameKind::Message, None, payload.clone()))
                        }
                    };
                    operation.await.unwrap();
                    for (place, expected) in expected.iter_mut().enumerate() {
                        if kind < 3 || place == round % receivers.len() {
                            expected.push(told.clone());
                        }
                    }
                }
                publisher.publish("light", "confirmed").qos(QoS::Processed).await.unwrap();
                for expected in &mut expected {
                    expected.push((FrameKind::Publication, Some("light".to_owned()), b"confirmed".to_vec()));
                }
            }
        }
        for (receiver, expected) in receivers.iter().zip(expected) {
            expect_all(receiver, expected).await;
        }
    })
    .await;
}

/// What a client does to its own filters holds from there on, however many frames go together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_filters_amid_a_run_holds_from_there_on() {
    keep(async {
        let bus = Bus::start().await;
        let publisher = bus.lane("publisher").await;
        let mut expected = Vec::new();
        for round in 0..20_u8 {
            let is_subscribed = round % 2 == 0;
            let change = match is_subscribed {
                true => publisher.subscribe("light"),
                false => publisher.unsubscribe("light"),
            };
            change.qos(QoS::No).await.unwrap();
            for number in 0..100 {
                publisher.publish("light", [round, number].as_slice()).await.unwrap();
                if is_subscribed {
                    expected.push((FrameKind::Publication, Some("light".to_owned()), vec![round, number]));
                }
            }
        }
        publisher.publish("nobody", "").qos(QoS::Processed).await.unwrap();
        expect_all(&publisher, expected).await;
    })
    .await;
}

/// Nobody waits for any of these frames, and no other frame comes that would find the queue full on its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_read_is_cut_amid_a_run_and_what_it_loses_is_counted() {
    /// More than the buffers of a socket, a ring and the queue hold.
    const SMALL_FRAMES: usize = 100_000;
    keep(async {
        for way in WAYS {
            let bus = stalled::bus().await;
            let stalled = stall(&bus, way, async |client| {
                client.subscribe("a/#").await.expect("it subscribes");
            })
            .await;
            let publisher = bus.lane("publisher").await;
            for _ in 0..SMALL_FRAMES {
                publisher.publish("a/b", &[7; 64]).await.unwrap();
            }
            publisher.flush().await.unwrap();
            until(|| bus.broker().stats().cut_clients == 1).await;
            // What waited for it, and the one for which there was no room.
            assert!(bus.broker().stats().lost_frames > stalled::QUEUE as u64, "{way:?}");
            drop(stalled);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_which_a_segment_holds_one_and_a_half_stay_in_place_however_many_are_kept() {
    // 720p in colours: two of them need two segments, and the rests of those hold no third.
    const FRAME: usize = 1280 * 720 * 3;
    keep(async {
        let bus = Bus::start().await;
        let (camera, viewer) = (bus.lane("camera").await, bus.lane("viewer").await);
        viewer.subscribe("camera").await.expect("it subscribes");
        let mut kept = Vec::new();
        for number in 0..12_u8 {
            let mut loan = camera.loan(FRAME);
            loan[0] = number;
            camera.publish("camera", loan).await.expect("it is accepted");
            let frame = next(&viewer).await;
            assert_eq!((frame.payload()[0], frame.payload().len()), (number, FRAME));
            kept.push(frame);
        }
        // Some may have been written when there was no memory to share yet.
        let places: Vec<bool> = kept.iter().map(|frame| frame.payload().is_in_place()).collect();
        assert!(places.iter().filter(|is_in_place| !**is_in_place).count() <= 4, "{places:?}");
    })
    .await;
}

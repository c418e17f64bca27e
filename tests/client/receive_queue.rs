//! A client that does not take its frames: the newest are dropped and counted, and nothing else suffers.

use busway::client::Builder;
use busway::{Client, QoS};

use crate::bus::{Bus, Place};
use crate::expectations::{NOT_REGISTERED, expect_nothing, next, text_of, until};
use crate::promises::promises;

promises! {
    over_sockets {
        the_newest_frames_are_dropped_and_counted
        the_loss_is_reported_with_the_first_frame_after_it
        confirmations_arrive_while_the_queue_is_full
        subscriptions_change_while_the_queue_is_full
        the_queue_is_bounded_in_bytes
        an_empty_queue_takes_any_payload
        a_queue_of_nothing_is_one_of_a_frame
        a_client_that_takes_its_frames_again_loses_nothing_more
        a_client_that_does_not_take_its_frames_stays_connected
    }
}

/// A sender, and a receiver with that queue.
async fn pair(bus: &Bus, queue: impl FnOnce(Builder) -> Builder) -> [Client; 2] {
    let receiver = queue(bus.builder("receiver")).connect().await.expect("the broker is there");
    [bus.client("sender").await, receiver]
}

async fn send(sender: &Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        sender.send("receiver", number.to_string()).qos(QoS::Processed).await.expect("the receiver is there");
    }
}

/// The next frame: its number, and how many were lost before it.
async fn take(receiver: &Client) -> (usize, u64) {
    let frame = next(receiver).await;
    (text_of(&frame).parse().expect("a number"), frame.lost_before())
}

async fn the_newest_frames_are_dropped_and_counted(place: Place) {
    let bus = place.open().await;
    let [sender, receiver] = pair(&bus, |builder| builder.receive_queue(4, 1 << 20)).await;
    send(&sender, 0..10).await;
    until(|| receiver.lost_frames() == 6).await;
    for number in 0..4 {
        assert_eq!(take(&receiver).await, (number, 0));
    }
    assert!(receiver.try_recv().is_none());
}

async fn the_loss_is_reported_with_the_first_frame_after_it(place: Place) {
    let bus = place.open().await;
    let [sender, receiver] = pair(&bus, |builder| builder.receive_queue(2, 1 << 20)).await;
    send(&sender, 0..5).await;
    until(|| receiver.lost_frames() == 3).await;
    assert_eq!(take(&receiver).await, (0, 0));
    send(&sender, 5..6).await;
    assert_eq!(take(&receiver).await, (1, 0), "what was there before the loss");
    assert_eq!(take(&receiver).await, (5, 3));
    send(&sender, 6..7).await;
    assert_eq!(take(&receiver).await, (6, 0), "each loss is reported once");
    assert_eq!(receiver.lost_frames(), 3, "and counted for ever");
}

async fn confirmations_arrive_while_the_queue_is_full(place: Place) {
    let bus = place.open().await;
    let [sender, receiver] = pair(&bus, |builder| builder.receive_queue(1, 1 << 20)).await;
    send(&sender, 0..100).await;
    until(|| receiver.lost_frames() == 99).await;
    for _ in 0..100 {
        assert_eq!(receiver.send("sender", "").qos(QoS::Processed).await, Ok(()));
        assert_eq!(receiver.send("nobody", "").qos(QoS::Processed).await, NOT_REGISTERED);
    }
    assert_eq!(take(&receiver).await, (0, 0));
}

async fn subscriptions_change_while_the_queue_is_full(place: Place) {
    let bus = place.open().await;
    let [sender, receiver] = pair(&bus, |builder| builder.receive_queue(1, 1 << 20)).await;
    send(&sender, 0..10).await;
    until(|| receiver.lost_frames() == 9).await;
    receiver.subscribe("light").await.expect("it is confirmed");
    assert_eq!(take(&receiver).await, (0, 0));
    sender.publish("light", "1").await.expect("it is accepted");
    assert_eq!(take(&receiver).await, (1, 9));
}

async fn the_queue_is_bounded_in_bytes(place: Place) {
    let bus = place.open().await;
    let [sender, receiver] = pair(&bus, |builder| builder.receive_queue(1_000, 1_000)).await;
    // Short enough to travel in the ring: payloads in shared memory would weigh nothing.
    for number in 0..10_u8 {
        sender.send("receiver", vec![number; 300]).qos(QoS::Processed).await.expect("the receiver is there");
    }
    // Frames are taken while fewer bytes wait than the limit: 0, 300, 600 and 900 of them.
    until(|| receiver.lost_frames() == 6).await;
    for number in 0..4 {
        assert_eq!(next(&receiver).await.payload()[0], number);
    }
    sender.send("receiver", "after").await.expect("it is accepted");
    assert_eq!(next(&receiver).await.lost_before(), 6);
}

async fn an_empty_queue_takes_any_payload(place: Place) {
    let bus = place.open().await;
    let [sender, receiver] = pair(&bus, |builder| builder.receive_queue(1, 1)).await;
    for number in 0..5_u8 {
        sender.send("receiver", vec![number; 1 << 20]).qos(QoS::Processed).await.expect("the receiver is there");
        assert_eq!(next(&receiver).await.payload().len(), 1 << 20);
    }
    assert_eq!(receiver.lost_frames(), 0);
}

async fn a_queue_of_nothing_is_one_of_a_frame(place: Place) {
    let bus = place.open().await;
    let [sender, receiver] = pair(&bus, |builder| builder.receive_queue(0, 0).send_queue(0, 0)).await;
    send(&sender, 0..2).await;
    until(|| receiver.lost_frames() == 1).await;
    assert_eq!(take(&receiver).await, (0, 0));
    expect_nothing_but_loss(&receiver).await;
}

/// A message to itself is there, and tells of the frame that was lost.
async fn expect_nothing_but_loss(receiver: &Client) {
    receiver.send("receiver", "1").await.expect("even this queue takes it");
    assert_eq!(take(receiver).await, (1, 1));
}

async fn a_client_that_takes_its_frames_again_loses_nothing_more(place: Place) {
    let bus = place.open().await;
    let [sender, receiver] = pair(&bus, |builder| builder.receive_queue(8, 1 << 20)).await;
    for round in 0..10 {
        let first = round * 12;
        send(&sender, first..first + 12).await;
        until(|| receiver.lost_frames() == (u64::try_from(round).expect("small") + 1) * 4).await;
        for number in 0..8 {
            let lost = if number == 0 && round > 0 { 4 } else { 0 };
            assert_eq!(take(&receiver).await, (first + number, lost));
        }
    }
}

async fn a_client_that_does_not_take_its_frames_stays_connected(place: Place) {
    let bus = place.start_with(&["--queue-size", "64"]);
    let [sender, receiver] = pair(&bus, |builder| builder.receive_queue(1, 1 << 20)).await;
    // The broker would cut a connection that nobody reads; this one is read, whatever its user does.
    send(&sender, 0..2_000).await;
    until(|| receiver.lost_frames() == 1_999).await;
    assert!(receiver.is_connected());
    assert_eq!(take(&receiver).await, (0, 0));
    sender.send("receiver", "2000").await.expect("it is accepted");
    assert_eq!(take(&receiver).await, (2_000, 1_999));
    expect_nothing(&receiver).await;
}

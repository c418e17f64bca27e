//! Messages and broadcasts.

use busway::{FrameKind, QoS};

use crate::bus::Place;
use crate::expectations::{EVERY_QOS, NOT_REGISTERED, expect, expect_message, expect_nothing, next, next_text, settle};
use crate::promises::promises;

promises! {
    everywhere {
        a_message_reaches_its_receiver_with_every_qos
        a_message_reaches_nobody_else
        a_message_to_oneself_arrives
        a_confirmed_message_to_nobody_is_refused
        an_unconfirmed_message_to_nobody_is_no_error
        messages_of_one_sender_keep_their_order_whatever_their_qos
        a_broadcast_reaches_every_name_that_its_mask_matches_with_every_qos
        a_broadcast_that_matches_its_sender_reaches_it_too
        a_confirmed_broadcast_to_nobody_is_confirmed
        what_arrived_can_be_taken_without_waiting
        a_frame_tells_who_sent_it_and_how
    }
}

async fn a_message_reaches_its_receiver_with_every_qos(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    for qos in EVERY_QOS {
        anna.send("bert", "hello").qos(qos).await.expect("bert is there");
        let frame = expect_message(&bert, "anna", "hello").await;
        assert_eq!(frame.is_realtime(), qos.is_realtime(), "{qos:?}");
    }
    expect_nothing(&bert).await;
}

async fn a_message_reaches_nobody_else(place: Place) {
    let bus = place.open().await;
    let (anna, bert, other) = (bus.client("anna").await, bus.client("bert").await, bus.client("bert.b").await);
    anna.send("bert", "hello").qos(QoS::Processed).await.expect("bert is there");
    expect_nothing(&anna).await;
    expect_nothing(&other).await;
    expect_message(&bert, "anna", "hello").await;
}

async fn a_message_to_oneself_arrives(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    anna.send("anna", "note").await.expect("it is accepted");
    expect_message(&anna, "anna", "note").await;
}

async fn a_confirmed_message_to_nobody_is_refused(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    for qos in [QoS::Processed, QoS::RealtimeProcessed] {
        let answer = anna.send("nobody", "hello").qos(qos).await;
        assert_eq!(answer, NOT_REGISTERED);
        assert_eq!(answer.map_err(|error| error.code().0), Err(0x71));
    }
    expect_nothing(&anna).await;
}

async fn an_unconfirmed_message_to_nobody_is_no_error(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    for qos in [QoS::No, QoS::Realtime] {
        assert_eq!(anna.send("nobody", "hello").qos(qos).await, Ok(()));
    }
    expect_nothing(&anna).await;
}

async fn messages_of_one_sender_keep_their_order_whatever_their_qos(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    let mut qos = EVERY_QOS.into_iter().cycle();
    for number in 0..400 {
        anna.send("bert", number.to_string()).qos(qos.next().expect("a cycle")).await.expect("bert is there");
    }
    for number in 0..400 {
        assert_eq!(next_text(&bert).await, number.to_string());
    }
}

async fn a_broadcast_reaches_every_name_that_its_mask_matches_with_every_qos(place: Place) {
    let bus = place.open().await;
    let sender = bus.client("sender").await;
    let [lamp, fan, deep, other] = [
        bus.client("room.lamp").await,
        bus.client("room.fan").await,
        bus.client("room.fan.motor").await,
        bus.client("hall.lamp").await,
    ];
    for qos in EVERY_QOS {
        sender.broadcast("room.*", "all of the room").qos(qos).await.expect("it is confirmed");
        sender.broadcast("room.?", "one level").qos(qos).await.expect("it is confirmed");
        sender.broadcast("?.lamp", "lamps").qos(qos).await.expect("it is confirmed");
        settle(&sender).await;
        for (client, expected) in [
            (&lamp, &["all of the room", "one level", "lamps"][..]),
            (&fan, &["all of the room", "one level"]),
            (&deep, &["all of the room"]),
            (&other, &["lamps"]),
        ] {
            for text in expected {
                let frame = expect(client, FrameKind::Broadcast, "sender", text).await;
                assert_eq!(frame.is_realtime(), qos.is_realtime());
            }
            expect_nothing(client).await;
        }
    }
    expect_nothing(&sender).await;
}

async fn a_broadcast_that_matches_its_sender_reaches_it_too(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("room.anna").await;
    anna.broadcast("room.*", "me too").await.expect("it is accepted");
    expect(&anna, FrameKind::Broadcast, "room.anna", "me too").await;
}

async fn a_confirmed_broadcast_to_nobody_is_confirmed(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    assert_eq!(anna.broadcast("nobody.*", "hello").qos(QoS::Processed).await, Ok(()));
    assert_eq!(anna.broadcast("nobody", "hello").qos(QoS::Processed).await, Ok(()));
    expect_nothing(&anna).await;
}

async fn what_arrived_can_be_taken_without_waiting(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    assert!(anna.try_recv().is_none());
    // Whoever has its confirmation has the frames that came before it.
    anna.send("anna", "note").qos(QoS::Processed).await.expect("it reaches itself");
    let frame = anna.try_recv().expect("it has arrived");
    assert_eq!(frame.into_payload().as_slice(), b"note");
    assert!(anna.try_recv().is_none());
}

async fn a_frame_tells_who_sent_it_and_how(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.subscriber("bert", &["light/#"]).await);
    let second = bus.client("anna%%second").await;
    second.publish("light/level", "87").qos(QoS::RealtimeProcessed).await.expect("it is confirmed");
    let frame = next(&bert).await;
    assert_eq!(
        (frame.kind(), frame.sender(), frame.primary_sender()),
        (FrameKind::Publication, "anna%%second", "anna")
    );
    assert_eq!((frame.topic(), &**frame.payload()), (Some("light/level"), &b"87"[..]));
    assert!(frame.is_realtime());
    assert_eq!(frame.lost_before(), 0);
    anna.send("bert", "").await.expect("it is accepted");
    let frame = next(&bert).await;
    assert_eq!((frame.kind(), frame.primary_sender(), frame.topic()), (FrameKind::Message, "anna", None));
    assert!(frame.payload().is_empty() && !frame.is_realtime());
}

//! Payloads of every length and every kind arrive as they were.

use std::io::Read;

use busway::{Client, Content, FrameKind, Payload, QoS};
use bytes::Bytes;

use crate::bus::Place;
use crate::expectations::next;
use crate::promises::promises;

promises! {
    everywhere {
        payloads_of_every_length_arrive_as_they_were
        payloads_of_every_kind_arrive_as_they_were
        payloads_of_every_length_arrive_by_publication_and_broadcast
        one_large_payload_reaches_many_receivers
        a_payload_that_arrived_can_be_sent_on
        large_and_small_payloads_keep_their_order
        a_payload_can_be_read_in_every_way
    }
}

/// Around the lengths at which something changes on the way, and far beyond what a socket takes at once.
const LENGTHS: [usize; 20] = [
    0,
    1,
    2,
    255,
    4_095,
    4_096,
    4_097,
    16_384,
    32_767,
    32_768,
    65_535,
    65_536,
    65_537,
    131_072,
    262_143,
    262_144,
    1 << 20,
    (1 << 20) + 1,
    3_000_000,
    8 << 20,
];

/// Text of that length in which no stretch looks like another.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32 ^ u32::try_from(length).expect("a test's length is small");
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        b'a' + u8::try_from(state % 26).expect("less than 26")
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn assert_same(payload: &Payload, expected: &[u8], what: &str) {
    assert_eq!(payload.len(), expected.len(), "{what}");
    // Megabytes of difference help nobody.
    assert!(payload.as_slice() == expected, "{what}: {} bytes arrived changed", expected.len());
}

async fn payloads_of_every_length_arrive_as_they_were(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    for length in LENGTHS {
        let payload = pattern(length);
        anna.send("bert", &payload).qos(QoS::Processed).await.expect("bert is there");
        assert_same(next(&bert).await.payload(), &payload, "borrowed");
        anna.send("bert", payload.clone()).await.expect("it is accepted");
        assert_same(next(&bert).await.payload(), &payload, "owned");
    }
}

async fn payloads_of_every_kind_arrive_as_they_were(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    for length in [0, 11, 5_000, 8 << 20] {
        let bytes = pattern(length);
        let text = String::from_utf8(bytes.clone()).expect("the pattern is text");
        let payload = Payload::from(&bytes[..]);
        let kinds: [(&str, Content<'_>); 11] = [
            ("slice", bytes.as_slice().into()),
            ("borrowed vector", (&bytes).into()),
            ("str", text.as_str().into()),
            ("borrowed string", (&text).into()),
            ("vector", bytes.clone().into()),
            ("string", text.clone().into()),
            ("bytes", Bytes::from(bytes.clone()).into()),
            ("payload", payload.clone().into()),
            ("borrowed payload", (&payload).into()),
            ("payload of text", Payload::from(text.clone()).into()),
            ("payload of bytes", Payload::from(Bytes::copy_from_slice(&bytes)).into()),
        ];
        for (kind, content) in kinds {
            assert_eq!((content.len(), content.is_empty()), (length, length == 0));
            anna.send("bert", content).await.expect("it is accepted");
            assert_same(next(&bert).await.payload(), &bytes, kind);
        }
    }
    anna.send("bert", b"array").await.expect("it is accepted");
    assert_same(next(&bert).await.payload(), b"array", "array");
}

async fn payloads_of_every_length_arrive_by_publication_and_broadcast(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.subscriber("group.bert", &["bulk/#"]).await);
    for length in LENGTHS {
        let payload = pattern(length);
        let operations = [
            (FrameKind::Publication, anna.publish("bulk/all", &payload)),
            (FrameKind::Publication, anna.publish_for("bulk/one", "group.bert", &payload)),
            (FrameKind::Broadcast, anna.broadcast("group.*", &payload)),
        ];
        for (kind, operation) in operations {
            operation.await.expect("it is accepted");
            let frame = next(&bert).await;
            assert_eq!(frame.kind(), kind);
            assert_same(frame.payload(), &payload, "a payload");
        }
    }
}

async fn one_large_payload_reaches_many_receivers(place: Place) {
    let bus = place.open().await;
    let publisher = bus.client("publisher").await;
    let mut receivers = Vec::new();
    for number in 0..10 {
        receivers.push(bus.subscriber(&format!("receiver.{number}"), &["film"]).await);
    }
    let payload = Payload::from(pattern(4 << 20));
    for _ in 0..2 {
        publisher.publish("film", &payload).qos(QoS::Processed).await.expect("it is confirmed");
        for receiver in &receivers {
            assert_same(next(receiver).await.payload(), &payload, receiver.name());
        }
    }
}

async fn a_payload_that_arrived_can_be_sent_on(place: Place) {
    let bus = place.open().await;
    let chain: [Client; 3] = [bus.client("a").await, bus.client("b").await, bus.client("c").await];
    for length in [0, 3, 4_097, 1 << 20] {
        let payload = pattern(length);
        chain[0].send("b", &payload).await.expect("it is accepted");
        let frame = next(&chain[1]).await;
        chain[1].send("c", frame.payload()).await.expect("it is accepted");
        chain[1].send("c", frame.into_payload()).await.expect("it is accepted");
        assert_same(next(&chain[2]).await.payload(), &payload, "the first");
        assert_same(next(&chain[2]).await.payload(), &payload, "the second");
    }
}

async fn large_and_small_payloads_keep_their_order(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    let lengths = [1, 600_000, 2, 4_096, 4_097, 0, 2_000_000, 3, 70_000, 5];
    let send = async {
        for length in lengths.iter().cycle().take(60) {
            anna.send("bert", pattern(*length)).await.expect("it is accepted");
        }
    };
    let take = async {
        for length in lengths.iter().cycle().take(60) {
            assert_same(next(&bert).await.payload(), &pattern(*length), "in order");
        }
    };
    tokio::join!(send, take);
}

async fn a_payload_can_be_read_in_every_way(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    anna.send("anna", "0123456789").await.expect("it is accepted");
    let payload = next(&anna).await.into_payload();
    let mut start = [0; 4];
    assert_eq!((payload.copy_to(&mut start), &start), (4, b"0123"));
    let mut long = [b'-'; 12];
    assert_eq!((payload.copy_to(&mut long), &long), (10, b"0123456789--"));
    let mut read = String::new();
    payload.reader().read_to_string(&mut read).expect("memory can be read");
    assert_eq!(
        (read.as_bytes(), payload.to_vec().as_slice(), payload.as_ref()),
        (&payload[..], &payload[..], &payload[..])
    );
    assert_eq!(payload, Payload::from("0123456789"));
    assert!(Payload::new().is_empty());
}

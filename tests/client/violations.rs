//! A broker that breaks the protocol: the connection ends with a reason, and nothing panics.

use std::time::Duration;

use busway::QoS;

use crate::expectations::{DISCONNECTED, expect_closed, expect_message, expect_publication};
use crate::fake_broker::{FakeBroker, delivery};
use crate::promises::promises;

promises! {
    alone {
        every_violation_ends_the_connection_with_a_reason
        what_came_before_a_violation_is_received
        a_violation_ends_what_waits_for_confirmations
        noise_of_every_kind_ends_the_connection_or_is_ignored
        a_frame_cut_short_is_not_delivered
        pings_and_frames_in_single_bytes_are_understood
        frames_without_anything_in_them_are_understood
        a_name_with_a_leading_dot_or_none_at_all_is_a_sender_s_own_business
    }
}

async fn every_violation_ends_the_connection_with_a_reason() {
    let violations = [
        (delivery(0x55, b"bert\0hello"), "unknown frame kind 0x55"),
        (delivery(0x02, b"bert\0hello"), "unknown frame kind 0x02"),
        (delivery(0x12, b"bert"), "no end"),
        (delivery(0x12, b""), "no end"),
        (delivery(0x01, b"bert\0topic without end"), "no end"),
        (delivery(0x12, b"b\xFFrt\0hello"), "UTF-8"),
        (delivery(0x01, b"bert\0t\xC3\0hello"), "UTF-8"),
        ([&[0x12], &u32::MAX.to_le_bytes()[..], &[0]].concat(), "over the limit"),
    ];
    let broker = FakeBroker::start();
    for (bytes, reason) in violations {
        let (client, mut peer) = broker.connect(broker.builder("anna")).await;
        peer.write(&bytes).await;
        let seen = expect_closed(&client).await;
        assert!(seen.contains("protocol") && seen.contains(reason), "{seen}, but {reason} was expected");
        assert!(client.recv().await.is_none());
        assert_eq!(client.publish("light", "on").await, DISCONNECTED);
        // The broker's end of the connection is closed, too.
        assert_eq!(peer.receive().await, None);
    }
}

async fn what_came_before_a_violation_is_received() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(broker.builder("anna")).await;
    peer.write(&[delivery(0x12, b"bert\0hello"), delivery(0x7F, b"")].concat()).await;
    expect_message(&client, "bert", "hello").await;
    assert!(client.recv().await.is_none());
}

async fn a_violation_ends_what_waits_for_confirmations() {
    let broker = FakeBroker::start();
    let builder = broker.builder("anna").timeout(Duration::from_secs(3_600));
    let (client, mut peer) = broker.connect(builder).await;
    let (answer, ()) = tokio::join!(client.send("bert", "").qos(QoS::Processed), async {
        peer.expect_frame().await;
        peer.write(&[0xAA; 100]).await;
    });
    assert_eq!(answer, DISCONNECTED);
}

async fn noise_of_every_kind_ends_the_connection_or_is_ignored() {
    let broker = FakeBroker::start();
    let mut state = 0x1234_5678_9ABC_DEF0_u64;
    for _ in 0..200 {
        let (client, mut peer) = broker.connect(broker.builder("anna")).await;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Zeros and small numbers make frames likely.
            if state.is_multiple_of(3) { 0 } else { state.to_le_bytes()[3] }
        })
        .take(500)
        .collect();
        // It may have ended before all is written.
        let _ = peer.try_write(&noise).await;
        drop(peer);
        while client.recv().await.is_some() {}
        assert!(!expect_closed(&client).await.is_empty());
    }
}

async fn a_frame_cut_short_is_not_delivered() {
    let broker = FakeBroker::start();
    for body in [&b"bert\0hello"[..], &[b"bert\0".to_vec(), vec![7; 1 << 20]].concat()] {
        let whole = delivery(0x12, body);
        let (client, mut peer) = broker.connect(broker.builder("anna")).await;
        peer.write(&whole[..whole.len() - 1]).await;
        drop(peer);
        assert!(client.recv().await.is_none());
        let reason = expect_closed(&client).await;
        assert!(!reason.contains("protocol"), "an end is no violation: {reason}");
    }
}

async fn pings_and_frames_in_single_bytes_are_understood() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(broker.builder("anna")).await;
    let stream = [vec![0; 6], delivery(0x12, b"bert\0hello"), vec![0; 12], delivery(0x01, b"bert\0light\0on")].concat();
    for byte in stream {
        peer.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    expect_message(&client, "bert", "hello").await;
    expect_publication(&client, "bert", "light", "on").await;
}

async fn frames_without_anything_in_them_are_understood() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(broker.builder("anna")).await;
    peer.write(&[delivery(0x12, b"bert\0"), delivery(0x01, b"bert\0\0")].concat()).await;
    expect_message(&client, "bert", "").await;
    expect_publication(&client, "bert", "", "").await;
}

async fn a_name_with_a_leading_dot_or_none_at_all_is_a_sender_s_own_business() {
    let broker = FakeBroker::start();
    let (client, mut peer) = broker.connect(broker.builder("anna")).await;
    peer.write(&[delivery(0x12, b".broker\0reply"), delivery(0x12, b"\0nobody")].concat()).await;
    expect_message(&client, ".broker", "reply").await;
    expect_message(&client, "", "nobody").await;
}

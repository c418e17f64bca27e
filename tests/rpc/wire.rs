//! The bytes in the payloads of messages: what our callers and services say to clients of other makes.

use std::collections::BTreeMap;

use busway::rpc::{Methods, Request, RpcError};
use busway::{Client, FrameKind, QoS};

use crate::bus::Place;
use crate::expectations::{expect_nothing, next};
use crate::promises::promises;
use crate::service::{caller, echo, seen, service, text};

promises! {
    everywhere {
        a_request_is_call_id_method_and_parameters
        typed_parameters_are_a_map_and_nothing_is_nothing
        a_notification_is_a_zero_and_its_payload
        a_reply_is_call_id_and_result
        an_error_is_call_id_code_and_data
        a_request_without_id_is_handled_and_not_answered
        the_same_id_may_be_used_again_and_by_others
        a_method_that_is_no_text_is_an_invalid_request
        replies_go_to_the_full_name
        replies_are_as_urgent_as_requests
        answers_may_come_before_the_broker_confirms
    }
}

/// The bytes of a request.
fn request(id: u32, method: &str, params: &[u8]) -> Vec<u8> {
    [&[0x01], &id.to_le_bytes()[..], method.as_bytes(), &[0], params].concat()
}

/// Sends a message, and expects this answer as the next frame.
async fn expect_answer(client: &Client, message: &[u8], answer: &[u8]) {
    client.send("service", message).qos(QoS::Processed).await.expect("the service is there");
    let frame = next(client).await;
    let seen = (frame.kind(), frame.sender(), frame.payload().as_slice());
    assert_eq!(seen, (FrameKind::Message, "service", answer));
}

async fn a_request_is_call_id_method_and_parameters(place: Place) {
    let bus = place.open().await;
    let (rpc, peer) = (caller(&bus, "caller").await, bus.client("peer").await);
    let (outcome, ()) = tokio::join!(rpc.call("peer", "method", [0, 9].as_slice()), async {
        let frame = next(&peer).await;
        assert_eq!((frame.kind(), frame.is_realtime()), (FrameKind::Message, false));
        let id = u32::from_le_bytes(frame.payload()[1..5].try_into().unwrap());
        assert_ne!(id, 0);
        assert_eq!(frame.payload().as_slice(), request(id, "method", &[0, 9]));
        peer.send("caller", [&[0x11], &id.to_le_bytes()[..], b"done"].concat()).await.unwrap();
    });
    assert_eq!(text(&outcome.unwrap()), "done");
    rpc.call0("peer", "method", "params").qos(QoS::RealtimeProcessed).await.unwrap();
    let frame = next(&peer).await;
    assert_eq!((frame.payload().as_slice(), frame.is_realtime()), (&request(0, "method", b"params")[..], true));
    expect_nothing(&peer).await;
}

async fn typed_parameters_are_a_map_and_nothing_is_nothing(place: Place) {
    let bus = place.open().await;
    let (rpc, peer) = (caller(&bus, "caller").await, bus.client("peer").await);
    let answered = async |params: &[u8]| {
        let payload = next(&peer).await.payload().to_vec();
        assert_eq!(payload[5..], [b"m\0", params].concat());
        peer.send("caller", [&[0x11], &payload[1..5], b"\x07"].concat()).await.unwrap();
    };
    let map = BTreeMap::from([("a", 1)]);
    let (seven, ()) = tokio::join!(rpc.call_typed::<u8>("peer", "m", &map), answered(b"\x81\xA1a\x01"));
    assert_eq!(seven.unwrap(), 7);
    let (seven, ()) = tokio::join!(rpc.call_typed::<u8>("peer", "m", &()), answered(b""));
    assert_eq!(seven.unwrap(), 7);
}

async fn a_notification_is_a_zero_and_its_payload(place: Place) {
    let bus = place.open().await;
    let (rpc, peer) = (caller(&bus, "caller").await, bus.client("peer").await);
    rpc.notify("peer", "news").await.unwrap();
    rpc.notify("peer", "").qos(QoS::Realtime).await.unwrap();
    for (payload, realtime) in [(&b"\0news"[..], false), (b"\0", true)] {
        let frame = next(&peer).await;
        assert_eq!((frame.payload().as_slice(), frame.is_realtime()), (payload, realtime));
    }
}

async fn a_reply_is_call_id_and_result(place: Place) {
    let bus = place.open().await;
    let _service = service(&bus, "service", echo()).await;
    let client = bus.client("client").await;
    for id in [1_u32, 0xFFFF_FFFF, 0x0102_0304] {
        let answer = [&[0x11], &id.to_le_bytes()[..], b"a\0b"].concat();
        expect_answer(&client, &request(id, "echo", b"a\0b"), &answer).await;
    }
    expect_nothing(&client).await;
}

async fn an_error_is_call_id_code_and_data(place: Place) {
    let bus = place.open().await;
    let fail = async |_: Request| Err::<&str, _>(RpcError::internal("no"));
    let _service = service(&bus, "service", Methods::new().method("fail", fail)).await;
    let client = bus.client("client").await;
    // -32603: 0x80A5, -32601: 0x80A7.
    expect_answer(&client, &request(7, "fail", b""), b"\x12\x07\0\0\0\xA5\x80no").await;
    expect_answer(&client, &request(8, "none", b""), b"\x12\x08\0\0\0\xA7\x80no such method").await;
    expect_nothing(&client).await;
}

async fn a_request_without_id_is_handled_and_not_answered(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let methods = echo().otherwise(move |request: Request| {
        told.send(format!("{} {}", request.method(), request.wants_reply())).expect("somebody looks");
        async { Err::<&str, _>(RpcError::internal("no")) }
    });
    let _service = service(&bus, "service", methods).await;
    let client = bus.client("client").await;
    for message in [request(0, "leap", b""), request(0, "echo", b"x"), [&request(0, "", b"")[..5], b"\xFF\0"].concat()]
    {
        client.send("service", message).qos(QoS::Processed).await.unwrap();
    }
    assert_eq!(seen.next().await, "leap false");
    expect_answer(&client, &request(1, "echo", b"x"), b"\x11\x01\0\0\0x").await;
    expect_nothing(&client).await;
}

async fn the_same_id_may_be_used_again_and_by_others(place: Place) {
    let bus = place.open().await;
    let _service = service(&bus, "service", echo()).await;
    let clients = [bus.client("one").await, bus.client("other").await];
    for round in 0..3_u8 {
        for client in &clients {
            client.send("service", request(7, "echo", &[round])).await.unwrap();
        }
        for client in &clients {
            assert_eq!(next(client).await.payload().as_slice(), [0x11, 7, 0, 0, 0, round]);
        }
    }
}

async fn a_method_that_is_no_text_is_an_invalid_request(place: Place) {
    let bus = place.open().await;
    let _service = service(&bus, "service", echo()).await;
    let client = bus.client("client").await;
    let message = [&request(3, "", b"")[..5], b"\xFF\xFE\0params"].concat();
    // -32600: 0x80A8.
    expect_answer(&client, &message, b"\x12\x03\0\0\0\xA8\x80the name of a method must be UTF-8").await;
}

async fn replies_go_to_the_full_name(place: Place) {
    let bus = place.open().await;
    let _service = service(&bus, "service", echo()).await;
    let (primary, secondary) = (bus.client("client").await, bus.client("client%%1").await);
    expect_answer(&secondary, &request(1, "echo", b"x"), b"\x11\x01\0\0\0x").await;
    expect_nothing(&primary).await;
}

async fn replies_are_as_urgent_as_requests(place: Place) {
    let bus = place.open().await;
    let _service = service(&bus, "service", echo()).await;
    let client = bus.client("client").await;
    for (qos, realtime) in
        [(QoS::No, false), (QoS::RealtimeProcessed, true), (QoS::Processed, false), (QoS::Realtime, true)]
    {
        for method in ["echo", "none"] {
            client.send("service", request(1, method, b"")).qos(qos).await.unwrap();
            assert_eq!(next(&client).await.is_realtime(), realtime, "{qos:?}");
        }
    }
}

async fn answers_may_come_before_the_broker_confirms(place: Place) {
    let bus = place.open().await;
    let (rpc, peer) = (caller(&bus, "caller").await, bus.client("peer").await);
    let number_of = |payload: &[u8]| u32::from_le_bytes(payload[1..5].try_into().unwrap());
    // Numbers begin anywhere and are counted up: an answer to the next call may be there before the call is.
    let (outcome, first) = tokio::join!(rpc.call("peer", "m", ""), async {
        let number = number_of(next(&peer).await.payload());
        peer.send("caller", [&[0x11], &number.to_le_bytes()[..]].concat()).await.unwrap();
        number
    });
    outcome.unwrap();
    for id in first + 1..first + 49 {
        let early = [&[0x11], &id.to_le_bytes()[..], b"early"].concat();
        peer.send("caller", early).await.unwrap();
        let (outcome, ()) = tokio::join!(rpc.call("peer", "m", ""), async {
            assert_eq!(number_of(next(&peer).await.payload()), id);
            peer.send("caller", [&[0x11], &id.to_le_bytes()[..], b"in time"].concat()).await.unwrap();
        });
        // Either is the peer's own.
        assert!(["early", "in time"].contains(&text(&outcome.unwrap()).as_str()));
    }
    assert_eq!(rpc.pending_calls(), 0);
}

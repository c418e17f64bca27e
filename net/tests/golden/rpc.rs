//! The RPC layer's prefixes.

use busway_net::wire::rpc::{self, RpcMessage, RpcViolation, encode_request_head, error_reply_head, parse, reply_head};

#[test]
fn a_notification_is_a_zero_and_its_payload() {
    assert_eq!(parse(&[0x00, 1, 0]), Ok(RpcMessage::Notification { payload: &[1, 0] }));
    assert_eq!(parse(&[0x00]), Ok(RpcMessage::Notification { payload: &[] }));
    assert_eq!(rpc::NOTIFICATION, 0x00);
}

#[test]
fn a_request_is_call_id_method_and_parameters() {
    let bytes = [0x01, 4, 3, 2, 1, b't', b'e', b's', b't', 0, 0x80, 0];
    let message = RpcMessage::Request { call_id: 0x0102_0304, method: b"test", params: &[0x80, 0] };
    assert_eq!(parse(&bytes), Ok(message));
    let mut encoded = vec![0x99];
    encode_request_head(&mut encoded, 0x0102_0304, "test");
    assert_eq!(encoded[1..], bytes[..10]);
    let without = RpcMessage::Request { call_id: 0, method: b"", params: &[] };
    assert_eq!(parse(&[0x01, 0, 0, 0, 0, 0]), Ok(without));
}

#[test]
fn a_reply_is_call_id_and_result() {
    let message = RpcMessage::Reply { call_id: 0xFFEE_DDCC, result: &[0xC0] };
    assert_eq!(parse(&[0x11, 0xCC, 0xDD, 0xEE, 0xFF, 0xC0]), Ok(message));
    assert_eq!(reply_head(0xFFEE_DDCC), [0x11, 0xCC, 0xDD, 0xEE, 0xFF]);
    assert_eq!(parse(&[0x11, 1, 0, 0, 0]), Ok(RpcMessage::Reply { call_id: 1, result: &[] }));
}

#[test]
fn an_error_reply_is_call_id_code_and_data() {
    // -32601: 0x80A7.
    let bytes = [0x12, 1, 0, 0, 0, 0xA7, 0x80, b'n', b'o'];
    let message = RpcMessage::ErrorReply { call_id: 1, code: -32601, data: b"no" };
    assert_eq!(parse(&bytes), Ok(message));
    assert_eq!(error_reply_head(1, rpc::METHOD_NOT_FOUND), bytes[..7]);
    for (code, low, high) in [
        (rpc::PARSE_ERROR, 0x44, 0x80),
        (rpc::INVALID_REQUEST, 0xA8, 0x80),
        (rpc::INVALID_PARAMETERS, 0xA6, 0x80),
        (rpc::INTERNAL_ERROR, 0xA5, 0x80),
    ] {
        assert_eq!(error_reply_head(0, code), [0x12, 0, 0, 0, 0, low, high]);
    }
}

#[test]
fn what_is_cut_short_or_unknown_is_refused() {
    assert_eq!(parse(&[]), Err(RpcViolation::Empty));
    for kind in (0..=u8::MAX).filter(|kind| ![0x00, 0x01, 0x11, 0x12].contains(kind)) {
        assert_eq!(parse(&[kind, 0, 0, 0, 0, 0, 0]), Err(RpcViolation::UnknownType(kind)));
    }
    let whole: [&[u8]; 3] = [&[0x01, 0, 0, 0, 0, b'm', 0], &[0x11, 0, 0, 0, 0], &[0x12, 0, 0, 0, 0, 0, 0]];
    for bytes in whole {
        assert!(parse(bytes).is_ok());
        for end in 1..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Err(RpcViolation::CutShort), "{:?}", &bytes[..end]);
        }
    }
}

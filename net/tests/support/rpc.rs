//! What must hold for any bytes in the payload of a message, as the RPC layer takes them apart.

use busway_net::wire::rpc::{
    ERROR_REPLY, NOTIFICATION, REPLY, REQUEST, RpcMessage, RpcViolation, encode_request_head, error_reply_head, parse,
    reply_head,
};

/// More bytes than any prefix has.
const FILLER: [u8; 8] = [0; 8];

/// One payload.
pub(crate) fn payload(input: &[u8]) {
    match parse(input) {
        Ok(message) => {
            assert_eq!(encode(&message), input, "nothing is lost and nothing is made up");
            keeps_its_meaning(input, &message);
        }
        Err(RpcViolation::Empty) => assert!(input.is_empty()),
        Err(RpcViolation::UnknownType(kind)) => {
            assert_eq!(input[0], kind);
            assert!(![NOTIFICATION, REQUEST, REPLY, ERROR_REPLY].contains(&kind));
        }
        Err(RpcViolation::CutShort) => {
            assert!([REQUEST, REPLY, ERROR_REPLY].contains(&input[0]));
            assert!(parse(&[input, &FILLER].concat()).is_ok(), "only the rest was missing");
        }
        Err(other) => panic!("{other} is news to this check"),
    }
}

/// What comes behind belongs to the payload, and changes neither the kind nor what it names.
fn keeps_its_meaning(input: &[u8], message: &RpcMessage<'_>) {
    let longer = [input, &FILLER].concat();
    let tail = |bytes: &[u8]| [bytes, &FILLER].concat();
    match (*message, parse(&longer).expect("a longer one is one, too")) {
        (RpcMessage::Notification { payload }, RpcMessage::Notification { payload: longer }) => {
            assert_eq!(longer, tail(payload));
        }
        (
            RpcMessage::Request { call_id, method, params },
            RpcMessage::Request { call_id: id, method: name, params: longer },
        ) => {
            assert!(!method.contains(&0), "a name ends at its NUL");
            assert_eq!((id, name, longer), (call_id, method, &tail(params)[..]));
        }
        (RpcMessage::Reply { call_id, result }, RpcMessage::Reply { call_id: id, result: longer }) => {
            assert_eq!((id, longer), (call_id, &tail(result)[..]));
        }
        (
            RpcMessage::ErrorReply { call_id, code, data },
            RpcMessage::ErrorReply { call_id: id, code: same, data: longer },
        ) => {
            assert_eq!((id, same, longer), (call_id, code, &tail(data)[..]));
        }
        (one, other) => panic!("{one:?} became {other:?}"),
    }
}

/// As its sender would encode it.
fn encode(message: &RpcMessage<'_>) -> Vec<u8> {
    match *message {
        RpcMessage::Notification { payload } => [&[NOTIFICATION], payload].concat(),
        RpcMessage::Request { call_id, method, params } => {
            let mut bytes = Vec::new();
            match std::str::from_utf8(method) {
                Ok(method) => encode_request_head(&mut bytes, call_id, method),
                // No sender of ours makes such a name.
                Err(_) => bytes = [&[REQUEST], &call_id.to_le_bytes()[..], method, &[0]].concat(),
            }
            bytes.extend_from_slice(params);
            bytes
        }
        RpcMessage::Reply { call_id, result } => [&reply_head(call_id)[..], result].concat(),
        RpcMessage::ErrorReply { call_id, code, data } => [&error_reply_head(call_id, code)[..], data].concat(),
    }
}

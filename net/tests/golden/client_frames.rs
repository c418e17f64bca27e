//! Client to broker.

use busway_net::wire::{
    CLIENT_PING, ClientFrame, ClientFrames, ClientHeader, Limits, Operation, QoS, Violation, encode_client_head,
};

use super::support::decode::Frame;
use super::support::encode;
use super::{breaks_in_any_split, decodes_in_any_split};

const PING: [u8; 9] = [0, 0, 0, 0, 0, 0, 0, 0, 0];
const TAGGED_PING: [u8; 9] = [0xDE, 0xAD, 0xBE, 0xEF, 0, 0xFF, 0xFF, 0xFF, 0x7F];
/// Operation 0 with a QoS: it has a body.
const NOP: [u8; 12] = [7, 0, 0, 0, 0x40, 3, 0, 0, 0, b'a', 0, b'b'];
const PUBLISH: [u8; 17] = [1, 0, 0, 0, 0x01, 8, 0, 0, 0, b'a', b'/', b'b', 0, 1, 2, 0, 3];
const PUBLISH_EMPTY: [u8; 11] = [4, 3, 2, 1, 0xC1, 2, 0, 0, 0, b't', 0];
const SUBSCRIBE: [u8; 12] = [2, 0, 0, 0, 0x42, 3, 0, 0, 0, b'a', b'/', b'#'];
const SUBSCRIBE_MANY: [u8; 15] = [0xFF, 0, 0, 0, 0x42, 6, 0, 0, 0, b'a', 0, b'+', b'/', b'b', 0];
/// The empty topic.
const SUBSCRIBE_EMPTY: [u8; 9] = [3, 0, 0, 0, 0x42, 0, 0, 0, 0];
const UNSUBSCRIBE: [u8; 12] = [0, 1, 0, 0, 0x43, 3, 0, 0, 0, b'a', 0, b'b'];
const EXCLUDE: [u8; 12] = [0, 0, 1, 0, 0x44, 3, 0, 0, 0, b'x', b'/', b'#'];
const UNEXCLUDE: [u8; 12] = [0, 0, 0, 1, 0x45, 3, 0, 0, 0, b'x', b'/', b'#'];
const PUBLISH_FOR: [u8; 18] = [5, 0, 0, 0, 0x06, 9, 0, 0, 0, b't', b'/', b't', 0, b'r', b'.', b'1', 0, 0xAA];
const MESSAGE: [u8; 16] = [6, 0, 0, 0, 0x12, 7, 0, 0, 0, b'p', b'e', b'e', b'r', 0, b'h', b'i'];
const MESSAGE_REALTIME: [u8; 12] = [6, 0, 0, 0, 0x92, 3, 0, 0, 0, b'p', 0, 0];
const MESSAGE_TO_NOBODY: [u8; 10] = [8, 0, 0, 0, 0x52, 1, 0, 0, 0, 0];
const BROADCAST: [u8; 15] = [9, 0, 0, 0, 0x13, 6, 0, 0, 0, b'g', b'.', b'*', 0, b'o', b'k'];

fn operation(op_id: u32, operation: Operation, qos: QoS) -> ClientFrame {
    ClientFrame::Operation { op_id, operation, qos }
}

fn golden() -> Vec<(&'static [u8], Frame<ClientFrame>)> {
    use Operation::{Broadcast, Exclude, Message, Nop, Publish, PublishFor, Subscribe, Unexclude, Unsubscribe};
    use QoS::{No, Processed, Realtime, RealtimeProcessed};
    vec![
        (&PING, Frame::new(ClientFrame::Ping { raw: PING }, b"", b"", b"")),
        (&TAGGED_PING, Frame::new(ClientFrame::Ping { raw: TAGGED_PING }, b"", b"", b"")),
        (&NOP, Frame::new(operation(7, Nop, Processed), b"a", b"", b"b")),
        (&PUBLISH, Frame::new(operation(1, Publish, No), b"a/b", b"", &[1, 2, 0, 3])),
        (&PUBLISH_EMPTY, Frame::new(operation(0x0102_0304, Publish, RealtimeProcessed), b"t", b"", b"")),
        (&SUBSCRIBE, Frame::new(operation(2, Subscribe, Processed), b"", b"", b"a/#")),
        (&SUBSCRIBE_MANY, Frame::new(operation(0xFF, Subscribe, Processed), b"", b"", b"a\0+/b\0")),
        (&SUBSCRIBE_EMPTY, Frame::new(operation(3, Subscribe, Processed), b"", b"", b"")),
        (&UNSUBSCRIBE, Frame::new(operation(0x100, Unsubscribe, Processed), b"", b"", b"a\0b")),
        (&EXCLUDE, Frame::new(operation(0x1_0000, Exclude, Processed), b"", b"", b"x/#")),
        (&UNEXCLUDE, Frame::new(operation(0x100_0000, Unexclude, Processed), b"", b"", b"x/#")),
        (&PUBLISH_FOR, Frame::new(operation(5, PublishFor, No), b"t/t", b"r.1", &[0xAA])),
        (&MESSAGE, Frame::new(operation(6, Message, No), b"peer", b"", b"hi")),
        (&MESSAGE_REALTIME, Frame::new(operation(6, Message, Realtime), b"p", b"", &[0])),
        (&MESSAGE_TO_NOBODY, Frame::new(operation(8, Message, Processed), b"", b"", b"")),
        (&BROADCAST, Frame::new(operation(9, Broadcast, No), b"g.*", b"", b"ok")),
    ]
}

#[test]
fn each_frame_decodes_in_any_split() {
    for (bytes, frame) in golden() {
        decodes_in_any_split(ClientFrames::default(), bytes, vec![frame]);
    }
}

#[test]
fn all_frames_in_one_stream_decode_in_any_split() {
    let (bytes, frames): (Vec<_>, Vec<_>) = golden().into_iter().unzip();
    decodes_in_any_split(ClientFrames::default(), &bytes.concat(), frames);
}

#[test]
fn the_encoder_makes_these_bytes() {
    assert_eq!(CLIENT_PING, PING);
    for (bytes, frame) in golden() {
        let encoded = encode::client_frame(&frame).expect("no extras here");
        assert_eq!(encoded, bytes, "{:?}", frame.meta);
    }
}

#[test]
fn a_head_is_appended_behind_what_is_there_and_counts_the_payload_that_follows() {
    let mut encoded = vec![0x99];
    encode_client_head(&mut encoded, 1, (Operation::Message, QoS::No), (b"p", None), 0x01_0000);
    assert_eq!(encoded, [0x99, 1, 0, 0, 0, 0x12, 2, 0, 1, 0, b'p', 0]);
}

#[test]
fn flags_hold_the_operation_and_the_qos() {
    let codes = [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x12, 0x13];
    let levels = [QoS::No, QoS::Processed, QoS::Realtime, QoS::RealtimeProcessed];
    for (operation, code) in Operation::ALL.into_iter().zip(codes) {
        for (qos, bits) in levels.into_iter().zip([0x00, 0x40, 0x80, 0xC0]) {
            let flags = operation.flags(qos);
            assert_eq!(flags, code | bits);
            assert_eq!((Operation::from_flags(flags), QoS::from_flags(flags)), (Some(operation), qos));
            assert_eq!(qos.is_confirmed(), bits & 0x40 != 0);
            assert_eq!(qos.is_realtime(), bits & 0x80 != 0);
        }
    }
    let known = (0..=0x3F).filter(|flags| Operation::from_flags(*flags).is_some());
    assert!(known.eq(codes), "no other operation is known");
}

#[test]
fn an_unknown_operation_is_a_violation_behind_whole_frames() {
    let stream = [MESSAGE.as_slice(), &[1, 0, 0, 0, 0x07, 1, 0, 0, 0, 0]].concat();
    let before = vec![Frame::new(operation(6, Operation::Message, QoS::No), b"peer", b"", b"hi")];
    breaks_in_any_split(ClientFrames::default(), &stream, before, Violation::UnknownOperation(0x07));
    let with_qos = [0, 0, 0, 0, 0xC0 | 0x3F, 0, 0, 0, 0];
    breaks_in_any_split(ClientFrames::default(), &with_qos, vec![], Violation::UnknownOperation(0x3F));
}

#[test]
fn a_missing_nul_is_a_violation() {
    for stream in [
        [1, 0, 0, 0, 0x01, 2, 0, 0, 0, b'a', b'b'].as_slice(),
        &[1, 0, 0, 0, 0x12, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0x13, 1, 0, 0, 0, b'*'],
        &[1, 0, 0, 0, 0x06, 2, 0, 0, 0, b't', b'r'],
        // The second of two.
        &[1, 0, 0, 0, 0x06, 3, 0, 0, 0, b't', 0, b'r'],
        &[1, 0, 0, 0, 0x40, 1, 0, 0, 0, b'a'],
    ] {
        breaks_in_any_split(ClientFrames::default(), stream, vec![], Violation::MissingNul);
        // The NUL that the next frame brings comes too late.
        let stream = [stream, &PING].concat();
        breaks_in_any_split(ClientFrames::default(), &stream, vec![], Violation::MissingNul);
    }
}

#[test]
fn a_length_over_the_limit_is_a_violation_as_soon_as_the_header_is_there() {
    let limit = Limits::default().max_payload;
    // 256 MiB and two names of up to 1024 bytes, each with its NUL, and one byte.
    let header = [1, 0, 0, 0, 0x01, 0x03, 0x08, 0, 0x10];
    let violation = Violation::PayloadTooLong { length: limit + 2051, limit };
    breaks_in_any_split(ClientFrames::default(), &header, vec![], violation);
    let header = [1, 0, 0, 0, 0x01, 0xFF, 0xFF, 0xFF, 0xFF];
    let violation = Violation::PayloadTooLong { length: 0xFFFF_FFFF, limit };
    breaks_in_any_split(ClientFrames::default(), &header, vec![], violation);
}

#[test]
fn a_payload_over_the_limit_is_a_violation_as_soon_as_its_names_are_there() {
    let limit = Limits::default().max_payload;
    let violation = Violation::PayloadTooLong { length: limit + 1, limit };
    // Two bytes of name and NUL, and one byte more than 256 MiB.
    let stream = [1, 0, 0, 0, 0x12, 3, 0, 0, 0x10, b'p', 0];
    breaks_in_any_split(ClientFrames::default(), &stream, vec![], violation);
    // Topics are all payload.
    let stream = [1, 0, 0, 0, 0x02, 1, 0, 0, 0x10];
    breaks_in_any_split(ClientFrames::default(), &stream, vec![], violation);

    // A frame that is as long as it may be in every part.
    let limits = Limits { max_payload: 2, max_name: 1, max_path: 2, ..Limits::default() };
    let frames = ClientFrames { limits, extra_operations: 0 };
    let stream = [5, 0, 0, 0, 0x06, 8, 0, 0, 0, b't', b't', 0, b'r', b'r', 0, 1, 2];
    let frame = Frame::new(operation(5, Operation::PublishFor, QoS::No), b"tt", b"rr", &[1, 2]);
    decodes_in_any_split(frames, &stream, vec![frame]);

    let limits = Limits { max_payload: 2, ..Limits::default() };
    let frames = ClientFrames { limits, extra_operations: 0 };
    decodes_in_any_split(frames, &MESSAGE, vec![golden()[12].1.clone()]);
    let violation = Violation::PayloadTooLong { length: 4, limit: 2 };
    breaks_in_any_split(frames, &PUBLISH, vec![], violation);
}

#[test]
fn extra_operations_are_delivered_where_they_are_enabled() {
    let stream = [9, 0, 0, 0, 0x80 | 0x3F, 2, 0, 0, 0, 0, 1];
    let frames = ClientFrames { extra_operations: 1 << 0x3F | 1 << 0x01, ..ClientFrames::default() };
    let meta = ClientFrame::Extra { op_id: 9, code: 0x3F, qos: QoS::Realtime };
    decodes_in_any_split(frames, &stream, vec![Frame::new(meta, b"", b"", &[0, 1])]);
    // One that BUS/RT knows stays what it is.
    decodes_in_any_split(frames, &PUBLISH, vec![golden()[3].1.clone()]);
    let other = [9, 0, 0, 0, 0x3E, 0, 0, 0, 0];
    breaks_in_any_split(frames, &other, vec![], Violation::UnknownOperation(0x3E));
}

#[test]
fn the_header_is_laid_out_as_on_the_wire() {
    let header = ClientHeader { op_id: 0x0403_0201.into(), flags: 5, length: 0x0908_0706.into() };
    assert_eq!(zerocopy::IntoBytes::as_bytes(&header), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_name_over_the_limit_comes_out_whole_of_a_short_frame() {
    let limits = Limits { max_path: 3, max_name: 2, ..Limits::default() };
    let frames = ClientFrames { limits, extra_operations: 0 };
    decodes_in_any_split(frames, &MESSAGE, vec![golden()[12].1.clone()]);
    assert!(limits.check_path(b"peer", b'.').is_err(), "for the caller to refuse");
}

//! Broker to client.

use busway_net::wire::{
    BROKER_PING, BrokerFrame, BrokerFrames, BrokerHeader, FrameKind, Limits, ResultCode, Violation,
    encode_acknowledgement,
};

use super::support::decode::Frame;
use super::support::encode;
use super::{breaks_in_any_split, decodes_in_any_split};

const PING: [u8; 6] = [0, 0, 0, 0, 0, 0];
const TAGGED_PING: [u8; 6] = [0, 0xFF, 0xFF, 0xFF, 0xFF, 0xBE];
const PUBLICATION: [u8; 15] = [0x01, 9, 0, 0, 0, 0, b's', b'.', b'1', 0, b't', b'/', b't', 0, 0xAA];
const PUBLICATION_REALTIME: [u8; 10] = [0x01, 4, 0, 0, 0, 1, b's', 0, b't', 0];
const MESSAGE: [u8; 12] = [0x12, 6, 0, 0, 0, 0, b's', 0, 0, 1, 2, 0];
const MESSAGE_REALTIME: [u8; 8] = [0x12, 2, 0, 0, 0, 1, b's', 0];
const BROADCAST: [u8; 10] = [0x13, 4, 0, 0, 0, 0, b's', 0, b'o', b'k'];
const ACKNOWLEDGEMENT: [u8; 6] = [0xFE, 4, 3, 2, 1, 0x01];
const CODES: [(ResultCode, u8); 10] = [
    (ResultCode::OK, 0x01),
    (ResultCode::NOT_REGISTERED, 0x71),
    (ResultCode::DATA, 0x72),
    (ResultCode::IO, 0x73),
    (ResultCode::OTHER, 0x74),
    (ResultCode::NOT_SUPPORTED, 0x75),
    (ResultCode::BUSY, 0x76),
    (ResultCode::NOT_DELIVERED, 0x77),
    (ResultCode::TIMEOUT, 0x78),
    (ResultCode::ACCESS_DENIED, 0x79),
];

fn delivery(kind: FrameKind, realtime: bool) -> BrokerFrame {
    BrokerFrame::Delivery { kind, realtime }
}

fn golden() -> Vec<(&'static [u8], Frame<BrokerFrame>)> {
    use FrameKind::{Broadcast, Message, Publication};
    let acknowledged = BrokerFrame::Acknowledgement { op_id: 0x0102_0304, code: ResultCode::OK };
    vec![
        (&PING, Frame::new(BrokerFrame::Ping { raw: PING }, b"", b"", b"")),
        (&TAGGED_PING, Frame::new(BrokerFrame::Ping { raw: TAGGED_PING }, b"", b"", b"")),
        (&PUBLICATION, Frame::new(delivery(Publication, false), b"s.1", b"t/t", &[0xAA])),
        (&PUBLICATION_REALTIME, Frame::new(delivery(Publication, true), b"s", b"t", b"")),
        (&MESSAGE, Frame::new(delivery(Message, false), b"s", b"", &[0, 1, 2, 0])),
        (&MESSAGE_REALTIME, Frame::new(delivery(Message, true), b"s", b"", b"")),
        (&BROADCAST, Frame::new(delivery(Broadcast, false), b"s", b"", b"ok")),
        (&ACKNOWLEDGEMENT, Frame::new(acknowledged, b"", b"", b"")),
    ]
}

#[test]
fn each_frame_decodes_in_any_split() {
    for (bytes, frame) in golden() {
        decodes_in_any_split(BrokerFrames::default(), bytes, vec![frame]);
    }
}

#[test]
fn all_frames_in_one_stream_decode_in_any_split() {
    let (bytes, frames): (Vec<_>, Vec<_>) = golden().into_iter().unzip();
    decodes_in_any_split(BrokerFrames::default(), &bytes.concat(), frames);
}

#[test]
fn the_encoder_makes_these_bytes() {
    assert_eq!(BROKER_PING, PING);
    for (bytes, frame) in golden() {
        let encoded = encode::broker_frame(&frame).expect("no extras here");
        assert_eq!(encoded, bytes, "{:?}", frame.meta);
    }
}

#[test]
fn acknowledgements_carry_every_code() {
    for (code, byte) in CODES {
        assert_eq!(code.0, byte);
        let bytes = encode_acknowledgement(0xFFEE_DDCC, code);
        assert_eq!(bytes, [0xFE, 0xCC, 0xDD, 0xEE, 0xFF, byte]);
        let meta = BrokerFrame::Acknowledgement { op_id: 0xFFEE_DDCC, code };
        decodes_in_any_split(BrokerFrames::default(), &bytes, vec![Frame::new(meta, b"", b"", b"")]);
    }
    let meta = BrokerFrame::Acknowledgement { op_id: 0, code: ResultCode(0xAB) };
    let bytes = [0xFE, 0, 0, 0, 0, 0xAB];
    decodes_in_any_split(BrokerFrames::default(), &bytes, vec![Frame::new(meta, b"", b"", b"")]);
}

#[test]
fn kinds_have_their_bytes() {
    let kinds = [(FrameKind::Publication, 0x01), (FrameKind::Message, 0x12), (FrameKind::Broadcast, 0x13)];
    for (kind, byte) in kinds {
        assert_eq!((kind as u8, FrameKind::from_byte(byte)), (byte, Some(kind)));
    }
    assert_eq!((0..=u8::MAX).filter(|byte| FrameKind::from_byte(*byte).is_some()).count(), 3);
}

#[test]
fn an_unknown_kind_is_a_violation_behind_whole_frames() {
    let stream = [BROADCAST.as_slice(), &[0x02, 1, 0, 0, 0, 0, 0]].concat();
    let before = vec![Frame::new(delivery(FrameKind::Broadcast, false), b"s", b"", b"ok")];
    breaks_in_any_split(BrokerFrames::default(), &stream, before, Violation::UnknownKind(0x02));
    let all_extras = BrokerFrames { extra_kinds: u64::MAX, ..BrokerFrames::default() };
    breaks_in_any_split(all_extras, &[0x40, 0, 0, 0, 0, 0], vec![], Violation::UnknownKind(0x40));
    breaks_in_any_split(all_extras, &[0xFF, 0, 0, 0, 0, 0], vec![], Violation::UnknownKind(0xFF));
}

#[test]
fn a_missing_nul_is_a_violation() {
    for stream in [
        [0x12, 1, 0, 0, 0, 0, b's'].as_slice(),
        &[0x13, 0, 0, 0, 0, 0],
        &[0x01, 2, 0, 0, 0, 0, b's', 0],
        &[0x01, 3, 0, 0, 0, 0, b's', 0, b't'],
    ] {
        breaks_in_any_split(BrokerFrames::default(), stream, vec![], Violation::MissingNul);
        let stream = [stream, &PING].concat();
        breaks_in_any_split(BrokerFrames::default(), &stream, vec![], Violation::MissingNul);
    }
}

#[test]
fn a_length_or_payload_over_the_limit_is_a_violation() {
    let limit = Limits::default().max_payload;
    let violation = Violation::PayloadTooLong { length: 0xFFFF_FFFF, limit };
    breaks_in_any_split(BrokerFrames::default(), &[0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0], vec![], violation);
    let violation = Violation::PayloadTooLong { length: limit + 1, limit };
    let stream = [0x01, 5, 0, 0, 0x10, 0, b's', 0, b't', 0];
    breaks_in_any_split(BrokerFrames::default(), &stream, vec![], violation);
    // A frame that is as long as it may be in every part.
    let limits = Limits { max_payload: 1, max_name: 3, max_path: 1, ..Limits::default() };
    let frames = BrokerFrames { limits, extra_kinds: 0 };
    let stream = [0x01, 9, 0, 0, 0, 0, b's', b's', b's', 0, b't', b't', b't', 0, 9];
    let frame = Frame::new(delivery(FrameKind::Publication, false), b"sss", b"ttt", &[9]);
    decodes_in_any_split(frames, &stream, vec![frame]);
}

#[test]
fn the_lengths_of_pings_and_acknowledgements_are_no_lengths() {
    let limits = Limits { max_payload: 0, max_name: 0, max_path: 0, max_levels: 1 };
    let frames = BrokerFrames { limits, extra_kinds: 0 };
    let stream = [TAGGED_PING, ACKNOWLEDGEMENT].concat();
    decodes_in_any_split(frames, &stream, vec![golden()[1].1.clone(), golden()[7].1.clone()]);
}

#[test]
fn extra_kinds_are_delivered_where_they_are_enabled() {
    let stream = [0x20, 2, 0, 0, 0, 0x55, 0, 1];
    breaks_in_any_split(BrokerFrames::default(), &stream, vec![], Violation::UnknownKind(0x20));
    let frames = BrokerFrames { extra_kinds: 1 << 0x20 | 1 << 0x12, ..BrokerFrames::default() };
    let meta = BrokerFrame::Extra { kind: 0x20, trailer: 0x55 };
    decodes_in_any_split(frames, &stream, vec![Frame::new(meta, b"", b"", &[0, 1])]);
    // One that BUS/RT knows stays what it is.
    decodes_in_any_split(frames, &MESSAGE, vec![golden()[4].1.clone()]);
}

#[test]
fn the_header_is_laid_out_as_on_the_wire() {
    let header = BrokerHeader { kind: 1, length: 0x0504_0302.into(), trailer: 6 };
    assert_eq!(zerocopy::IntoBytes::as_bytes(&header), [1, 2, 3, 4, 5, 6]);
}

//! What holds for all frames, and for all bytes.

#[path = "support/mod.rs"]
mod support;

use std::ops::ControlFlow;

use busway_net::Pool;
use busway_net::wire::rpc::{self, RpcMessage, encode_request_head, error_reply_head, reply_head};
use busway_net::wire::{
    Assembler, BrokerFrame, BrokerFrames, BrokerHandshake, BrokerStep, ClientFrame, ClientFrames, FrameKind, HELLO,
    Limits, NameFault, Operation, PathFault, QoS, ResultCode, Violation, encode_name, encode_topics_head,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use support::checks;
use support::decode::{Decoded, Frame, decode, feed};
use support::encode;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// What may stand in a name: anything but NUL, most of it short.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![9 => vec(1_u8.., 0..20), 1 => vec(1_u8.., 1000..=1024)]
}

/// Mostly small, at times above what is gathered in the read buffer.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let large = (30_000_usize..70_000, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]);
    prop_oneof![15 => vec(any::<u8>(), 0..100), 1 => large]
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::No, QoS::Processed, QoS::Realtime, QoS::RealtimeProcessed])
}

/// Lengths of the pieces that a stream arrives in; they repeat.
fn pieces() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![4 => 1_usize..40, 1 => 1_usize..5000, 1 => 1_usize..100_000], 1..8)
}

fn split<'a>(mut stream: &'a [u8], pieces: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    let long = stream.len() > 20_000;
    for length in pieces.iter().cycle() {
        if stream.is_empty() {
            break;
        }
        // Single bytes of long streams cost too much here; the golden tests have them.
        let length = if long { length + 500 } else { *length };
        let (chunk, rest) = stream.split_at(length.min(stream.len()));
        chunks.push(chunk);
        stream = rest;
    }
    chunks
}

fn ping<const SIZE: usize>() -> impl Strategy<Value = [u8; SIZE]> {
    vec(any::<u8>(), SIZE).prop_map(|bytes| bytes.try_into().expect("as many as asked for"))
}

fn client_frame() -> impl Strategy<Value = Frame<ClientFrame>> {
    let pinged = ping::<9>().prop_map(|mut raw| {
        raw[4] = 0;
        Frame::new(ClientFrame::Ping { raw }, b"", b"", b"")
    });
    let topics = vec("[^\0]{0,12}", 1..5).prop_map(|topics| topics.join("\0").into_bytes());
    let operated = (select(&Operation::ALL[..]), qos(), any::<u32>(), (name(), name()), (payload(), topics)).prop_map(
        |(operation, qos, op_id, (first, second), (payload, topics))| {
            // A nop without a QoS is a ping.
            let qos = if operation == Operation::Nop && qos == QoS::No { QoS::Realtime } else { qos };
            let meta = ClientFrame::Operation { op_id, operation, qos };
            match operation {
                _ if operation.takes_topics() => Frame::new(meta, b"", b"", &topics),
                Operation::PublishFor => Frame::new(meta, &first, &second, &payload),
                _ => Frame::new(meta, &first, b"", &payload),
            }
        },
    );
    prop_oneof![1 => pinged, 6 => operated]
}

fn broker_frame() -> impl Strategy<Value = Frame<BrokerFrame>> {
    let pinged = ping::<6>().prop_map(|mut raw| {
        raw[0] = 0;
        Frame::new(BrokerFrame::Ping { raw }, b"", b"", b"")
    });
    let acknowledged = (any::<u32>(), any::<u8>()).prop_map(|(op_id, code)| {
        Frame::new(BrokerFrame::Acknowledgement { op_id, code: ResultCode(code) }, b"", b"", b"")
    });
    let kind = select(vec![FrameKind::Publication, FrameKind::Message, FrameKind::Broadcast]);
    let delivered =
        (kind, any::<bool>(), name(), name(), payload()).prop_map(|(kind, realtime, sender, topic, payload)| {
            let topic = if kind == FrameKind::Publication { topic } else { Vec::new() };
            Frame::new(BrokerFrame::Delivery { kind, realtime }, &sender, &topic, &payload)
        });
    prop_oneof![1 => pinged, 1 => acknowledged, 5 => delivered]
}

/// Bytes that look like frames at times: most random bytes end at the first header.
fn almost_frames() -> impl Strategy<Value = Vec<u8>> {
    let client = client_frame().prop_map(|frame| encode::client_frame(&frame).expect("no extras here"));
    let broker = broker_frame().prop_map(|frame| encode::broker_frame(&frame).expect("no extras here"));
    let noise = vec(any::<u8>(), 0..30);
    let parts = vec(prop_oneof![3 => client, 3 => broker, 1 => noise, 1 => Just(HELLO.to_vec())], 0..5);
    (parts, any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(|(parts, at, byte, is_spoilt)| {
        let mut bytes = parts.concat();
        if is_spoilt && !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn client_frames_come_out_as_they_went_in(frames in vec(client_frame(), 0..6), pieces in pieces()) {
        let stream: Vec<u8> = frames.iter().filter_map(encode::client_frame).flatten().collect();
        let decoded = decode(ClientFrames::default(), split(&stream, &pieces), &mut Pool::default());
        prop_assert!(decoded == Decoded::all(frames));
    }

    #[test]
    fn broker_frames_come_out_as_they_went_in(frames in vec(broker_frame(), 0..6), pieces in pieces()) {
        let stream: Vec<u8> = frames.iter().filter_map(encode::broker_frame).flatten().collect();
        let decoded = decode(BrokerFrames::default(), split(&stream, &pieces), &mut Pool::default());
        prop_assert!(decoded == Decoded::all(frames));
    }

    /// The input is a fuzzer's: see the support module for what its first bytes mean.
    #[test]
    fn arbitrary_bytes_in_arbitrary_splits_give_what_they_give_at_once(
        lengths in vec(any::<u8>(), 0..15),
        options in 0_u8..16,
        bytes in prop_oneof![1 => vec(any::<u8>(), 0..300), 3 => almost_frames()],
    ) {
        let count = u8::try_from(lengths.len()).expect("a few");
        let input = [&[count], lengths.as_slice(), &[options], &bytes].concat();
        checks::client_frames(&input);
        checks::broker_frames(&input);
        checks::handshake(&input);
    }
}

/// Frames of which many are the same but for their payloads.
fn like_frame() -> impl Strategy<Value = Frame<ClientFrame>> {
    let operation = select(vec![Operation::Publish, Operation::Publish, Operation::Message, Operation::PublishFor]);
    let qos = prop_oneof![8 => Just(QoS::No), 1 => Just(QoS::Processed)];
    (operation, qos, any::<u32>(), select(vec!["a", "a", "a", "ab", ""]), payload()).prop_map(
        |(operation, qos, op_id, first, payload)| {
            let second: &[u8] = if operation == Operation::PublishFor { b"receiver" } else { b"" };
            Frame::new(ClientFrame::Operation { op_id, operation, qos }, first.as_bytes(), second, &payload)
        },
    )
}

/// What is left of a frame whose number nobody asks for.
type Told = (Operation, Vec<u8>, Vec<u8>);

fn told(frame: &Frame<ClientFrame>) -> Told {
    let ClientFrame::Operation { operation, .. } = frame.meta else { panic!("only operations are sent here") };
    (operation, frame.first.clone(), frame.payload.clone())
}

/// As `decode`, taking every frame together with those before it that are like the last one.
fn decode_runs(chunks: &[&[u8]], most: usize) -> (Vec<Told>, Result<bool, Violation>) {
    let (mut assembler, mut pool) = (Assembler::new(ClientFrames::default()), Pool::default());
    let (mut all, mut places, mut outcome) = (Vec::<Told>::new(), Vec::new(), Ok(()));
    for chunk in chunks {
        let _ = feed(&mut assembler, chunk, &mut pool, |assembler, pool, _| {
            loop {
                if let Some((operation, first, _)) = all.last().cloned() {
                    let run = assembler.next_run((most, &mut places), |frame, name, length| {
                        let its = (operation, QoS::No);
                        matches!(frame, ClientFrame::Operation { operation, qos, .. } if (*operation, *qos) == its)
                            && name == first
                            && length <= 4096
                    });
                    assert!(run.len() <= most && run.iter().map(<[u8]>::len).sum::<usize>() == run.bytes());
                    assert_eq!(run.skip(1).len(), run.len().saturating_sub(1));
                    let count = run.len();
                    all.extend(run.iter().map(|payload| (operation, first.clone(), payload.to_vec())));
                    if count > 0 {
                        continue;
                    }
                }
                match assembler.next(pool) {
                    Ok(Some(event)) => {
                        let payload = event.payload.as_slice();
                        all.push(told(&Frame::new(event.meta, event.first, event.second, payload)));
                    }
                    Ok(None) => return ControlFlow::Continue(()),
                    Err(violation) => {
                        outcome = Err(violation);
                        return ControlFlow::Break(());
                    }
                }
            }
        });
        if outcome.is_err() {
            break;
        }
    }
    (all, outcome.map(|()| assembler.is_amid()))
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn frames_that_are_taken_together_are_those_that_come_one_by_one(
        frames in vec(like_frame(), 0..60),
        pieces in pieces(),
        most in 1_usize..70,
        ends_in_garbage: bool,
    ) {
        let mut stream: Vec<u8> = frames.iter().filter_map(encode::client_frame).flatten().collect();
        if ends_in_garbage {
            stream.extend_from_slice(&[0, 0, 0, 0, 0x3F, 1, 0, 0, 0, 0]);
        }
        let one_by_one = decode(ClientFrames::default(), split(&stream, &pieces), &mut Pool::default());
        let (together, end) = decode_runs(&split(&stream, &pieces), most);
        prop_assert!(together == one_by_one.frames.iter().map(told).collect::<Vec<_>>());
        prop_assert_eq!(&end, &one_by_one.end);
        prop_assert_eq!(end.is_err(), ends_in_garbage);
        prop_assert!(together == frames.iter().map(told).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(config(2048))]

    #[test]
    fn topics_come_out_as_they_went_in(topics in vec("[^\0]{0,12}", 1..20), op_id: u32, qos in qos()) {
        let mut bytes = Vec::new();
        encode_topics_head(&mut bytes, op_id, (Operation::Subscribe, qos), topics.iter().map(String::as_str));
        let decoded = decode(ClientFrames::default(), [bytes.as_slice()], &mut Pool::default());
        prop_assert_eq!(decoded.end, Ok(false));
        let [frame] = decoded.frames.as_slice() else { panic!("one frame") };
        prop_assert_eq!(frame.meta, ClientFrame::Operation { op_id, operation: Operation::Subscribe, qos });
        let body = std::str::from_utf8(&frame.payload).expect("topics are text");
        prop_assert_eq!(body.split('\0').collect::<Vec<_>>(), topics);
    }

    #[test]
    fn rpc_messages_come_out_as_they_went_in(
        call_id: u32,
        code: i16,
        method in "[^\0]{0,20}",
        rest in vec(any::<u8>(), 0..50),
    ) {
        let mut request = Vec::new();
        encode_request_head(&mut request, call_id, &method);
        request.extend_from_slice(&rest);
        let expected = RpcMessage::Request { call_id, method: method.as_bytes(), params: &rest };
        prop_assert_eq!(rpc::parse(&request), Ok(expected));
        let reply = [reply_head(call_id).as_slice(), &rest].concat();
        prop_assert_eq!(rpc::parse(&reply), Ok(RpcMessage::Reply { call_id, result: &rest }));
        let error = [error_reply_head(call_id, code).as_slice(), &rest].concat();
        prop_assert_eq!(rpc::parse(&error), Ok(RpcMessage::ErrorReply { call_id, code, data: &rest }));
        let notification = [&[rpc::NOTIFICATION], rest.as_slice()].concat();
        prop_assert_eq!(rpc::parse(&notification), Ok(RpcMessage::Notification { payload: &rest }));
    }

    #[test]
    fn arbitrary_bytes_are_an_rpc_message_or_an_error(
        kind in select(vec![rpc::NOTIFICATION, rpc::REQUEST, rpc::REPLY, rpc::ERROR_REPLY]),
        bytes in vec(prop_oneof![3 => any::<u8>(), 1 => Just(0)], 0..30),
    ) {
        support::rpc::payload(&bytes);
        support::rpc::payload(&[&[kind], bytes.as_slice()].concat());
    }

    #[test]
    fn names_come_out_of_the_handshake_as_they_went_in(name in ".{0,80}") {
        let limits = Limits::default();
        let Ok(encoded) = encode_name(&name, &limits) else {
            return Ok(());
        };
        let mut handshake = BrokerHandshake::new(limits);
        prop_assert_eq!(handshake.advance(&HELLO), (3, BrokerStep::Reply(&[1])));
        prop_assert_eq!(handshake.advance(&encoded), (encoded.len(), BrokerStep::Register(&name)));
    }

    #[test]
    fn paths_are_checked_as_a_naive_reader_would(
        path in vec(select(b"a/./.\0b".to_vec()), 0..14),
        separator in select(b"/.".to_vec()),
        (max_path, max_levels) in (0_usize..14, 1_usize..6),
    ) {
        let limits = Limits { max_path, max_levels, ..Limits::default() };
        let expected = if path.len() > max_path {
            Err(PathFault::TooLong { length: path.len(), limit: max_path })
        } else if path.contains(&0) {
            Err(PathFault::Nul)
        } else if path.split(|byte| *byte == separator).count() > max_levels {
            Err(PathFault::TooDeep { limit: max_levels })
        } else {
            Ok(())
        };
        prop_assert_eq!(limits.check_path(&path, separator), expected);
    }

    #[test]
    fn names_are_checked_as_a_naive_reader_would(name in "[a.\0é]{0,8}", max_name in 0_usize..12) {
        let limits = Limits { max_name, ..Limits::default() };
        let bytes = name.as_bytes();
        let is_legal = !bytes.is_empty() && bytes[0] != b'.' && bytes.len() <= max_name && !bytes.contains(&0);
        let outcome = limits.check_name(&name);
        prop_assert_eq!(outcome.is_ok(), is_legal);
        match outcome {
            Ok(()) => {}
            Err(NameFault::Empty) => prop_assert!(bytes.is_empty()),
            Err(NameFault::LeadingDot) => prop_assert_eq!(bytes[0], b'.'),
            Err(NameFault::TooLong { length, limit }) => {
                prop_assert_eq!((length, limit), (bytes.len(), max_name));
                prop_assert!(length > limit);
            }
            Err(NameFault::Nul) => prop_assert!(bytes.contains(&0)),
            Err(other) => prop_assert!(false, "unknown fault {other:?}"),
        }
    }
}

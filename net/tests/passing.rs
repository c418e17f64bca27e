//! Large payloads of which a part goes elsewhere than into the assembler's memory come out as they went in.

#[path = "support/mod.rs"]
mod support;

use std::ops::ControlFlow;

use busway_net::Pool;
use busway_net::wire::{Assembler, ClientFrame, ClientFrames, Operation, QoS, ReceivedPayload};
use proptest::collection::vec;
use proptest::prelude::*;

use support::decode::{Frame, feed};
use support::encode;

/// What whoever reads does with the payloads of large frames.
#[derive(Clone, Copy, Debug)]
enum Keeping {
    Here,
    /// So many pieces go elsewhere, and are brought here if more follow.
    Elsewhere(usize),
}

fn keeping() -> impl Strategy<Value = (Keeping, bool)> {
    (prop_oneof![1 => Just(Keeping::Here), 3 => (0_usize..12).prop_map(Keeping::Elsewhere)], any::<bool>())
}

/// As `decode`, but parts of large payloads go elsewhere. Says also how many bytes did so to the end.
fn decode_passing(chunks: &[&[u8]], keepings: &[(Keeping, bool)]) -> (Vec<Frame<ClientFrame>>, usize) {
    let (mut assembler, mut memory) = (Assembler::new(ClientFrames::default()), Pool::default());
    let (mut frames, mut elsewhere, mut total) = (Vec::new(), Vec::new(), 0);
    let mut keepings = keepings.iter().cycle();
    let mut pieces_left = 0;
    for chunk in chunks {
        let mut chunk = *chunk;
        while !chunk.is_empty() {
            let missing = assembler.missing();
            if missing > 0 && pieces_left > 0 {
                let (piece, rest) = chunk.split_at(chunk.len().min(missing));
                assembler.pass(piece.len());
                elsewhere.extend_from_slice(piece);
                (chunk, pieces_left) = (rest, pieces_left - 1);
            } else {
                assembler.bring(&mut memory, |memory| memory.append(&mut elsewhere));
                let room = assembler.room(&mut memory);
                let count = chunk.len().min(room.capacity() - room.len());
                assert!(count > 0, "there is always room to read");
                room.extend_from_slice(&chunk[..count]);
                chunk = &chunk[count..];
            }
            while let Some(frame) = assembler.next(&mut memory).expect("the protocol") {
                let payload = match &frame.payload {
                    ReceivedPayload::Front(front, passed) => {
                        assert_eq!(*passed, elsewhere.len());
                        total += passed;
                        [front.as_slice(), &elsewhere].concat()
                    }
                    here => here.as_slice().to_vec(),
                };
                frames.push(Frame::new(frame.meta, frame.first, frame.second, &payload));
                elsewhere.clear();
                pieces_left = 0;
            }
            let announced = assembler.take_announced().map(|frame| frame.payload.len());
            if let Some(length) = announced {
                assert!(assembler.missing() <= length);
                let (keeping, is_slim) = keepings.next().expect("they repeat");
                pieces_left = if let Keeping::Elsewhere(pieces) = keeping { *pieces } else { 0 };
                if *is_slim {
                    assembler.slim(&mut memory);
                }
            }
        }
    }
    (frames, total)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn payloads_may_go_elsewhere_in_any_part(
        lengths in vec((0_usize..400_000, any::<u8>()), 1..6),
        piece in prop_oneof![500_usize..5_000, 5_000_usize..200_000],
        keepings in vec(keeping(), 1..5),
    ) {
        let meta = ClientFrame::Operation { op_id: 1, operation: Operation::Message, qos: QoS::No };
        let payload = |(length, first): (usize, u8)| -> Vec<u8> {
            (0..length).map(|at| (at % 249).to_le_bytes()[0].wrapping_add(first)).collect()
        };
        let frames: Vec<_> =
            lengths.into_iter().map(|length| Frame::new(meta, b"target", b"", &payload(length))).collect();
        let stream: Vec<u8> = frames.iter().filter_map(encode::client_frame).flatten().collect();
        let (decoded, _) = decode_passing(&stream.chunks(piece).collect::<Vec<_>>(), &keepings);
        prop_assert!(decoded == frames);
    }
}

#[test]
fn a_large_payload_goes_elsewhere_but_for_what_came_with_its_head() {
    let meta = ClientFrame::Operation { op_id: 1, operation: Operation::Message, qos: QoS::No };
    let frame = Frame::new(meta, b"target", b"", &vec![7; 300_000]);
    let stream = encode::client_frame(&frame).expect("no extras here");
    let chunks: Vec<&[u8]> = stream.chunks(50_000).collect();
    let (decoded, passed) = decode_passing(&chunks, &[(Keeping::Elsewhere(usize::MAX), false)]);
    assert!(decoded == [frame]);
    assert_eq!(passed, stream.len() - 50_000);
}

#[test]
fn there_is_room_for_a_payload_of_which_nothing_has_come_and_that_stays_here_after_all() {
    let (mut assembler, mut memory) = (Assembler::new(ClientFrames::default()), Pool::default());
    let meta = ClientFrame::Operation { op_id: 1, operation: Operation::Message, qos: QoS::No };
    let frame = encode::client_frame(&Frame::new(meta, b"target", b"", &vec![7; 1 << 20])).expect("no extras here");
    let _ = feed(&mut assembler, &frame, &mut memory, |assembler, memory, _| {
        assembler.next(memory).expect("the protocol");
        ControlFlow::Continue(())
    });
    let head = frame.len() - (1 << 20);
    assembler.room(&mut memory).extend_from_slice(&frame[..head]);
    assert!(assembler.next(&mut memory).expect("the protocol").is_none());
    assert_eq!((assembler.missing(), assembler.take_announced().is_some()), (1 << 20, true));
    assembler.slim(&mut memory);
    let room = assembler.room(&mut memory);
    assert!((1..1 << 20).contains(&room.capacity()), "{}", room.capacity());
}

//! Frames that are not gathered in the read buffer.

use busway_net::Pool;
use busway_net::wire::{
    Assembler, BrokerFrame, BrokerFrames, ClientFrame, ClientFrames, FrameKind, Limits, Operation, QoS, Violation,
};

use super::support::decode::{Decoded, Frame, decode, feed, take_all};
use super::support::memory::CountingMemory;

/// What a frame may have to be gathered in the read buffer.
const INLINE: usize = 32 << 10;
const HEADER: usize = 9;

/// Bytes that differ from their neighbours and repeat late.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at % 251) ^ (at / 65_521)).to_le_bytes()[0]).collect()
}

fn client_frame(flags: u8, names: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(names.len() + payload.len()).expect("within the wire's lengths").to_le_bytes();
    [&[1, 0, 0, 0, flags], length.as_slice(), names, payload].concat()
}

fn operation(operation: Operation) -> ClientFrame {
    ClientFrame::Operation { op_id: 1, operation, qos: QoS::No }
}

fn assert_decodes<G>(grammar: G, stream: &[u8], size: usize, expected: &Decoded<G::Meta>, memory: &mut Pool)
where
    G: busway_net::wire::Grammar,
    G::Meta: PartialEq + std::fmt::Debug,
{
    // Megabytes are of no use in a message.
    assert!(decode(grammar, stream.chunks(size), memory) == *expected, "pieces of {size}");
}

#[test]
fn the_threshold_itself_makes_no_difference() {
    let pool = &mut Pool::default();
    for total in INLINE - 2..INLINE + 3 {
        let payload = pattern(total - HEADER - 2);
        let stream = client_frame(0x12, b"p\0", &payload);
        assert_eq!(stream.len(), total);
        let stream = [stream.as_slice(), &[0; 9]].concat();
        let ping = Frame::new(ClientFrame::Ping { raw: [0; 9] }, b"", b"", b"");
        let expected = Decoded::all(vec![Frame::new(operation(Operation::Message), b"p", b"", &payload), ping]);
        for size in [1, 2, 1000, total - 1, total, total + 1, total + 9] {
            assert_decodes(ClientFrames::default(), &stream, size, &expected, pool);
        }
    }
}

#[test]
fn a_large_frame_may_be_cut_in_its_head_its_names_and_at_the_edges_of_its_payload() {
    let payload = pattern(100_000);
    let names = b"topic/of/it\0receiver.1\0";
    let stream = client_frame(0x06, names, &payload);
    let frame = Frame::new(operation(Operation::PublishFor), b"topic/of/it", b"receiver.1", &payload);
    let expected = Decoded::all(vec![frame]);
    let start = HEADER + names.len();
    let cuts = (0..start + 3).chain([INLINE - 1, INLINE, INLINE + 1, 65_535, 65_536, 65_537]);
    for at in cuts.chain(stream.len() - 3..=stream.len()) {
        for next in [1, 2, stream.len()] {
            let (one, other) = stream.split_at(at);
            let (two, three) = other.split_at(next.min(other.len()));
            let decoded = decode(ClientFrames::default(), [one, two, three], &mut Pool::default());
            assert!(decoded == expected, "cut at {at} and {next} further");
        }
    }
}

#[test]
fn a_large_frame_from_a_broker_keeps_sender_and_topic() {
    let payload = pattern(70_001);
    let length = u32::try_from(payload.len() + 7).expect("within the wire's lengths").to_le_bytes();
    let stream = [&[0x01], length.as_slice(), &[1], b"s.1\0t/\0", &payload].concat();
    let meta = BrokerFrame::Delivery { kind: FrameKind::Publication, realtime: true };
    let expected = Decoded::all(vec![Frame::new(meta, b"s.1", b"t/", &payload)]);
    for size in [1, 5, 13, 4096, 65_536, stream.len()] {
        assert_decodes(BrokerFrames::default(), &stream, size, &expected, &mut Pool::default());
    }
}

#[test]
fn memory_that_overshoots_leaves_the_next_frames_whole() {
    let (one, other) = (pattern(70_000), pattern(90_000));
    let stream = [
        client_frame(0x12, b"one\0", &one),
        client_frame(0x13, b"other\0", &other),
        client_frame(0x01, b"t\0", b"small"),
        client_frame(0x12, b"one\0", &one),
        vec![0; 5],
    ]
    .concat();
    let frames = vec![
        Frame::new(operation(Operation::Message), b"one", b"", &one),
        Frame::new(operation(Operation::Broadcast), b"other", b"", &other),
        Frame::new(operation(Operation::Publish), b"t", b"", b"small"),
        Frame::new(operation(Operation::Message), b"one", b"", &one),
    ];
    let expected = Decoded { frames, end: Ok(true) };
    for overshoot in [0, 1, 8, 9, 10, 89_999, 90_000, 90_016, 300_000] {
        for size in [13, 1000, 69_999, 70_000, 70_001, stream.len()] {
            for goes_idle in [false, true] {
                let mut memory = CountingMemory::new(Limits::default(), overshoot);
                let mut assembler = Assembler::new(ClientFrames::default());
                let mut frames = Vec::new();
                for chunk in stream.chunks(size) {
                    let _ = feed(&mut assembler, chunk, &mut memory, |assembler, memory, count| {
                        memory.fed += count;
                        take_all(assembler, memory, &mut frames).expect("the stream is the protocol");
                        if goes_idle {
                            assembler.release(memory);
                        }
                        std::ops::ControlFlow::Continue(())
                    });
                }
                let decoded = Decoded { frames, end: Ok(assembler.is_amid()) };
                assert!(decoded == expected, "{overshoot} bytes too many, pieces of {size}, idle {goes_idle}");
            }
        }
    }
}

#[test]
fn three_megabytes_arrive_as_they_were_sent() {
    let payload = pattern(3 << 20);
    let stream = client_frame(0x12, b"peer\0", &payload);
    let stream = [stream.as_slice(), &stream, &[0; 9]].concat();
    let frame = Frame::new(operation(Operation::Message), b"peer", b"", &payload);
    let ping = Frame::new(ClientFrame::Ping { raw: [0; 9] }, b"", b"", b"");
    let expected = Decoded::all(vec![frame.clone(), frame, ping]);
    for size in [997, 65_536, 262_144, 262_145, 3 << 20, stream.len()] {
        assert_decodes(ClientFrames::default(), &stream, size, &expected, &mut Pool::default());
    }
}

#[test]
fn a_name_over_the_limit_comes_out_one_byte_over_the_limit_in_any_split() {
    let limit = Limits::default().max_path;
    let payload = pattern(60_000);
    for length in [limit, limit + 1, limit + 2, 2 * limit + 5, 20_000] {
        let name = vec![b'n'; length];
        for (flags, behind) in [(0x12, b"".as_slice()), (0x06, b"receiver\0")] {
            let stream = client_frame(flags, &[&name, b"\0".as_slice(), behind].concat(), &payload);
            let at_once = decode(ClientFrames::default(), [stream.as_slice()], &mut Pool::default());
            let [frame] = at_once.frames.as_slice() else { panic!("one frame: {:?}", at_once.end) };
            assert_eq!(frame.first.len(), length.min(limit + 1));
            for size in [1, 100, limit, limit + 9, limit + 10, limit + 11, 10_000, 32_768, 59_999] {
                let decoded = decode(ClientFrames::default(), stream.chunks(size), &mut Pool::default());
                assert!(decoded == at_once, "a name of {length}, pieces of {size}");
            }
        }
    }
}

#[test]
fn names_longer_than_the_read_buffer_have_room_where_they_are_allowed() {
    let limits = Limits { max_path: 700_000, ..Limits::default() };
    let frames = ClientFrames { limits, extra_operations: 0 };
    let (name, payload) = (vec![b'n'; 700_000], pattern(50_000));
    let stream = client_frame(0x12, &[&name, b"\0".as_slice()].concat(), &payload);
    let expected = Decoded::all(vec![Frame::new(operation(Operation::Message), &name, b"", &payload)]);
    for size in [10_000, stream.len()] {
        assert_decodes(frames, &stream, size, &expected, &mut Pool::default());
    }
}

#[test]
fn a_large_frame_without_a_nul_never_gets_a_legal_name() {
    let limits = Limits { max_path: 100, max_name: 50, ..Limits::default() };
    let stream = client_frame(0x12, b"", &[b'x'; 40_000]);
    for size in [1, 99, 1000, 40_000, stream.len()] {
        let frames = ClientFrames { limits, extra_operations: 0 };
        let decoded = decode(frames, stream.chunks(size), &mut Pool::default());
        assert_eq!(decoded.frames.len(), 1);
        assert_eq!(decoded.frames[0].first.len(), 101, "refused by whoever checks it");
        assert!(limits.check_path(&decoded.frames[0].first, b'.').is_err());
    }
}

#[test]
fn a_large_payload_over_the_limit_is_a_violation_before_it_arrives() {
    let limits = Limits { max_payload: 50_000, ..Limits::default() };
    let frames = ClientFrames { limits, extra_operations: 0 };
    let stream = client_frame(0x12, b"p\0", &pattern(50_001));
    let violation = Decoded { frames: vec![], end: Err(Violation::PayloadTooLong { length: 50_001, limit: 50_000 }) };
    for at in [11, 12, 1000, stream.len()] {
        assert!(decode(frames, stream[..at].chunks(5), &mut Pool::default()) == violation, "cut at {at}");
    }
    let stream = client_frame(0x12, b"p\0", &pattern(50_000));
    assert_eq!(decode(frames, stream.chunks(777), &mut Pool::default()).frames.len(), 1);
}

#[test]
fn an_extra_operation_may_be_large_and_be_enabled_on_the_way() {
    let payload = pattern(200_000);
    let stream = client_frame(0x20, b"", &payload);
    let mut assembler = Assembler::new(ClientFrames::default());
    let pool = &mut Pool::default();
    let mut frames = Vec::new();
    let mut look = |assembler: &mut Assembler<ClientFrames>, pool: &mut Pool, _| {
        take_all(assembler, pool, &mut frames).expect("the operation is enabled");
        std::ops::ControlFlow::Continue(())
    };
    let _ = feed(&mut assembler, &[1, 2, 3, 4, 0, 6, 7, 8, 9], pool, &mut look);
    assembler.grammar_mut().extra_operations |= 1 << 0x20;
    for chunk in stream.chunks(1023) {
        let _ = feed(&mut assembler, chunk, pool, &mut look);
    }
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].meta, ClientFrame::Ping { raw: [1, 2, 3, 4, 0, 6, 7, 8, 9] });
    assert!(
        frames[1].meta == ClientFrame::Extra { op_id: 1, code: 0x20, qos: QoS::No } && frames[1].payload == payload
    );
}

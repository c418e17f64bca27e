//! What the wire protocol costs alone: frames to bytes and bytes to frames, in both directions.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;

use busway_net::Pool;
use busway_net::wire::{
    Assembler, BrokerFrames, ClientFrames, FrameKind, Grammar, Operation, QoS, encode_broker_head, encode_client_head,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Frames of one round.
const FRAMES: u32 = 500;
const SIZES: [usize; 3] = [64, 1024, 16 << 10];

fn client_frame(stream: &mut Vec<u8>, op_id: u32, size: usize) {
    encode_client_head(stream, op_id, (Operation::Publish, QoS::No), (b"bench/topic", None), size);
}

fn broker_frame(stream: &mut Vec<u8>, _op_id: u32, size: usize) {
    encode_broker_head(stream, (FrameKind::Publication, false), (b"bench.publisher", Some(b"bench/topic")), size);
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(FRAMES.into()));
    for (name, head) in [("client", client_frame as fn(&mut Vec<u8>, u32, usize)), ("broker", broker_frame)] {
        group.bench_function(name, |bencher| {
            let mut stream = Vec::new();
            bencher.iter(|| {
                stream.clear();
                for op_id in 0..FRAMES {
                    head(&mut stream, op_id, 64);
                }
                black_box(stream.len())
            });
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    decode_all(criterion, "decode/client", client_frame, ClientFrames::default);
    decode_all(criterion, "decode/broker", broker_frame, BrokerFrames::default);
}

fn decode_all<G: Grammar>(criterion: &mut Criterion, name: &str, head: fn(&mut Vec<u8>, u32, usize), grammar: fn() -> G)
where
    Pool: busway_net::wire::BodyMemory<G::Meta>,
{
    let mut group = criterion.benchmark_group(name);
    for size in SIZES {
        let mut stream = Vec::new();
        for op_id in 0..FRAMES {
            head(&mut stream, op_id, size);
            stream.resize(stream.len() + size, 0xEE);
        }
        group.throughput(Throughput::Elements(FRAMES.into()));
        group.bench_with_input(BenchmarkId::from_parameter(size), &stream, |bencher, stream| {
            let mut pool = Pool::default();
            let mut assembler = Assembler::new(grammar());
            bencher.iter(|| {
                let (mut rest, mut decoded) = (stream.as_slice(), 0);
                while !rest.is_empty() {
                    let room = assembler.room(&mut pool);
                    let count = rest.len().min(room.capacity() - room.len());
                    room.extend_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    while let Some(frame) = assembler.next(&mut pool).expect("the frames are well made") {
                        black_box(frame.payload.len());
                        decoded += 1;
                    }
                }
                assert_eq!(decoded, FRAMES, "every frame is there");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encode, decode);
criterion_main!(benches);

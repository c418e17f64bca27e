//! The work whose instructions `tools/instructions` counts: small loops, run under callgrind.
//!
//! `instructions CASE TIMES` does one thing so many times. What a program does before and after is the same for every
//! number of times, so that the difference of two runs is the thing alone.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

use busway::Client;
use busway::broker::Broker;
use busway::client::Transport;
use busway_net::Pool;
use busway_net::wire::{Assembler, ClientFrames, FrameKind, Operation, QoS, encode_broker_head, encode_client_head};
use busway_shm::layout::ControlLayout;
use busway_shm::{Consumer, Descriptor, HeapMemory, Parts, Producer};

/// Frames that come in one read.
const BATCH: u32 = 100;
const PAYLOAD: [u8; 64] = [0xEE; 64];
const TOPIC: &str = "bench/topic";
/// As a lane has them to begin with.
const LAYOUT: ControlLayout = ControlLayout { ring: 64 << 10, slots: 256 };

type Case = fn(u32);

const CASES: [(&str, Case); 7] = [
    ("encode_client_head", encode_client),
    ("encode_broker_head", encode_broker),
    ("decode_64_bytes", decode),
    ("route_to_1", |times| route(times, 1)),
    ("route_to_10", |times| route(times, 10)),
    ("ring_64_bytes", ring),
    ("lane_64_bytes", lane),
];

fn main() -> ExitCode {
    // `cargo bench` calls every benchmark with options of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [name, times] = arguments.as_slice() else {
        for (name, _) in CASES {
            tell(name);
        }
        return ExitCode::SUCCESS;
    };
    let case = CASES.iter().find(|(known, _)| known == name);
    match (case, times.parse()) {
        (Some((_, case)), Ok(times)) => {
            case(times);
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

#[expect(clippy::print_stdout, reason = "this is a program")]
fn tell(name: &str) {
    println!("{name}");
}

fn encode_client(times: u32) {
    let mut stream = Vec::with_capacity(1 << 10);
    for op_id in 0..times {
        stream.clear();
        let names = (TOPIC.as_bytes(), None);
        encode_client_head(&mut stream, black_box(op_id), (Operation::Publish, QoS::No), names, PAYLOAD.len());
        black_box(&stream);
    }
}

fn encode_broker(times: u32) {
    let mut stream = Vec::with_capacity(1 << 10);
    for _ in 0..times {
        stream.clear();
        let names = (black_box(b"bench.publisher".as_slice()), Some(TOPIC.as_bytes()));
        encode_broker_head(&mut stream, (FrameKind::Publication, false), names, PAYLOAD.len());
        black_box(&stream);
    }
}

fn decode(times: u32) {
    let mut stream = Vec::new();
    for op_id in 0..BATCH {
        encode_client_head(&mut stream, op_id, (Operation::Publish, QoS::No), (TOPIC.as_bytes(), None), PAYLOAD.len());
        stream.extend_from_slice(&PAYLOAD);
    }
    let mut pool = Pool::default();
    let mut assembler = Assembler::new(ClientFrames::default());
    for _ in 0..times / BATCH {
        assembler.room(&mut pool).extend_from_slice(&stream);
        while let Ok(Some(frame)) = assembler.next(&mut pool) {
            black_box(frame.payload.len());
        }
    }
    // Counted once, at the end: an assembler that has failed, or has anything left, does not do it.
    assembler.room(&mut pool).extend_from_slice(&stream);
    let mut decoded = 0;
    while assembler.next(&mut pool).expect("the frames are well made").is_some() {
        decoded += 1;
    }
    assert_eq!(decoded, BATCH, "every frame is there");
}

fn route(times: u32, receivers: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let broker = runtime.block_on(Broker::builder().start()).expect("a broker starts");
    let client = |name: &str| broker.client(name).expect("the name is free");
    let receivers: Vec<Client> = (0..receivers).map(|number| client(&format!("receiver{number}"))).collect();
    for receiver in &receivers {
        runtime.block_on(async { receiver.subscribe(TOPIC).await }).expect("the broker subscribes");
    }
    let sender = client("sender");
    for _ in 0..times {
        sender.publish(TOPIC, &PAYLOAD).try_enqueue().expect("the broker takes a frame");
        for receiver in &receivers {
            assert!(black_box(receiver.try_recv()).is_some(), "the frame is there");
        }
    }
}

/// A record into a ring and out of it, as two processes do it that share the memory.
fn ring(times: u32) {
    let (own, peer) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
    let mut producer = Producer::new(own.clone(), peer.clone(), LAYOUT);
    let mut consumer = Consumer::new(peer, own, LAYOUT);
    let name = TOPIC.as_bytes();
    let length = u16::try_from(name.len()).expect("a short name");
    let payload = u32::try_from(PAYLOAD.len()).expect("a short payload");
    let descriptor = Descriptor { operation: 1, name: length.into(), payload: payload.into(), ..Descriptor::default() };
    let (mut names, mut copied, mut received) = (Vec::new(), Vec::new(), 0);
    for _ in 0..times / BATCH {
        for _ in 0..BATCH {
            assert_eq!(producer.push(&descriptor, Parts { name, second: b"" }, &PAYLOAD), Ok(true), "it has room");
        }
        black_box(producer.must_ring());
        while let Ok(Some(record)) = consumer.next_record() {
            copied.clear();
            consumer.copy_names(&record, &mut names);
            consumer.copy_payload(&record, &mut copied);
            black_box((&names, &copied));
            received += 1;
        }
        black_box(consumer.release());
    }
    assert_eq!(received, times / BATCH * BATCH, "every record is there");
}

/// All three processes' shares of a frame over the lane, in one; the few system calls of a batch are among it.
fn lane(times: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let path = std::env::temp_dir().join(format!("busway-instructions-{}.sock", std::process::id()));
    runtime.block_on(async {
        let broker = Broker::builder().unix(&path).start().await.expect("a broker starts");
        let receiver = on_the_lane(&path, "receiver").await;
        let sender = on_the_lane(&path, "sender").await;
        receiver.subscribe(TOPIC).await.expect("the broker subscribes");
        for _ in 0..times / BATCH {
            for _ in 0..BATCH {
                sender.publish(TOPIC, &PAYLOAD).await.expect("the lane takes a frame");
            }
            for _ in 0..BATCH {
                assert!(black_box(receiver.recv().await).is_some(), "the frame is there");
            }
        }
        broker.shut_down().await;
    });
}

async fn on_the_lane(path: &Path, name: &str) -> Client {
    let client = Client::builder(path, name).connect().await.expect("the broker takes a client");
    while client.transport() != Transport::Lane {
        tokio::task::yield_now().await;
    }
    client
}

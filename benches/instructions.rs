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

/// Frames that come in one read.
const BATCH: u32 = 100;
const PAYLOAD: [u8; 64] = [0xEE; 64];
const TOPIC: &str = "bench/topic";

type Case = fn(u32);

const CASES: [(&str, Case); 6] = [
    ("encode_client_head", encode_client),
    ("encode_broker_head", encode_broker),
    ("decode_64_bytes", decode),
    ("route_to_1", |times| route(times, 1)),
    ("route_to_10", |times| route(times, 10)),
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
            black_box(receiver.try_recv());
        }
    }
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
                black_box(receiver.recv().await);
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

//! What one frame costs: routed inside the process, and the whole way through a socket.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;

use busway::Client;
use busway::broker::Broker;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

/// Frames of one round.
const FRAMES: u32 = 500;

/// Publishes a round to each subscriber and waits until all have it.
async fn round(publisher: &Client, subscribers: &[Client], payload: &[u8]) {
    for _ in 0..FRAMES {
        if let Err(error) = publisher.publish("bench/topic", payload).await {
            panic!("the broker takes a round: {error}");
        }
    }
    for subscriber in subscribers {
        for _ in 0..FRAMES {
            assert!(black_box(subscriber.recv().await).is_some(), "the frame is there");
        }
    }
}

fn publish(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let path = std::env::temp_dir().join(format!("busway-bench-{}.sock", std::process::id()));
    let broker = runtime.block_on(Broker::builder().unix(&path).start()).expect("a broker starts");
    for transport in ["in_process", "unix"] {
        let connect = |name: String| match transport {
            "unix" => runtime.block_on(Client::connect(&path, &name)).expect("the broker answers"),
            _ => broker.client(&name).expect("the name is free"),
        };
        let mut group = criterion.benchmark_group(format!("publish/{transport}"));
        for receivers in [1, 4] {
            let publisher = connect(format!("{transport}.publisher.{receivers}"));
            let subscribers: Vec<Client> =
                (0..receivers).map(|number| connect(format!("{transport}.subscriber.{receivers}.{number}"))).collect();
            for subscriber in &subscribers {
                runtime.block_on(async { subscriber.subscribe("bench/#").await }).expect("the broker subscribes");
            }
            for size in [64, 16 << 10] {
                let payload = vec![0xEE; size];
                group.throughput(Throughput::Elements(u64::from(FRAMES) * receivers));
                group.bench_function(BenchmarkId::new(format!("x{receivers}"), size), |bencher| {
                    bencher.iter(|| runtime.block_on(round(&publisher, &subscribers, &payload)));
                });
            }
        }
        group.finish();
    }
    runtime.block_on(broker.shut_down());
}

criterion_group!(benches, publish);
criterion_main!(benches);

//! What it costs to find a frame's receivers and to hand it to them, without sockets: clients in the broker's process.
//!
//! Every measurement includes the call of the sender and the taking by the receivers. Topics that are few are found in
//! the sender's cache; more topics than that holds, used in turn, are looked up in the tree of subscriptions each time.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;

use busway::Client;
use busway::broker::Broker;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

/// Subscriptions that do not match, which measurements are named by. Those that match come on top: 2,048 exact ones, one
/// for each topic, or a single one with a wildcard.
const OTHERS: [usize; 4] = [1, 1_000, 100_000, 1_000_000];
/// Twice as many as a cache holds.
const UNCACHED_TOPICS: usize = 2048;
const SINKS: [usize; 3] = [1, 10, 100];
const PAYLOAD: [u8; 64] = [0xEE; 64];
/// Filters of one frame, so that none is over the limit of a payload.
const BULK: usize = 1000;

/// How a subscription is written.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// Matches every topic that is published to.
    matching: fn() -> Vec<String>,
    /// Matches none; in as many places of the tree as there are numbers.
    other: fn(usize) -> String,
}

const KINDS: [Kind; 3] = [
    Kind { name: "exact", matching: || topics(UNCACHED_TOPICS), other: |number| format!("bench/other{number}/value") },
    Kind { name: "plus", matching: || vec!["bench/+/value".into()], other: |number| format!("bench/+/other{number}") },
    Kind { name: "hash", matching: || vec!["bench/#".into()], other: |number| format!("bench/other{number}/#") },
];

fn topics(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("bench/{number}/value")).collect()
}

struct Scene {
    runtime: Runtime,
    broker: Broker,
}

impl Scene {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let builder = Broker::builder().max_subscriptions(2 * OTHERS[3]);
        let broker = runtime.block_on(builder.start()).expect("a broker starts");
        Self { runtime, broker }
    }

    fn client(&self, name: &str) -> Client {
        self.broker.client(name).expect("the name is free")
    }

    fn subscribe(&self, client: &Client, filters: &[String]) {
        for bulk in filters.chunks(BULK) {
            self.runtime.block_on(async { client.subscribe(bulk).await }).expect("the broker subscribes");
        }
    }
}

fn publish(sender: &Client, topic: &str, receivers: &[Client]) {
    sender.publish(topic, &PAYLOAD).try_enqueue().expect("the broker takes a frame");
    for receiver in receivers {
        assert!(black_box(receiver.try_recv()).is_some(), "the frame is there");
    }
}

fn topic_match(criterion: &mut Criterion) {
    for kind in KINDS {
        let mut group = criterion.benchmark_group(format!("match/{}", kind.name));
        group.throughput(Throughput::Elements(1));
        for count in OTHERS {
            let scene = Scene::new();
            let others = scene.client("others");
            scene.subscribe(&others, &(0..count).map(kind.other).collect::<Vec<_>>());
            let receiver = [scene.client("receiver")];
            scene.subscribe(&receiver[0], &(kind.matching)());
            let sender = scene.client("sender");
            for (name, topics) in [("cached", topics(1)), ("uncached", topics(UNCACHED_TOPICS))] {
                let mut turn = topics.iter().cycle();
                group.bench_function(BenchmarkId::new(name, format!("{count}_others")), |bencher| {
                    bencher.iter(|| {
                        if let Some(topic) = turn.next() {
                            publish(&sender, topic, &receiver);
                        }
                    });
                });
            }
        }
        group.finish();
    }
}

fn sinks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sinks");
    for count in SINKS {
        let scene = Scene::new();
        let receivers: Vec<Client> = (0..count).map(|number| scene.client(&format!("receiver{number}"))).collect();
        for receiver in &receivers {
            scene.subscribe(receiver, &topics(1));
        }
        let sender = scene.client("sender");
        let topics = topics(1);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| publish(&sender, &topics[0], &receivers));
        });
    }
    group.finish();
}

criterion_group!(benches, topic_match, sinks);
criterion_main!(benches);

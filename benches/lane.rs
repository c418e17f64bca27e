//! What the memory code of a lane costs by itself: a record through a ring, a loan, a slot that comes back.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;

use busway_shm::layout::ControlLayout;
use busway_shm::{
    Arenas, Consumer, Descriptor, HeapMemory, Loan, OwnSegment, Parts, Producer, ReturnReader, Returns, Slots,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// As a lane has them to begin with.
const LAYOUT: ControlLayout = ControlLayout { ring: 64 << 10, slots: 256 };
/// Records of one batch: one doorbell, one release.
const BATCH: u32 = 16;

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    for size in [64, 1024] {
        let (own, peer) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
        let mut producer = Producer::new(own.clone(), peer.clone(), LAYOUT);
        let mut consumer = Consumer::new(peer, own, LAYOUT);
        let (name, payload) = (b"bench/topic", vec![0xEE; size as usize]);
        let length = u16::try_from(name.len()).map_or_else(|_| panic!("a name"), Into::into);
        let descriptor = Descriptor { operation: 1, name: length, payload: size.into(), ..Descriptor::default() };
        group.throughput(Throughput::Elements(BATCH.into()));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let (mut names, mut copied) = (Vec::new(), Vec::new());
            bencher.iter(|| {
                for _ in 0..BATCH {
                    let parts = Parts { name, second: b"" };
                    assert_eq!(producer.push(&descriptor, parts, &payload), Ok(true));
                }
                black_box(producer.must_ring());
                let mut taken = 0;
                while let Ok(Some(record)) = consumer.next_record() {
                    copied.clear();
                    consumer.copy_names(&record, &mut names);
                    consumer.copy_payload(&record, &mut copied);
                    black_box((&names, &copied));
                    taken += 1;
                }
                assert_eq!(taken, BATCH, "every record is there");
                black_box(consumer.release());
            });
        });
    }
    group.finish();
}

fn loan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loan to drop");
    for size in [4 << 10, 1 << 20] {
        let arenas = Arenas::new();
        let (length, kind) = arenas.wanted(size, usize::MAX);
        arenas.add(1, OwnSegment::on_heap(length).0, kind);
        // Something else is out, so that pieces are split and merged.
        let _other = arenas.loan(100);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| black_box(arenas.loan(size).map(Loan::freeze)));
        });
    }
    group.finish();
}

fn returns(criterion: &mut Criterion) {
    let memory = HeapMemory::new(LAYOUT.total());
    let returns = Returns::new(memory.clone(), LAYOUT);
    let mut reader = ReturnReader::new(memory, LAYOUT);
    let mut slots = Slots::new(BATCH);
    criterion.bench_function("slot out and back", |bencher| {
        bencher.iter(|| {
            for number in 0..BATCH {
                let slot = slots.put(number).unwrap_or_else(|_| panic!("a slot is free"));
                returns.push(slot.0, slot.1);
            }
            while let Ok(Some((slot, generation))) = reader.next_returned() {
                black_box(slots.take(slot, generation)).ok();
            }
        });
    });
}

criterion_group!(benches, ring, loan, returns);
criterion_main!(benches);

//! Everything that is taken arrives, in order and unharmed.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use busway_net::link::{Batch, Body, Chunk, Outbox, OutboxLimits, Refused, Socket, Touch};
use bytes::Bytes;

use super::support::{FakeObject, Random, connected, watched};

/// A frame of several parts: some copied, some by reference, some of them empty.
struct Mixed {
    parts: Vec<(Kind, Vec<u8>)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Inline,
    Shared,
    Object,
}

impl Mixed {
    fn new(random: &mut Random) -> Self {
        let parts = (0..=random.below(4)).map(|_| {
            let (kind, most) = match random.below(10) {
                0..6 => (Kind::Inline, 300),
                6 => (Kind::Inline, 5000),
                7 | 8 => (Kind::Shared, 100_000),
                _ => (Kind::Object, 100_000),
            };
            let length = if random.below(8) == 0 { 0 } else { random.below(most) };
            let seed = random.next();
            (kind, (0..length as u64).map(|at| (seed.wrapping_add(at * 31) >> 3).to_le_bytes()[0]).collect())
        });
        let mut parts: Vec<_> = parts.collect();
        parts.push((Kind::Inline, vec![b'.']));
        Self { parts }
    }

    fn write(&self, batch: &mut Batch) {
        for (kind, bytes) in &self.parts {
            match kind {
                Kind::Inline => batch.inline().extend_from_slice(bytes),
                Kind::Shared => batch.push_body(Body::Bytes(Bytes::copy_from_slice(bytes))),
                Kind::Object => batch.push_body(Body::Object(Arc::new(FakeObject::new(bytes.clone())))),
            }
        }
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.parts.iter().flat_map(|(_, bytes)| bytes.iter().copied())
    }
}

/// Reads `expected` in bites of random size, with pauses.
async fn read_slowly(socket: &Socket, expected: &[u8], random: &mut Random) {
    let mut at = 0;
    while at < expected.len() {
        let mut readiness = socket.readable().await.expect("the runtime goes on");
        loop {
            let mut bite = Vec::with_capacity(1 + random.below(200_000));
            match readiness.read(&mut bite).expect("the connection holds") {
                Chunk::Full(count) | Chunk::Last(count) => {
                    assert_eq!(count, bite.len());
                    assert!(bite == expected[at..at + count], "other bytes after {at}");
                    at += count;
                }
                Chunk::Empty => break,
                Chunk::End => panic!("the end after {at} bytes"),
            }
            if random.below(20) == 0 {
                tokio::time::sleep(Duration::from_micros(random.next() % 2000)).await;
            }
            if at == expected.len() {
                return;
            }
        }
    }
}

async fn mixed_frames_arrive(limits: OutboxLimits, count: u32, seed: u64) {
    let (outbox, peer) = connected(limits);
    let mut random = Random(seed);
    let frames: Vec<_> = (0..count).map(|_| Mixed::new(&mut random)).collect();
    let expected: Vec<u8> = frames.iter().flat_map(Mixed::bytes).collect();
    let total = expected.len() as u64;
    let reader = tokio::spawn(async move { read_slowly(&peer, &expected, &mut Random(seed + 1)).await });
    for frame in &frames {
        let taken = poll_fn(|context| outbox.poll_offer(context, |batch| frame.write(batch))).await;
        let (touch, _) = taken.expect("there is a connection");
        // At times several frames go out at once.
        if touch == Touch::First && random.below(3) == 0 || outbox.is_half_full() {
            outbox.flush();
        }
    }
    outbox.flush();
    poll_fn(|context| outbox.poll_empty(context)).await;
    reader.await.expect("the reader saw what was sent");
    let level = outbox.level();
    assert_eq!((level.frames, level.bytes), (0, 0));
    assert_eq!((level.taken_frames, level.taken_bytes), (u64::from(count), total));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_frames_arrive_at_a_slow_reader() {
    for seed in [1, 77, 4242] {
        let limits = OutboxLimits { frames: 64, bytes: 1 << 20 };
        watched("every frame", mixed_frames_arrive(limits, 500, seed)).await;
    }
}

#[tokio::test]
async fn mixed_frames_arrive_through_a_tiny_outbox_on_one_thread() {
    watched("every frame", mixed_frames_arrive(OutboxLimits { frames: 2, bytes: 1000 }, 200, 9)).await;
    watched("every frame", mixed_frames_arrive(OutboxLimits { frames: 1, bytes: 1 }, 200, 10)).await;
}

/// Header of a frame that says whose it is: thread, sequence number, length.
const HEAD: usize = 12;

/// What the body of a frame consists of.
fn filling(thread: u32, number: u32) -> u8 {
    (thread ^ number).to_le_bytes()[0]
}

fn numbered(thread: u32, number: u32, random: &mut Random) -> (Vec<u8>, Option<Vec<u8>>) {
    let body = match random.below(20) {
        0 => vec![filling(thread, number); 5000 + random.below(60_000)],
        _ => vec![filling(thread, number); random.below(100)],
    };
    let length = u32::try_from(body.len()).expect("short");
    let head = [thread.to_le_bytes(), number.to_le_bytes(), length.to_le_bytes()].concat();
    if body.len() < 4096 { ([head, body].concat(), None) } else { (head, Some(body)) }
}

fn offer_from_thread(outbox: &Arc<Outbox>, thread: u32, count: u32) {
    let mut random = Random(u64::from(thread) + 11);
    let mut token = (u64::from(thread) + 1) << 32;
    for number in 0..count {
        let (head, body) = numbered(thread, number, &mut random);
        let is_object = random.below(2) == 0;
        loop {
            let offered = outbox.offer(token, |batch| {
                batch.inline().extend_from_slice(&head);
                if let Some(body) = body.clone() {
                    batch.push_body(if is_object {
                        Body::Object(Arc::new(FakeObject::new(body)))
                    } else {
                        Body::Bytes(body.into())
                    });
                }
            });
            match offered {
                Ok(_) => break,
                Err(Refused::Full) => {
                    outbox.flush();
                    std::thread::yield_now();
                }
                Err(Refused::Closed | Refused::Switched) => panic!("there is a connection"),
            }
        }
        if random.below(5) == 0 {
            outbox.flush();
            token += 1;
        }
    }
    outbox.flush();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_threads_without_a_runtime_keep_their_own_order() {
    const COUNT: u32 = 4000;
    let (outbox, peer) = connected(OutboxLimits { frames: 100, bytes: 300_000 });
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let outbox = Arc::clone(&outbox);
            std::thread::spawn(move || offer_from_thread(&outbox, thread, COUNT))
        })
        .collect();
    let mut next = [0_u32; 4];
    let mut random = Random(3);
    let mut stream = Vec::new();
    watched("every frame of every thread", async {
        while next != [COUNT; 4] {
            let mut readiness = peer.readable().await.expect("the runtime goes on");
            stream.reserve(1 + random.below(200_000));
            while readiness.read(&mut stream).is_ok_and(|chunk| matches!(chunk, Chunk::Full(_))) {
                stream.reserve(1 + random.below(200_000));
            }
            let mut at = 0;
            while let Some(head) = stream[at..].first_chunk::<HEAD>() {
                let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
                let (thread, number, length) = (word(0), word(4), word(8) as usize);
                let Some(body) = stream.get(at + HEAD..at + HEAD + length) else { break };
                let expected = &mut next[thread as usize];
                assert_eq!(number, *expected, "the order of thread {thread}");
                *expected += 1;
                assert!(body.iter().all(|byte| *byte == filling(thread, number)), "thread {thread}, {number}");
                at += HEAD + length;
            }
            stream.drain(..at);
        }
    })
    .await;
    assert!(stream.is_empty(), "and nothing else");
    for thread in threads {
        thread.join().expect("every frame was taken");
    }
    assert_eq!(outbox.level().taken_frames, 4 * u64::from(COUNT));
}

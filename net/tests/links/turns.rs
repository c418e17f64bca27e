//! A large payload does not keep others waiting that are served by the same thread.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use busway_net::link::{Body, BodyObject, Chunk, OutboxLimits, Socket};

use super::support::{connected, offer, read_exactly, watched};

const LARGE: usize = 8 << 20;

/// Takes all that it is to write, and remembers how much that was and what others had done before.
struct Greedy {
    others: Arc<AtomicU64>,
    calls: Mutex<Vec<(Range<usize>, u64)>>,
}

impl BodyObject for Greedy {
    fn len(&self) -> usize {
        LARGE
    }

    fn write_to(&self, _: BorrowedFd<'_>, heads: &[IoSlice<'_>], range: Range<usize>) -> io::Result<usize> {
        assert!(heads.is_empty(), "nothing is before it");
        self.calls.lock().expect("no panic").push((range.clone(), self.others.load(Ordering::Relaxed)));
        Ok(range.len())
    }
}

#[tokio::test]
async fn others_have_their_turn_while_a_large_payload_is_written() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let others = Arc::new(AtomicU64::new(0));
    let other = tokio::spawn({
        let others = Arc::clone(&others);
        async move {
            loop {
                others.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    let greedy = Arc::new(Greedy { others, calls: Mutex::default() });
    outbox.offer(1, |batch| batch.push_body(Body::Object(Arc::clone(&greedy) as _))).expect("there is room");
    offer(&outbox, b"behind it");
    outbox.flush();
    assert_eq!(watched("what is behind it", read_exactly(&peer, 9)).await, b"behind it");
    other.abort();
    let calls = std::mem::take(&mut *greedy.calls.lock().expect("no panic"));
    let mut position = 0;
    for (range, _) in &calls {
        assert_eq!(range.start, position, "in order, and nothing twice");
        assert!(range.len() <= 512 << 10, "{range:?}");
        position = range.end;
    }
    assert_eq!(position, LARGE);
    // Whoever yields at the same time may come before or after.
    let have_had = calls.windows(3).all(|calls| calls[0].1 < calls[2].1);
    assert!(have_had, "others have had their turn: {calls:?}");
}

#[tokio::test]
async fn one_call_reads_no_more_than_a_turn() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let bytes: Vec<u8> = (0..LARGE).map(|position| position.to_le_bytes()[1]).collect();
    outbox.offer(1, |batch| batch.push_body(Body::Bytes(bytes.clone().into()))).expect("there is room");
    outbox.flush();
    let mut room = Vec::with_capacity(LARGE + 1);
    while room.len() < LARGE {
        let mut readiness = watched("more of it", peer.readable()).await.expect("the runtime goes on");
        // As much as the socket holds has come by then.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        match readiness.read(&mut room).expect("the connection holds") {
            Chunk::Full(count) | Chunk::Last(count) => assert!(count <= 256 << 10, "{count} bytes at once"),
            Chunk::Empty => {}
            Chunk::End => panic!("the end after {} bytes", room.len()),
        }
    }
    assert!(room == bytes, "as they were sent");
}

#[tokio::test]
async fn the_end_is_told_wherever_there_is_room_for_much() {
    let (ours, theirs) = Socket::pair().expect("a pair of sockets");
    ours.try_write(&[IoSlice::new(b"last")]).expect("there is room");
    ours.finish_writing();
    let mut room = Vec::with_capacity(LARGE);
    let mut chunks = Vec::new();
    let mut readiness = theirs.readable().await.expect("there is something");
    while chunks.last() != Some(&Chunk::End) {
        chunks.push(readiness.read(&mut room).expect("the connection holds"));
    }
    assert_eq!((chunks, &*room), (vec![Chunk::Full(4), Chunk::End], &b"last"[..]));
}

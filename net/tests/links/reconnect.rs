//! An outbox that outlives its connections.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use busway_net::link::{Body, BodyObject, Outbox, OutboxLimits, Socket};
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::support::{Random, connected, eventually, offer, read_exactly, read_to_end, reconnected, watched};

const LARGE: usize = 8 << 20;

fn offer_large(outbox: &Outbox) {
    outbox.offer(1, |batch| batch.push_body(Body::Bytes(vec![9; LARGE].into()))).expect("there is room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_connection_gets_nothing_of_the_old_one_s_and_all_of_its_own() {
    let (outbox, mut peer) = connected(OutboxLimits::default());
    for round in 0..50_u8 {
        offer(&outbox, &[round]);
        offer_large(&outbox);
        // A task now waits for room in the old connection.
        outbox.flush();
        outbox.close();
        let old = std::mem::replace(&mut peer, reconnected(&outbox, round % 2 == 0));
        offer(&outbox, &[round, 1, 2, 3]);
        outbox.flush();
        outbox.uncork();
        outbox.flush();
        assert_eq!(watched("the new bytes", read_exactly(&peer, 4)).await, [round, 1, 2, 3]);
        let rest = watched("the old end", read_to_end(&old, LARGE)).await;
        // Nothing, if somebody was about to see that all of the round before was written.
        assert!(rest.len() < LARGE && rest.first().is_none_or(|first| *first == round));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_may_block_again_after_it_was_replaced_while_blocked() {
    let (outbox, old) = connected(OutboxLimits { frames: 4, bytes: usize::MAX });
    offer_large(&outbox);
    outbox.flush();
    outbox.close();
    let peer = reconnected(&outbox, false);
    offer_large(&outbox);
    outbox.flush();
    offer(&outbox, b"behind");
    outbox.flush();
    let read = watched("every byte", read_exactly(&peer, LARGE + 6)).await;
    assert_eq!(read[LARGE..], *b"behind");
    assert!(watched("the old end", read_to_end(&old, LARGE)).await.len() < LARGE);
}

/// Does something while it is written: the outbox is not locked then, and somebody is writing.
struct Meanwhile<F>(Mutex<Option<F>>);

impl<F: FnOnce() + Send> BodyObject for Meanwhile<F> {
    fn len(&self) -> usize {
        1
    }

    fn write_to(&self, socket: BorrowedFd<'_>, heads: &[IoSlice<'_>], _: Range<usize>) -> io::Result<usize> {
        if !heads.is_empty() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            return Ok(rustix::net::sendmsg(socket, heads, &mut SendAncillaryBuffer::default(), flags)?);
        }
        if let Some(act) = self.0.lock().expect("no panic").take() {
            act();
        }
        Ok(1)
    }
}

/// Where the peer's end of the new connection is found once the old one is replaced.
type NewPeer = Arc<Mutex<Option<Arc<Socket>>>>;

/// A body whose writer finds, when it comes back from its system call, that the connection was replaced and that the
/// new one was flushed.
fn replacing(outbox: &Arc<Outbox>, corked: bool) -> (Body, NewPeer) {
    let peer = NewPeer::default();
    let act = {
        let (outbox, peer) = (Arc::clone(outbox), Arc::clone(&peer));
        move || {
            outbox.close();
            *peer.lock().expect("no panic") = Some(reconnected(&outbox, corked));
            offer(&outbox, b"new");
            // Somebody is writing: the frame is left to that party, or two would write at once.
            outbox.flush();
            assert_eq!(outbox.level().frames, 1);
        }
    };
    (Body::Object(Arc::new(Meanwhile(Mutex::new(Some(act))))), peer)
}

/// Replaces the connection while `flush` writes.
fn replace_amid(corked: bool, flush: impl FnOnce(&Arc<Outbox>)) -> (Arc<Outbox>, Arc<Socket>) {
    let (outbox, _old) = connected(OutboxLimits::default());
    let (body, peer) = replacing(&outbox, corked);
    outbox.offer(1, |batch| batch.push_body(body)).expect("there is room");
    flush(&outbox);
    let peer = peer.lock().expect("no panic").take().expect("the connection was replaced");
    (outbox, peer)
}

#[tokio::test]
async fn a_writer_that_finds_its_connection_replaced_writes_for_the_new_one() {
    let (_outbox, peer) = replace_amid(false, Outbox::flush);
    assert_eq!(watched("the new frame", read_exactly(&peer, 3)).await, b"new");
}

#[tokio::test]
async fn a_blocking_flush_that_finds_its_connection_replaced_writes_for_the_new_one() {
    let (_outbox, peer) = replace_amid(false, |outbox| assert!(outbox.flush_blocking(Duration::from_secs(50))));
    assert_eq!(watched("the new frame", read_exactly(&peer, 3)).await, b"new");
}

#[tokio::test]
async fn a_task_that_waited_for_room_and_finds_its_connection_replaced_writes_for_the_new_one() {
    let (outbox, old) = connected(OutboxLimits::default());
    offer_large(&outbox);
    let (body, peer) = replacing(&outbox, false);
    outbox.offer(1, |batch| batch.push_body(body)).expect("there is room");
    outbox.flush();
    assert!(peer.lock().expect("no panic").is_none(), "the socket takes no more");
    assert_eq!(watched("the old bytes", read_to_end(&old, LARGE)).await.len(), LARGE);
    let peer = peer.lock().expect("no panic").take().expect("the connection was replaced");
    assert_eq!(watched("the new frame", read_exactly(&peer, 3)).await, b"new");
}

#[tokio::test]
async fn a_writer_that_finds_its_connection_replaced_by_a_corked_one_leaves_it_alone() {
    let (outbox, peer) = replace_amid(true, Outbox::flush);
    assert_eq!(outbox.level().frames, 1, "it waits for the end of the handshake");
    outbox.uncork();
    outbox.flush();
    assert_eq!(watched("the new frame", read_exactly(&peer, 3)).await, b"new");
}

#[tokio::test]
async fn a_writer_that_finds_its_connection_gone_leaves_nothing_behind() {
    let (outbox, _peer) = connected(OutboxLimits::default());
    let closer = Arc::clone(&outbox);
    let act = move || assert_eq!(closer.close().frames, 2);
    let body = Body::Object(Arc::new(Meanwhile(Mutex::new(Some(act)))));
    outbox.offer(1, |batch| batch.push_body(body)).expect("there is room");
    offer(&outbox, b"more");
    outbox.flush();
    assert_eq!((outbox.level().frames, outbox.level().bytes), (0, 0));
}

#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn who_waited_before_a_reconnection_is_woken_by_it() {
    let (outbox, _peer) = connected(OutboxLimits::default());
    offer_large(&outbox);
    outbox.flush();
    let waiter = Arc::new(CountingWaker::default());
    let waker = Waker::from(Arc::clone(&waiter));
    assert!(outbox.poll_empty(&mut Context::from_waker(&waker)).is_pending());
    // Without a `close` in between.
    let _new = reconnected(&outbox, false);
    assert_eq!(waiter.0.load(Ordering::SeqCst), 1);
    watched("it is empty", poll_fn(|context| outbox.poll_empty(context))).await;
}

/// Looks at the outbox when it is let go.
struct LastLook(Arc<Outbox>);

impl BodyObject for LastLook {
    fn len(&self) -> usize {
        1
    }

    fn write_to(&self, _: BorrowedFd<'_>, _: &[IoSlice<'_>], _: Range<usize>) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Drop for LastLook {
    fn drop(&mut self) {
        let _ = self.0.level();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_let_go_without_the_lock() {
    for with_close in [false, true] {
        let (outbox, _peer) = connected(OutboxLimits::default());
        for is_flushed in [true, false] {
            let body = Body::Object(Arc::new(LastLook(Arc::clone(&outbox))));
            outbox.offer(1, |batch| batch.push_body(body)).expect("there is room");
            if is_flushed {
                outbox.flush();
            }
        }
        let (ours, _theirs) = Socket::pair().expect("a pair of sockets");
        let ours = Arc::new(ours);
        let attaching = std::thread::spawn(move || {
            if with_close {
                outbox.close();
            }
            outbox.attach(ours, b"", false);
        });
        eventually("the reconnection", || attaching.is_finished());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_come_and_go_under_four_flushing_threads_lose_no_flush() {
    let (outbox, mut peer) = connected(OutboxLimits { frames: 64, bytes: 4 << 20 });
    let stop = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let (outbox, stop) = (Arc::clone(&outbox), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut random = Random(thread + 5);
                while stop.load(Ordering::Relaxed) == 0 {
                    let length = 100 + random.below(300_000);
                    let _ = outbox.offer(thread << 32, |batch| batch.push_body(Body::Bytes(vec![9; length].into())));
                    outbox.flush();
                }
            })
        })
        .collect();
    let mut random = Random(1);
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_micros(random.next() % 1500)).await;
        outbox.close();
        peer = reconnected(&outbox, random.below(2) == 0);
        outbox.uncork();
        outbox.flush();
        if random.below(2) == 0 {
            watched("bytes of the new connection", read_exactly(&peer, 100)).await;
        }
    }
    stop.store(1, Ordering::Relaxed);
    // Threads end only once nobody holds the lock or spins.
    for thread in threads {
        eventually("the end of a thread", || thread.is_finished());
    }
    // What was taken for the last connection goes out without another flush.
    let left = watched("an empty outbox", async {
        let drained = poll_fn(|context| outbox.poll_empty(context));
        let mut drained = std::pin::pin!(drained);
        let mut count = 0;
        let mut room = Vec::with_capacity(1 << 20);
        loop {
            tokio::select! {
                () = &mut drained => break count,
                readiness = peer.readable() => {
                    room.clear();
                    let _ = readiness.expect("the runtime goes on").read(&mut room).expect("the connection holds");
                    count += room.len();
                }
            }
        }
    });
    left.await;
    assert_eq!((outbox.level().frames, outbox.level().bytes), (0, 0));
}

//! Limits, waiting, corks and ends of an outbox.

use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use busway_net::link::{Batch, Body, Chunk, Outbox, OutboxLimits, Refused, Socket, Touch};
use tokio::runtime::Handle;

use super::support::{connected, offer, read_exactly, read_to_end, reconnected, watched};

/// More than any socket takes.
const LARGE: usize = 8 << 20;

/// Puts so much before the peer that the outbox is blocked.
fn block(outbox: &Arc<Outbox>) {
    outbox.offer(9, |batch| batch.push_body(Body::Bytes(vec![0; LARGE].into()))).expect("there is room");
    outbox.flush();
    assert!(outbox.level().bytes > 0, "the socket took all of it");
}

fn try_offer(outbox: &Outbox, length: usize) -> Result<Touch, Refused> {
    outbox.offer(1, |batch| batch.inline().extend(std::iter::repeat_n(1, length)))
}

#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn an_outbox_without_a_connection_takes_nothing() {
    let outbox = Arc::new(Outbox::new(OutboxLimits::default(), Handle::current()));
    assert_eq!(try_offer(&outbox, 1), Err(Refused::Closed));
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(outbox.poll_offer(&mut context, |_| panic!("it is not called")), Poll::Ready(Err(Refused::Closed)));
    assert!(outbox.poll_empty(&mut context).is_ready());
    assert!(outbox.poll_half_empty(&mut context).is_ready());
    assert!(!outbox.flush_blocking(Duration::from_secs(1)));
    outbox.flush();
}

#[tokio::test]
async fn it_is_full_at_its_frames() {
    let (outbox, peer) = connected(OutboxLimits { frames: 3, bytes: usize::MAX });
    for _ in 0..3 {
        assert!(try_offer(&outbox, 1).is_ok());
    }
    assert_eq!(outbox.offer(1, |_| panic!("it is not called")), Err(Refused::Full));
    assert_eq!((outbox.level().frames, outbox.level().bytes), (3, 3));
    outbox.flush();
    assert!(try_offer(&outbox, 1).is_ok(), "what is written makes room");
    assert_eq!(read_exactly(&peer, 3).await, [1; 3]);
}

#[tokio::test]
async fn it_is_full_at_its_bytes_and_one_frame_may_overshoot() {
    let (outbox, _peer) = connected(OutboxLimits { frames: 100, bytes: 10 });
    assert!(try_offer(&outbox, 9).is_ok());
    assert!(try_offer(&outbox, 1000).is_ok(), "it was below its limit before");
    assert_eq!(try_offer(&outbox, 1), Err(Refused::Full));
    assert_eq!(outbox.level().bytes, 1009);
}

#[tokio::test]
async fn the_body_whose_turn_comes_next_does_not_make_it_full() {
    let limits = OutboxLimits { frames: 100, bytes: 1000 };
    let large = |outbox: &Outbox| outbox.offer(1, |batch| batch.push_body(Body::Bytes(vec![0; LARGE].into())));
    let (outbox, peer) = connected(limits);
    assert!(try_offer(&outbox, 1).is_ok() && large(&outbox).is_ok());
    assert!(try_offer(&outbox, 500).is_ok(), "nothing of it is written");
    outbox.flush();
    assert!(outbox.level().bytes > limits.bytes, "the socket took all of it");
    assert!(try_offer(&outbox, 500).is_ok(), "it is being written");
    assert_eq!(try_offer(&outbox, 1), Err(Refused::Full), "what stands behind it counts");
    assert_eq!(read_exactly(&peer, LARGE + 1001).await.len(), LARGE + 1001);
    // One at a time.
    assert!(large(&outbox).is_ok() && large(&outbox).is_ok());
    assert_eq!(try_offer(&outbox, 1), Err(Refused::Full));
}

#[tokio::test]
async fn an_empty_outbox_takes_any_frame() {
    for limits in [OutboxLimits { frames: 1, bytes: 1 }, OutboxLimits { frames: 0, bytes: 0 }] {
        let (outbox, peer) = connected(limits);
        for _ in 0..3 {
            assert!(try_offer(&outbox, 5000).is_ok());
            assert_eq!(try_offer(&outbox, 1), Err(Refused::Full));
            outbox.flush();
            assert_eq!(read_exactly(&peer, 5000).await.len(), 5000);
        }
    }
}

#[tokio::test]
async fn what_a_peer_has_not_read_counts_until_the_socket_took_it() {
    let (outbox, peer) = connected(OutboxLimits { frames: 4, bytes: usize::MAX });
    block(&outbox);
    for _ in 0..3 {
        assert!(try_offer(&outbox, 1).is_ok());
    }
    assert_eq!(try_offer(&outbox, 1), Err(Refused::Full), "the one on its way counts");
    assert_eq!(watched("every byte", read_exactly(&peer, LARGE + 3)).await.len(), LARGE + 3);
    watched("the outbox is empty", poll_fn(|context| outbox.poll_empty(context))).await;
    assert_eq!((outbox.level().frames, outbox.level().bytes), (0, 0));
}

#[tokio::test]
async fn the_first_frame_of_a_batch_says_so() {
    let (outbox, _peer) = connected(OutboxLimits::default());
    let touch = |token| outbox.offer(token, |batch| batch.inline().push(0)).expect("there is room");
    assert_eq!(touch(0), Touch::First, "zero is a token like any other");
    assert_eq!(touch(0), Touch::Again);
    assert_eq!(touch(7), Touch::First);
    assert_eq!(touch(7), Touch::Again);
    outbox.flush();
    assert_eq!(touch(7), Touch::Again);
    assert_eq!(touch(8), Touch::First);
    reconnected(&outbox, false);
    assert_eq!(touch(8), Touch::First, "a new connection has been flushed by nobody");
}

#[tokio::test]
async fn much_of_one_batch_is_due_as_long_as_it_can_be_written() {
    const DUE: usize = 64 << 10;
    let (outbox, peer) = connected(OutboxLimits::default());
    let touch = |token, length| {
        outbox.offer(token, |batch| batch.inline().extend(std::iter::repeat_n(1, length))).expect("there is room")
    };
    assert_eq!(touch(1, DUE), Touch::First, "who is flushed at the end is remembered first");
    assert_eq!(touch(1, 1), Touch::Due);
    let run = [|batch: &mut Batch| batch.inline().push(1)];
    assert_eq!(outbox.offer_run(1, run), Ok((1, Touch::Due)));
    outbox.flush();
    assert_eq!(read_exactly(&peer, DUE + 2).await, vec![1; DUE + 2]);
    assert_eq!((touch(1, DUE - 2), touch(1, 1), touch(1, 1)), (Touch::Again, Touch::Again, Touch::Due));
    outbox.flush();
    block(&outbox);
    assert_eq!((touch(2, DUE), touch(2, DUE)), (Touch::First, Touch::Again), "what is blocked is written by others");
}

#[tokio::test]
async fn whoever_waits_for_room_is_woken_at_half() {
    let (outbox, peer) = connected(OutboxLimits { frames: 1000, bytes: 4 << 20 });
    block(&outbox);
    let waiting = Arc::clone(&outbox);
    let mut polls = 0;
    // A task of its own, which is polled when it is woken and at no other time.
    let offered = tokio::spawn(poll_fn(move |context| {
        polls += 1;
        assert_eq!(waiting.is_half_full(), polls == 1, "woken at half and not before");
        waiting.poll_offer(context, |batch| batch.inline().push(1))
    }));
    let mut left = LARGE;
    while left > 0 {
        left -= watched("bytes", read_exactly(&peer, left.min(100_000))).await.len();
        tokio::task::yield_now().await;
    }
    let offered = watched("room", offered).await.expect("woken in time");
    assert!(offered.is_ok_and(|(_, bytes)| bytes >= 1));
    outbox.flush();
    assert_eq!(watched("the frame", read_exactly(&peer, 1)).await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_that_wait_for_room_all_get_it() {
    let (outbox, peer) = connected(OutboxLimits { frames: 2, bytes: 1000 });
    block(&outbox);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let outbox = Arc::clone(&outbox);
            tokio::spawn(async move {
                for _ in 0..20 {
                    let write = |batch: &mut busway_net::link::Batch| batch.inline().extend_from_slice(&[1; 100]);
                    poll_fn(|context| outbox.poll_offer(context, write)).await.expect("there is a connection");
                    outbox.flush();
                }
            })
        })
        .collect();
    let count = LARGE + 50 * 20 * 100;
    assert_eq!(watched("every byte", read_exactly(&peer, count)).await.len(), count);
    for task in tasks {
        watched("a task", task).await.expect("it had its turn");
    }
}

#[tokio::test]
async fn waiting_for_half_and_for_nothing_end_when_they_should() {
    let (outbox, peer) = connected(OutboxLimits { frames: 100, bytes: 2 << 20 });
    block(&outbox);
    let half = poll_fn(|context| outbox.poll_half_empty(context));
    let empty = poll_fn(|context| outbox.poll_empty(context));
    let reader = read_exactly(&peer, LARGE);
    let waits = async {
        half.await;
        assert!(!outbox.is_half_full());
        empty.await;
        assert_eq!(outbox.level().bytes, 0);
    };
    watched("both", async { tokio::join!(waits, reader) }).await;
}

#[tokio::test]
async fn closing_a_blocked_outbox_wakes_everybody_and_tells_what_was_lost() {
    let (outbox, peer) = connected(OutboxLimits { frames: 3, bytes: usize::MAX });
    block(&outbox);
    try_offer(&outbox, 10).expect("there is room");
    try_offer(&outbox, 10).expect("there is room");
    let waiters: Vec<_> = (0..3).map(|_| Arc::new(CountingWaker::default())).collect();
    let wakers: Vec<Waker> = waiters.iter().map(|waiter| Waker::from(Arc::clone(waiter))).collect();
    assert!(outbox.poll_offer(&mut Context::from_waker(&wakers[0]), |_| {}).is_pending());
    assert!(outbox.poll_half_empty(&mut Context::from_waker(&wakers[1])).is_pending());
    assert!(outbox.poll_empty(&mut Context::from_waker(&wakers[2])).is_pending());
    let lost = outbox.close();
    assert_eq!((lost.frames, lost.taken_frames), (3, 3));
    assert!(lost.bytes > 20 && lost.bytes < LARGE + 20);
    assert!(waiters.iter().all(|waiter| waiter.0.load(Ordering::SeqCst) == 1));
    assert_eq!(try_offer(&outbox, 1), Err(Refused::Closed));
    assert_eq!((outbox.level().frames, outbox.level().bytes), (0, 0));
    let read = watched("the end", read_to_end(&peer, LARGE)).await;
    assert_eq!(read.len(), LARGE + 20 - lost.bytes, "what the socket took still arrives");
    outbox.close();
}

#[tokio::test]
async fn closing_ends_the_connection_also_for_whoever_reads_it() {
    let (ours, theirs) = Socket::pair().expect("a pair of sockets");
    let ours = Arc::new(ours);
    let outbox = Arc::new(Outbox::new(OutboxLimits::default(), Handle::current()));
    outbox.attach(Arc::clone(&ours), b"", false);
    let reader = tokio::spawn(async move { read_to_end(&ours, 0).await });
    tokio::task::yield_now().await;
    outbox.close();
    assert_eq!(watched("the end", reader).await.expect("no panic"), b"");
    assert_eq!(watched("the peer's end", read_to_end(&theirs, 0)).await, b"");
}

#[tokio::test]
async fn whoever_waits_is_woken_when_the_peer_is_gone() {
    let (outbox, peer) = connected(OutboxLimits { frames: 2, bytes: usize::MAX });
    block(&outbox);
    try_offer(&outbox, 10).expect("there is room");
    // A broker that waits for its peer to read does not read itself, and so does not see the end.
    let waits = async {
        poll_fn(|context| outbox.poll_half_empty(context)).await;
        poll_fn(|context| outbox.poll_empty(context)).await;
        poll_fn(|context| outbox.poll_offer(context, |_| {})).await
    };
    drop(peer);
    assert_eq!(watched("the end of waiting", waits).await, Err(Refused::Closed));
    assert!(!outbox.flush_blocking(Duration::from_secs(1)));
    assert_eq!(outbox.close().frames, 2, "what was lost is still told");
}

#[tokio::test]
async fn a_broken_connection_is_shut_down_so_that_its_reader_sees_the_end() {
    let (ours, theirs) = Socket::pair().expect("a pair of sockets");
    let ours = Arc::new(ours);
    let outbox = Arc::new(Outbox::new(OutboxLimits::default(), Handle::current()));
    outbox.attach(Arc::clone(&ours), b"", false);
    drop(theirs);
    offer(&outbox, b"nobody reads this");
    outbox.flush();
    assert_eq!(watched("the end", read_to_end(&ours, 0)).await, b"");
    assert_eq!(try_offer(&outbox, 1), Err(Refused::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_thread_may_flush_and_the_runtime_goes_on_where_the_socket_blocks() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let flusher = Arc::clone(&outbox);
    std::thread::spawn(move || block(&flusher)).join().expect("no runtime is needed");
    offer(&outbox, b"behind");
    outbox.flush();
    let read = watched("every byte", read_exactly(&peer, LARGE + 6)).await;
    assert_eq!(read[LARGE..], *b"behind");
}

#[tokio::test]
async fn nothing_is_written_while_corked() {
    let outbox = Arc::new(Outbox::new(OutboxLimits::default(), Handle::current()));
    let (ours, peer) = Socket::pair().expect("a pair of sockets");
    outbox.attach(Arc::new(ours), b"first ", true);
    offer(&outbox, b"then");
    outbox.flush();
    assert!(!outbox.flush_blocking(Duration::from_millis(20)), "not even at the end of patience");
    assert_eq!(outbox.level().frames, 2);
    let mut room = Vec::with_capacity(10);
    let nothing = tokio::time::timeout(Duration::from_millis(20), async {
        loop {
            let mut readiness = peer.readable().await.expect("the runtime goes on");
            assert_eq!(readiness.read(&mut room).expect("a read"), Chunk::Empty);
        }
    });
    assert!(nothing.await.is_err(), "nothing arrived");
    outbox.uncork();
    outbox.flush();
    assert_eq!(watched("both", read_exactly(&peer, 10)).await, b"first then");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_flush_writes_all_that_the_peer_reads() {
    let (outbox, peer) = connected(OutboxLimits::default());
    block(&outbox);
    let flusher = Arc::clone(&outbox);
    let flushed = tokio::task::spawn_blocking(move || flusher.flush_blocking(Duration::from_secs(50)));
    assert_eq!(watched("every byte", read_exactly(&peer, LARGE)).await.len(), LARGE);
    assert!(watched("the flush", flushed).await.expect("no panic"));
    assert!(outbox.flush_blocking(Duration::ZERO), "nothing is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_flush_needs_no_runtime() {
    let (outbox, peer) = connected(OutboxLimits::default());
    offer(&outbox, &vec![3; LARGE]);
    let flusher = Arc::clone(&outbox);
    let thread = std::thread::spawn(move || flusher.flush_blocking(Duration::from_secs(50)));
    assert_eq!(watched("every byte", read_exactly(&peer, LARGE)).await.len(), LARGE);
    assert!(thread.join().expect("no panic"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_blocking_flush_had_no_patience_for_goes_out_all_the_same() {
    for was_blocked in [false, true] {
        let (outbox, peer) = connected(OutboxLimits::default());
        offer(&outbox, &vec![3; LARGE]);
        if was_blocked {
            outbox.flush();
        }
        let flusher = Arc::clone(&outbox);
        let flushed = tokio::task::spawn_blocking(move || flusher.flush_blocking(Duration::from_millis(30)));
        assert!(!flushed.await.expect("no panic"));
        assert_eq!(watched("every byte", read_exactly(&peer, LARGE)).await.len(), LARGE);
    }
}

#[tokio::test]
async fn progress_is_bytes_that_were_written_and_nothing_else() {
    let (outbox, peer) = connected(OutboxLimits::default());
    assert_eq!(outbox.level().progress, 0);
    block(&outbox);
    // What the socket takes goes out in turns.
    let mut stalled = 0;
    while outbox.level().progress != stalled {
        stalled = outbox.level().progress;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    assert!(stalled > 0);
    for _ in 0..3 {
        outbox.flush();
        // It tries the socket, other than `flush`, which leaves a blocked one alone.
        let flusher = Arc::clone(&outbox);
        let flushed = tokio::task::spawn_blocking(move || flusher.flush_blocking(Duration::from_millis(5)));
        assert!(!flushed.await.expect("no panic"));
        tokio::task::yield_now().await;
    }
    assert_eq!(outbox.level().progress, stalled, "the peer has read nothing");
    watched("every byte", read_exactly(&peer, LARGE)).await;
    watched("the outbox is empty", poll_fn(|context| outbox.poll_empty(context))).await;
    assert!(outbox.level().progress > stalled);
}

#[tokio::test]
async fn an_outbox_may_be_dropped_while_its_connection_is_blocked() {
    let (outbox, peer) = connected(OutboxLimits::default());
    block(&outbox);
    drop(outbox);
    // The task that waits for room goes on with what was taken.
    assert_eq!(watched("every byte", read_to_end(&peer, LARGE)).await.len(), LARGE);
}

#[tokio::test]
async fn a_socket_that_is_not_drained_says_would_block() {
    let (one, _other) = Socket::pair().expect("a pair of sockets");
    let bytes = vec![0; LARGE];
    let error = loop {
        if let Err(error) = one.try_write(&[IoSlice::new(&bytes), IoSlice::new(&bytes)]) {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert!(!one.wait_writable(Duration::from_millis(10)));
}

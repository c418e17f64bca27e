//! The last words of a connection.

use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use busway_net::link::{Outbox, OutboxLimits, Refused, Socket};
use tokio::runtime::Handle;

use super::support::{connected, offer, read_exactly, read_to_end, watched};

/// More than any socket takes.
const LARGE: usize = 8 << 20;

#[tokio::test]
async fn the_peer_is_told_of_the_end_behind_the_last_byte_and_may_still_answer() {
    let (ours, theirs) = Socket::pair().expect("a pair of sockets");
    let ours = Arc::new(ours);
    let outbox = Arc::new(Outbox::new(OutboxLimits::default(), Handle::current()));
    outbox.attach(Arc::clone(&ours), b"", false);
    offer(&outbox, &vec![5; LARGE]);
    outbox.flush();
    assert!(outbox.poll_finish(&mut Context::from_waker(Waker::noop())).is_pending(), "there is more to write");
    let finishing = Arc::clone(&outbox);
    let finished = tokio::spawn(async move { poll_fn(|context| finishing.poll_finish(context)).await });
    assert_eq!(watched("every byte and the end", read_to_end(&theirs, LARGE)).await.len(), LARGE);
    assert!(watched("the end of writing", finished).await.expect("no panic"));
    assert_eq!(outbox.offer(1, |_| panic!("it is not called")), Err(Refused::Closed));
    theirs.try_write(&[IoSlice::new(b"answer")]).expect("the other direction is open");
    assert_eq!(watched("the answer", read_exactly(&ours, 6)).await, b"answer");
}

#[tokio::test]
async fn who_waits_for_all_to_be_written_is_told_when_it_is_lost() {
    let (outbox, peer) = connected(OutboxLimits::default());
    offer(&outbox, b"little");
    outbox.flush();
    assert_eq!(outbox.poll_written(&mut Context::from_waker(Waker::noop())), Poll::Ready(true));
    offer(&outbox, &vec![5; LARGE]);
    outbox.flush();
    let waiting = Arc::clone(&outbox);
    let written = tokio::spawn(async move { poll_fn(|context| waiting.poll_written(context)).await });
    tokio::task::yield_now().await;
    drop(peer);
    assert!(!watched("the loss", written).await.expect("no panic"));
    assert!(!watched("the loss", poll_fn(|context| outbox.poll_finish(context))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_may_wait_for_the_peer_to_close_and_gives_up_in_time() {
    for closes in [true, false] {
        let (outbox, peer) = connected(OutboxLimits::default());
        offer(&outbox, &vec![5; LARGE]);
        let linger = if closes { Duration::from_secs(50) } else { Duration::from_millis(20) };
        let finished = tokio::task::spawn_blocking(move || outbox.finish_blocking(Duration::from_secs(50), linger));
        assert_eq!(watched("every byte and the end", read_to_end(&peer, LARGE)).await.len(), LARGE);
        let mut peer = Some(peer);
        if closes {
            assert!(!finished.is_finished(), "it waits for the peer");
            peer.take();
        }
        watched("the thread", finished).await.expect("no panic");
    }
}

#[tokio::test]
async fn a_new_connection_after_a_finished_one_takes_frames_again() {
    let (outbox, _old) = connected(OutboxLimits::default());
    assert!(watched("the end of writing", poll_fn(|context| outbox.poll_finish(context))).await);
    let peer = super::support::reconnected(&outbox, false);
    offer(&outbox, b"again");
    outbox.flush();
    assert_eq!(watched("the frame", read_exactly(&peer, 5)).await, b"again");
}

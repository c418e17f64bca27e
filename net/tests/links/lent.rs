//! Payloads that are lent arrive whole and in order, however little of them is written before they are taken back.

use std::sync::Arc;
use std::time::Duration;

use busway_net::Pool;
use busway_net::link::{LendingPatience, Lent, Outbox, OutboxLimits, Refused};

use super::support::{WATCHDOG, connected, offer, read_exactly, reconnected, watched};

/// Far more than a socket takes at once.
const LARGE: usize = 16 << 20;
/// Nobody waits for the peer.
const NONE: LendingPatience = LendingPatience { in_all: Duration::ZERO, standstill: Duration::ZERO };
/// As long as it takes.
const ENDLESS: LendingPatience = LendingPatience { in_all: WATCHDOG, standstill: WATCHDOG };

fn payload(length: usize) -> Vec<u8> {
    (0..length.div_ceil(8)).flat_map(usize::to_le_bytes).take(length).collect()
}

fn lend(outbox: &Arc<Outbox>, payload: &[u8], patience: LendingPatience) -> Result<Lent, Refused> {
    outbox.offer_lent(payload, |head| head.extend_from_slice(b"head"), patience, &Pool::default())
}

#[tokio::test]
async fn what_the_socket_takes_at_once_is_written_and_not_copied() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let payload = payload(100 << 10);
    assert_eq!(lend(&outbox, &payload, NONE), Ok(Lent::Written));
    assert_eq!(outbox.level().bytes, 0);
    assert_eq!((outbox.level().taken_frames, outbox.level().taken_bytes), (1, 4 + payload.len() as u64));
    let read = watched("the frame", read_exactly(&peer, 4 + payload.len())).await;
    assert!(read == [b"head", &payload[..]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_written_from_where_it_lies_while_the_peer_reads() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let payload = payload(LARGE);
    let read = tokio::spawn(async move { read_exactly(&peer, 4 + LARGE + 6).await });
    assert_eq!(lend(&outbox, &payload, ENDLESS), Ok(Lent::Written));
    assert_eq!(outbox.level().bytes, 0, "nothing was left for later");
    offer(&outbox, b"behind");
    outbox.flush();
    let read = watched("both frames", read).await.expect("no panic");
    assert!(read == [b"head", &payload[..], b"behind"].concat());
}

#[tokio::test]
async fn what_a_peer_does_not_read_is_copied_before_the_payload_is_taken_back() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let mut payload = payload(LARGE);
    let expected = [b"head", &payload[..], b"behind"].concat();
    assert_eq!(lend(&outbox, &payload, NONE), Ok(Lent::Copied));
    payload.fill(0);
    assert!(outbox.level().bytes > 0);
    assert_eq!(lend(&outbox, &payload, NONE), Ok(Lent::Behind), "it would come before what is left");
    offer(&outbox, b"behind");
    outbox.flush();
    assert!(watched("both frames", read_exactly(&peer, expected.len())).await == expected);
    // And then again.
    assert_eq!(lend(&outbox, b"lent", NONE), Ok(Lent::Written));
    assert_eq!(watched("the last frame", read_exactly(&peer, 8)).await, b"headlent");
}

#[tokio::test]
async fn what_waits_stays_before_it() {
    let (outbox, peer) = connected(OutboxLimits::default());
    offer(&outbox, b"before");
    let refused = outbox.offer_lent(b"lent", |_| panic!("it is not taken"), NONE, &Pool::default());
    assert_eq!(refused, Ok(Lent::Behind));
    outbox.flush();
    assert_eq!(lend(&outbox, b"lent", NONE), Ok(Lent::Written));
    assert_eq!(watched("both frames", read_exactly(&peer, 14)).await, b"beforeheadlent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_offered_meanwhile_comes_behind_it() {
    let (outbox, peer) = connected(OutboxLimits::default());
    let payload = payload(LARGE);
    let lender = std::thread::spawn({
        let (outbox, payload) = (Arc::clone(&outbox), payload.clone());
        move || lend(&outbox, &payload, ENDLESS)
    });
    // It has begun, and cannot end before the peer reads.
    super::support::eventually("a beginning", || outbox.level().taken_frames == 1);
    offer(&outbox, b"behind");
    outbox.flush();
    assert_eq!(lend(&outbox, b"lent", NONE), Ok(Lent::Behind));
    assert_eq!((outbox.level().frames, outbox.level().bytes), (2, 4 + LARGE + 6));
    let read = watched("both frames", read_exactly(&peer, 4 + LARGE + 6)).await;
    assert!(read == [b"head", &payload[..], b"behind"].concat());
    assert_eq!(lender.join().expect("no panic"), Ok(Lent::Written));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_connection_ends_it_and_the_next_one_begins_anew() {
    for is_peers in [true, false] {
        let (outbox, peer) = connected(OutboxLimits::default());
        let lender = std::thread::spawn({
            let outbox = Arc::clone(&outbox);
            move || lend(&outbox, &payload(LARGE), ENDLESS)
        });
        super::support::eventually("a beginning", || outbox.level().taken_frames == 1);
        if is_peers {
            drop(peer);
        } else {
            outbox.close();
        }
        assert_eq!(lender.join().expect("no panic"), Err(Refused::Closed));
        assert_eq!(lend(&outbox, b"lent", NONE), Err(Refused::Closed));
        let peer = reconnected(&outbox, false);
        assert_eq!(lend(&outbox, b"lent", NONE), Ok(Lent::Written));
        assert_eq!(watched("a frame", read_exactly(&peer, 8)).await, b"headlent");
    }
}

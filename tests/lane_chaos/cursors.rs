//! Cursors that cannot be: each ends the connection of who wrote it, with the reason logged.

use busway_shm::layout::{EVENT, HEAD, SLOT_TAIL, SPACE_EVENT, TAIL};
use busway_shm::{Ordering, OwnMemory};

use crate::lane_peer::LanePeer;
use crate::place::{Holdings, broker, expect_return_to};
use crate::support::{Request, code};
use crate::witness::Witness;

pub(crate) const BROKEN: &str = "broke the rules of the lane";

/// What a cursor says, of a ring with so many bytes.
type Lie = fn(u64) -> u64;

#[test]
fn a_cursor_that_cannot_be_ends_its_own_connection_alone() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let mut sender = broker.peer("sender.to.the.liars");
    let before = Holdings::of(broker.id());
    let lies: &[(&str, usize, Lie)] = &[
        ("tail.unaligned", TAIL, |_| 64 * 3 + 8),
        ("tail.too.far", TAIL, |ring| ring + 64 * 64),
        ("tail.at.the.end.of.numbers", TAIL, |_| u64::MAX),
        ("tail.at.the.last.granule", TAIL, |_| u64::MAX - 63),
        ("tail.over.zeros", TAIL, |_| 64 * 64),
        ("tail.backwards", TAIL, |_| 0),
        ("head.unaligned", HEAD, |_| 1),
        ("head.too.far", HEAD, |_| 1 << 40),
        ("head.at.the.end.of.numbers", HEAD, |_| u64::MAX),
        ("returns.too.far", SLOT_TAIL, |_| (1 << 16) + 1),
        ("returns.at.the.end.of.numbers", SLOT_TAIL, |_| u64::MAX),
        ("returns.of.what.is.not.out", SLOT_TAIL, |_| 1),
    ];
    for (name, cursor, value) in lies {
        let mut peer = LanePeer::connect(&broker, name);
        // Some way into the ring, so that there is something behind.
        peer.expect_served();
        peer.up.store(*cursor, value(peer.layout.ring as u64), Ordering::Release);
        peer.bell.ring();
        if *cursor == SLOT_TAIL {
            // Returned leases are looked at when a payload in place goes out, and now and then.
            let mut publisher = LanePeer::connect(&broker, "publisher.in.place");
            let arena = publisher.arena(4 << 20);
            crate::descriptors::submit(&mut publisher, &arena, 0, 1, name);
            peer.applicant.expect_closed();
        } else {
            // A ring that is full makes the broker look at this peer's head.
            for _ in 0..600 {
                sender.send(&Request::message(name, [7; 1000]));
            }
            peer.applicant.expect_closed();
        }
        broker.expect_logged(&[name, BROKEN]);
    }
    // Who has sent to the departed remembers them until it sends again.
    assert_eq!(sender.confirm(Request::message("nobody", "")), code::NOT_REGISTERED);
    expect_return_to(&broker, before);
    witness.finish();
}

#[test]
fn an_event_may_be_anything_and_wakes_at_most_its_owner() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    let mut peer = LanePeer::connect(&broker, "eventful");
    for value in [0, 1, 63, 64, 4096, 1 << 40, u64::MAX, u64::MAX - 64] {
        for cursor in [EVENT, SPACE_EVENT] {
            peer.up.store(cursor, value, Ordering::Relaxed);
            peer.bell.ring();
            peer.expect_served();
        }
    }
    drop(peer);
    expect_return_to(&broker, before);
    witness.finish();
}

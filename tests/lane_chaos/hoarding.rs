//! Peers that keep the rules and use up whatever they can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use busway_shm::Descriptor;
use busway_shm::layout::{flag, operation};

use crate::descriptors::submit;
use crate::lane_peer::{LanePeer, message, publication};
use crate::place::{Holdings, broker, expect_return_to, segments, wait_until_gone};
use crate::support::eventually;
use crate::witness::Witness;

/// Far more than anything here needs.
const MUCH: usize = 64 << 20;

fn refused_arena() -> Descriptor {
    Descriptor { operation: operation::ARENA_WANTED, offset: (1u64 << 40).into(), ..Descriptor::default() }
}

/// Each is answered in the peer's ring, which it never reads.
#[test]
fn requests_that_nobody_reads_the_answers_of_cost_the_broker_no_memory() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let mut peer = LanePeer::connect(&broker, "asks.and.asks");
    let before = broker.resident_bytes();
    let mut asked = 0;
    // Without a gap in which the broker could look at anything else, until it has had enough, or has answered what
    // would fill any memory.
    while asked < 3_000_000 && !is_stuck(&peer) {
        if peer.unread() < 96 << 10 {
            for _ in 0..64 {
                peer.write(refused_arena(), [b"", b"", b""], |_| {});
            }
            asked += 64;
            peer.publish();
        }
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < MUCH, "the broker grew by {grown} bytes for {asked} requests");
    witness.finish();
}

/// The broker has not read this peer's ring for a while.
fn is_stuck(peer: &LanePeer) -> bool {
    let unread = peer.unread();
    let started = Instant::now();
    while peer.unread() >= 96 << 10 {
        if peer.unread() == unread && started.elapsed() > Duration::from_millis(500) {
            return true;
        }
    }
    false
}

type Flood = fn(&mut LanePeer, u64);

/// One worker serves everybody; whoever keeps it busy must let go of it.
#[test]
fn a_ring_that_is_never_empty_leaves_others_their_turn() {
    let broker = broker(&["-w", "1"]);
    let witness = Witness::start(&broker);
    let floods: [(&str, Flood); 3] = [
        ("flood.of.requests", |peer, _| peer.write(refused_arena(), [b"", b"", b""], |_| {})),
        ("flood.of.messages", |peer, _| peer.write(message(), [b"nobody", b"", b""], |_| {})),
        ("flood.of.pieces", |peer, number| {
            let total = 16u64 << 20;
            let flags = flag::FRAGMENT | if number % total == total - 1 { 0 } else { flag::MORE };
            let piece = Descriptor { flags, stream: 1.into(), offset: total.into(), ..publication() };
            peer.write(piece, [b"pieces", b"", b"x"], |_| {});
        }),
    ];
    for (name, flood) in floods {
        let mut peer = LanePeer::connect(&broker, name);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let flooder = thread::spawn(move || {
            for number in 0.. {
                while peer.unread() > 96 << 10 && !seen.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                flood(&mut peer, number);
                peer.show();
                if number % 256 == 0 {
                    peer.bell.ring();
                }
                // Its own answers are no reason to stop.
                peer.discard();
            }
        });
        for _ in 0..20 {
            witness.goes_on();
        }
        stop.store(true, Ordering::Relaxed);
        flooder.join().expect("it floods");
        wait_until_gone(&broker, name);
    }
    witness.finish();
}

/// Its socket tells it so, and it is not asked to look.
#[test]
fn who_has_lost_its_name_is_routed_no_more_however_much_it_writes() {
    let broker = broker(&["-w", "1", "--force-register"]);
    let witness = Witness::start(&broker);
    let mut peer = LanePeer::connect(&broker, "flood");
    let flooder = thread::spawn(move || {
        loop {
            let began = Instant::now();
            while peer.unread() > 96 << 10 {
                if began.elapsed() > Duration::from_secs(3) {
                    return;
                }
            }
            peer.write(message(), [b"nobody", b"", b""], |_| {});
            peer.show();
            peer.bell.ring();
            peer.discard();
        }
    });
    witness.goes_on();
    let _newer = LanePeer::connect(&broker, "flood");
    eventually("the older one is read no more", || flooder.is_finished());
    witness.finish();
}

/// An answer without having read the question frees the next question, with its descriptor.
#[test]
fn failures_that_are_reported_unread_pile_up_no_descriptors() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let mut peer = LanePeer::connect(&broker, "fails.blindly");
    // Segments are numbered one after the other; it guesses.
    let first = peer.arena(4096).number;
    let before = Holdings::of(broker.id());
    for guess in first + 1..first + 2000 {
        while peer.unread() > 64 << 10 && !peer.is_over() {
            thread::yield_now();
        }
        if peer.is_over() {
            break;
        }
        peer.want_arena(4096);
        let failed =
            Descriptor { operation: operation::SEGMENT_FAILED, segment: guess.into(), ..Descriptor::default() };
        peer.push(failed, [b"", b"", b""], |_| {});
    }
    witness.goes_on();
    let now = Holdings::of(broker.id());
    assert!(now.descriptors < before.descriptors + 16, "from {before:?} to {now:?}");
    broker.expect_logged(&["fails.blindly", crate::cursors::BROKEN]);
    witness.finish();
}

/// Whoever does not answer introductions must not keep the memory of those who have gone.
#[test]
fn an_introduction_that_is_never_answered_pins_one_segment_at_most() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let mut silent = LanePeer::subscribed(&broker, "never.answers", &["to/all"]);
    let before = segments(broker.id(), "arena").len();
    for number in 0..20 {
        let name = format!("comes.and.goes.{number}");
        let mut publisher = LanePeer::connect(&broker, &name);
        let arena = publisher.arena(4 << 20);
        let in_place = Descriptor {
            flags: flag::IN_PLACE,
            segment: arena.number.into(),
            payload: 4096.into(),
            slot: 0.into(),
            generation: 1.into(),
            ..publication()
        };
        publisher.push(in_place, [b"to/all", b"", b""], |_| {});
        // The copy has arrived, so that nothing but the introduction is left.
        while silent.receive().0.operation != 0x01 {}
        drop(publisher);
    }
    eventually("the arenas of who has gone are gone", || {
        // It lives.
        silent.applicant.write(&[0; 9]);
        segments(broker.id(), "arena").len() <= before + 1
    });
    witness.finish();
}

#[test]
fn arenas_without_end_are_refused_at_the_limit_and_given_back() {
    let broker = broker(&["--shm-client-bytes", "64M"]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    let mut peer = LanePeer::connect(&broker, "greedy");
    let mut arenas = Vec::new();
    for _ in 0..16 {
        arenas.push(peer.arena(4 << 20));
    }
    for _ in 0..100 {
        peer.want_arena(4 << 20);
        peer.await_record(operation::ARENA_REFUSED);
    }
    let witness_has = 2;
    assert_eq!(segments(broker.id(), "arena").len(), 16 + witness_has);
    peer.expect_served();
    drop((peer, arenas));
    expect_return_to(&broker, before);
    witness.finish();
}

/// Whoever drops arenas while an accomplice holds payloads in them must not have more than it may.
#[test]
fn an_arena_that_is_dropped_counts_for_as_long_as_a_payload_in_it_is_held() {
    const ARENA: u64 = 4 << 20;
    let broker = broker(&["--shm-client-bytes", "16M"]);
    let witness = Witness::start(&broker);
    let before = segments(broker.id(), "arena").len();
    let mut holder = LanePeer::connect(&broker, "accomplice");
    let mut dropper = LanePeer::connect(&broker, "dropper");
    let mut generations = vec![0; dropper.layout.slots];
    let mut leases = Vec::new();
    for _ in 0..4 {
        let arena = dropper.arena(ARENA);
        // The first are copies, until the accomplice has mapped the arena.
        loop {
            let (slot, generation) = dropper.free_slot(&mut generations);
            submit(&mut dropper, &arena, slot, generation, "accomplice");
            let (record, _) = holder.delivery();
            if record.flags & flag::IN_PLACE != 0 {
                leases.push((record.slot.get(), record.generation.get()));
                break;
            }
        }
        let (operation, segment) = (operation::ARENA_DROPPED, arena.number.into());
        dropper.push(Descriptor { operation, segment, ..Descriptor::default() }, [b"", b"", b""], |_| {});
    }
    dropper.want_arena(ARENA);
    dropper.await_record(operation::ARENA_REFUSED);
    assert_eq!(segments(broker.id(), "arena").len(), before + 4);

    let (slot, generation) = leases.pop().expect("four are held");
    holder.give_back(slot, generation);
    eventually("the arena is gone", || {
        // It lives.
        holder.applicant.write(&[0; 9]);
        dropper.applicant.write(&[0; 9]);
        segments(broker.id(), "arena").len() == before + 3
    });
    dropper.arena(ARENA);
    witness.finish();
}

#[test]
fn an_arena_that_is_never_taken_over_is_given_back_with_the_connection() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    for round in 0..50 {
        let mut peer = LanePeer::connect(&broker, &format!("leaves.it.{round}"));
        peer.want_arena(256 << 20);
        if round % 2 == 0 {
            let introduction = peer.applicant.segment();
            // Without having allocated it.
            peer.answer(operation::SEGMENT_OK, &introduction);
            peer.await_record(operation::ARENA_REFUSED);
            peer.expect_served();
        }
    }
    expect_return_to(&broker, before);
    witness.finish();
}

/// Payloads that are never given back: the sender goes on, and this receiver gets copies.
#[test]
fn leases_that_are_never_given_back_end_in_copies() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let mut hoarder = LanePeer::connect(&broker, "hoarder");
    let mut sender = LanePeer::connect(&broker, "sender");
    let arena = sender.arena(4 << 20);
    let mut generations = vec![0u32; sender.layout.slots];
    // More than there are slots, so that some have to come back.
    let count = u32::try_from(2 * generations.len()).expect("few");
    let (mut in_place, mut copied) = (0, 0);
    for number in 0..count {
        let slot = sender.free_slot(&mut generations);
        let descriptor = Descriptor {
            flags: flag::IN_PLACE,
            segment: arena.number.into(),
            payload: 2048.into(),
            offset: (u64::from(number % 1000) * 2048).into(),
            slot: slot.0.into(),
            generation: slot.1.into(),
            ..message()
        };
        sender.push(descriptor, [b"hoarder", b"", b""], |_| {});
        let (record, payload) = hoarder.delivery();
        if record.flags & flag::IN_PLACE == 0 {
            assert_eq!(payload.len(), 2048);
            copied += 1;
        } else {
            in_place += 1;
        }
    }
    assert_eq!(in_place, count / 4, "half of the sender's slots");
    assert_eq!(copied, count - in_place);
    witness.finish();
}

/// Ends it also when a witness was disturbed.
struct EndFlood<'a>(&'a AtomicBool);

impl Drop for EndFlood<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_socket_that_is_flooded_with_pings_is_served_in_turn() {
    let broker = broker(&["-w", "1"]);
    let witness = Witness::start(&broker);
    let peer = LanePeer::connect(&broker, "pings");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let pings = vec![0; 9 * 1000];
            let mut writes = 0;
            while !is_over.load(Ordering::Relaxed) {
                peer.applicant.write(&pings);
                writes += 1;
            }
            writes
        });
        let end = EndFlood(&is_over);
        for _ in 0..20 {
            witness.goes_on();
        }
        drop(end);
        assert!(flooding.join().expect("it does not panic") > 0, "there was a flood");
    });
    witness.finish();
}

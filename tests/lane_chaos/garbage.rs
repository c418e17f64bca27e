//! Anything at all in every word that a client may write.

use busway_shm::layout::{EVENT, HEAD, RING, SLOT_TAIL, SPACE_EVENT, TAIL};
use busway_shm::{Ordering, OwnMemory};

use crate::lane_peer::LanePeer;
use crate::place::{Holdings, broker, expect_return_to};
use crate::support::Request;
use crate::witness::Witness;

/// Numbers that look like nothing, the same in each run.
pub(crate) struct Noise(u64);

impl Noise {
    /// `BUSWAY_CHAOS_SEED` shifts all of them.
    pub(crate) fn new(seed: u64) -> Self {
        let shift = std::env::var("BUSWAY_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0u64);
        Self(seed.wrapping_add(shift << 16).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn garbage_in_every_word_harms_nobody_else() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let mut sender = broker.peer("sender.to.the.noisy");
    let before = Holdings::of(broker.id());
    for seed in 0..60 {
        let mut noise = Noise::new(seed);
        let name = format!("noisy.{seed}");
        let mut peer = LanePeer::connect(&broker, &name);
        if seed % 2 == 0 {
            peer.expect_served();
        }
        let words = peer.layout.total() / 8;
        for word in RING / 8..words {
            peer.up.store(word * 8, noise.next(), Ordering::Relaxed);
        }
        // Tails that are plausible reach the records; the rest is judged by itself.
        let tail = if seed % 3 == 0 { noise.next() } else { peer.tail() + noise.next() % 2048 * 64 };
        peer.up.store(EVENT, noise.next(), Ordering::Relaxed);
        peer.up.store(SPACE_EVENT, noise.next(), Ordering::Relaxed);
        peer.up.store(TAIL, tail, Ordering::Release);
        if seed % 5 == 0 {
            peer.up.store(HEAD, noise.next(), Ordering::Release);
            peer.up.store(SLOT_TAIL, noise.next(), Ordering::Release);
        }
        peer.bell.ring();
        sender.send(&Request::message(&name, "more to look at"));
        if tail != peer.tail() {
            peer.applicant.expect_closed();
        }
    }
    expect_return_to(&broker, before);
    witness.finish();
}

/// Words change while they are read: a thread writes, rings and rings again.
#[test]
fn words_that_change_while_they_are_read_harm_nobody_else() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    for seed in 0..20 {
        let mut peer = LanePeer::connect(&broker, &format!("fickle.{seed}"));
        // A ring of records, each good when it is shown and bad a moment later.
        let (up, ring) = (std::sync::Arc::clone(&peer.up), peer.layout.ring);
        let spoiler = std::thread::spawn(move || {
            let mut noise = Noise::new(seed);
            for _ in 0..20_000 {
                let at = RING + usize::try_from(noise.next()).expect("64 bits") % (ring / 8) * 8;
                up.store(at, noise.next(), Ordering::Relaxed);
            }
        });
        for _ in 0..500 {
            if peer.unread() > ring as u64 / 2 {
                break;
            }
            peer.push(crate::lane_peer::message(), [b"nobody", b"", b"a payload that may change"], |_| {});
        }
        spoiler.join().expect("it spoils");
        // Cut or not, it goes.
        drop(peer);
    }
    expect_return_to(&broker, before);
    witness.finish();
}

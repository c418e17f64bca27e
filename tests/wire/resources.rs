//! What clients cost a broker while they are there, they do not cost it when they have gone.

use std::thread;
use std::time::Duration;

use crate::support::{BrokerProcess, Delivery, Request, Setup, WirePeer, eventually, promises};

promises! {
    everywhere {
        a_thousand_clients_that_came_and_went_leave_no_descriptors
        half_handshakes_leave_no_descriptors
        cut_clients_leave_no_descriptors
    }
    busway_only {
        "the allocator of the reference keeps more than that under load": a_thousand_clients_that_came_and_went_leave_no_memory
    }
}

/// A thousand clients, a hundred at a time. Each gets a subscription and a broadcast before all of them leave; the next
/// hundred come when the broker has closed the last descriptor of these. Returns what the broker has grown by since the
/// second hundred: the first pays for what is made once.
fn a_thousand_visitors(broker: &BrokerProcess) -> usize {
    let mut speaker = broker.peer("speaker");
    let resting = settled_descriptors(broker);
    let mut before = 0;
    for round in 0..10 {
        let mut peers: Vec<WirePeer> = (0..100).map(|number| broker.peer(&format!("crowd.{round}.{number}"))).collect();
        for peer in &mut peers {
            peer.perform(Request::subscribe(&["light/#", "dark/+"]));
        }
        speaker.perform(Request::broadcast("crowd.*", "welcome, and farewell"));
        for peer in &mut peers {
            peer.expect(&Delivery::broadcast("welcome, and farewell").from("speaker"));
        }
        drop(peers);
        eventually("all descriptors are closed", || broker.descriptors() <= resting);
        if round == 1 {
            before = broker.resident_bytes();
        }
    }
    broker.expect_service();
    broker.resident_bytes().saturating_sub(before)
}

fn a_thousand_clients_that_came_and_went_leave_no_descriptors(setup: &Setup) {
    a_thousand_visitors(&setup.start());
}

fn a_thousand_clients_that_came_and_went_leave_no_memory(setup: &Setup) {
    /// Allocators keep some of what they were given back; a leak of 20 KiB a client would show.
    const TOLERANCE: usize = 16 << 20;
    let grown = a_thousand_visitors(&setup.start());
    assert!(grown < TOLERANCE, "the broker grew by {} KiB", grown >> 10);
}

fn half_handshakes_leave_no_descriptors(setup: &Setup) {
    let broker = setup.start();
    let resting = settled_descriptors(&broker);
    for _ in 0..3 {
        let connections: Vec<WirePeer> = (0..50).map(|_| broker.connect()).collect();
        drop(connections);
    }
    eventually("all descriptors are closed", || broker.descriptors() <= resting);
}

fn cut_clients_leave_no_descriptors(setup: &Setup) {
    let broker = setup.start();
    let resting = settled_descriptors(&broker);
    // They stay open on this side: it is the broker who has to close.
    let mut culprits: Vec<WirePeer> = (0..50).map(|number| broker.peer(&format!("culprit {number}"))).collect();
    for culprit in &mut culprits {
        culprit.send(&Request::raw(0x3F, b"no such operation\0"));
    }
    eventually("all descriptors are closed", || broker.descriptors() <= resting);
}

/// The descriptors of a broker that has nothing to do; those of the connections that saw it start go within moments.
fn settled_descriptors(broker: &BrokerProcess) -> usize {
    // Timers and the like are made when the first frame needs them.
    broker.expect_service();
    let mut last = usize::MAX;
    eventually("the number of descriptors is steady", || {
        let now = broker.descriptors();
        let steady = now == last;
        last = now;
        thread::sleep(Duration::from_millis(100));
        steady
    });
    last
}

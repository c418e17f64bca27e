//! What the broker publishes on its own.

use std::time::{SystemTime, UNIX_EPOCH};

use rmpv::Value;
use rustix::process::Signal;

use crate::support::{
    Delivery, Frame, GREETING, Kind, Request, Setup, WirePeer, fields, number, promises, registration, text, unpack,
};

promises! {
    everywhere {
        registrations_and_departures_are_announced
        a_client_that_is_cut_is_announced_as_departed
        secondaries_are_not_announced
        a_subscription_to_everything_brings_the_announcements_too
        nobody_gets_announcements_unasked
        who_hears_of_a_client_gets_what_came_with_its_handshake_at_once
    }
    busway_only {
        "the reference may be gone before its announcement has left": the_shutdown_is_announced_to_everybody
    }
    reference_only {
        the_reference_says_nothing_at_its_end_but_that_it_ends
    }
}

fn registrations_and_departures_are_announced(setup: &Setup) {
    let broker = setup.start();
    let mut listener = broker.subscriber("listener", &[".broker/info"]);
    let before = nanoseconds_since_the_epoch();
    let anna = broker.peer("anna");
    let registered = announcement(&mut listener, ".broker/info");
    assert_eq!((text(&registered, "s"), text(&registered, "d")), ("reg", "anna"));
    drop(anna);
    let departed = announcement(&mut listener, ".broker/info");
    assert_eq!((text(&departed, "s"), text(&departed, "d")), ("unreg", "anna"));
    let after = nanoseconds_since_the_epoch();
    for announcement in [registered, departed] {
        assert_eq!(fields(&announcement), ["d", "s", "t"]);
        assert!((before..=after).contains(&u128::from(number(&announcement, "t"))), "{announcement} is of now");
    }
}

fn who_hears_of_a_client_gets_what_came_with_its_handshake_at_once(setup: &Setup) {
    let broker = setup.start();
    let mut listener = broker.subscriber("listener", &[".broker/info"]);
    for name in ["anna", "bert"] {
        let mut peer = broker.connect();
        let message = Request::message("listener", name).bytes();
        peer.write([&GREETING[..], &registration(name.as_bytes()), &message].concat());
        // Nothing else comes for the listener that would bring the message along.
        let registered = announcement(&mut listener, ".broker/info");
        assert_eq!((text(&registered, "s"), text(&registered, "d")), ("reg", name));
        listener.expect(&Delivery::message(name).from(name));
        drop(peer);
        let departed = announcement(&mut listener, ".broker/info");
        assert_eq!((text(&departed, "s"), text(&departed, "d")), ("unreg", name));
    }
}

fn a_client_that_is_cut_is_announced_as_departed(setup: &Setup) {
    let broker = setup.start();
    let mut culprit = broker.peer("culprit");
    let mut listener = broker.subscriber("listener", &[".broker/info"]);
    culprit.send(&Request::raw(0x3F, b"no such operation\0"));
    let departed = announcement(&mut listener, ".broker/info");
    assert_eq!((text(&departed, "s"), text(&departed, "d")), ("unreg", "culprit"));
}

fn secondaries_are_not_announced(setup: &Setup) {
    let broker = setup.start();
    let mut listener = broker.subscriber("listener", &[".broker/info"]);
    drop(broker.peer("listener%%1"));
    let _again = broker.successor("listener%%1");
    listener.expect_nothing();
}

fn a_subscription_to_everything_brings_the_announcements_too(setup: &Setup) {
    let broker = setup.start();
    let patterns = ["#", ".broker/#", "+/info", ".broker/+"];
    let mut listeners = patterns.map(|pattern| broker.peer(&format!("subscribed to {pattern}")));
    for (listener, pattern) in listeners.iter_mut().zip(patterns) {
        listener.perform(Request::subscribe(&[pattern]));
    }
    let _anna = broker.peer("anna");
    for listener in &mut listeners {
        let registered = announcement(listener, ".broker/info");
        assert_eq!((text(&registered, "s"), text(&registered, "d")), ("reg", "anna"));
    }
}

fn nobody_gets_announcements_unasked(setup: &Setup) {
    let broker = setup.start();
    let mut listener = broker.subscriber("listener", &["info", "broker/info", "+", "/#"]);
    drop(broker.peer("anna"));
    broker.wait_until_gone("anna");
    listener.expect_nothing();
}

fn the_shutdown_is_announced_to_everybody(setup: &Setup) {
    let broker = setup.start();
    let mut peers = [broker.peer("anna"), broker.peer("bert"), broker.peer("bert%%1")];
    broker.signal(Signal::TERM);
    for peer in &mut peers {
        let shutdown = announcement(peer, ".broker/warn");
        assert_eq!(text(&shutdown, "s"), "shutdown");
        assert_eq!(fields(&shutdown), ["s", "t"]);
        peer.drain();
    }
}

fn the_reference_says_nothing_at_its_end_but_that_it_ends(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    broker.signal(Signal::TERM);
    while let Ok(Frame::Delivery(delivery)) = peer.try_receive() {
        assert_eq!((delivery.sender.as_str(), delivery.topic.as_str()), (".broker", ".broker/warn"));
        assert_eq!(text(&unpack(&delivery.payload), "s"), "shutdown");
    }
}

fn announcement(peer: &mut WirePeer, topic: &str) -> Value {
    let delivery = peer.receive_delivery();
    assert_eq!(delivery.kind, Kind::Publication);
    assert_eq!((delivery.sender.as_str(), delivery.topic.as_str()), (".broker", topic));
    unpack(&delivery.payload)
}

fn nanoseconds_since_the_epoch() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_nanos()
}

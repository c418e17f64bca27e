//! A receiver that does not keep up loses its connection; nobody else loses anything.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use crate::support::{BrokerProcess, Delivery, Frame, Request, Setup, WirePeer, code, number, promises, text, unpack};

promises! {
    everywhere {
        one_stalled_receiver_is_cut_and_the_nine_others_get_every_frame_in_order
        a_cut_receiver_has_got_a_beginning_of_what_was_sent_without_gaps
        a_message_that_overflows_is_refused_with_77_and_the_next_one_with_71
        publications_and_broadcasts_that_overflow_are_confirmed
        a_cut_receiver_may_register_again
        a_receiver_that_pauses_within_its_queue_loses_nothing
    }
    busway_only {
        "the reference has no limit in bytes": a_payload_that_is_larger_than_the_queue_does_not_cut_who_reads
        "the reference does not count what it drops": the_loss_is_visible_in_the_stats
        "the reference does not announce whom it cuts": the_loss_is_announced_as_a_warning
        "the reference words its log in another way": the_loss_is_logged_with_the_name
    }
}

/// A queue that a stalled receiver overflows soon, and readers that are awake never.
const SMALL_QUEUE: [&str; 2] = ["--queue-size", "64"];
/// Together far more than the buffers of any socket hold.
const FRAMES: u32 = 1_536;
const FRAME_BYTES: usize = 32 << 10;
/// How far the publisher gets ahead of the readers at most.
const STRIDE: u32 = 16;

fn payload(number: u32) -> Vec<u8> {
    let mut payload = vec![0; FRAME_BYTES];
    payload[..4].copy_from_slice(&number.to_le_bytes());
    payload
}

fn number_of(delivery: &Delivery) -> u32 {
    u32::from_le_bytes(delivery.payload[..4].try_into().expect("a payload starts with its number"))
}

/// A client that does not hear of the cut: its stream shows nothing but what the test sends.
fn unwarned(broker: &BrokerProcess, name: &str) -> WirePeer {
    let mut peer = broker.peer(name);
    peer.perform(Request::unsubscribe(&[".broker/warn"]));
    peer
}

/// Reads every frame of the load in order and reports each one.
fn reader(mut peer: WirePeer, progress: mpsc::Sender<u32>) -> JoinHandle<()> {
    thread::spawn(move || {
        for expected in 0..FRAMES {
            let delivery = peer.receive_delivery();
            assert_eq!((delivery.topic.as_str(), delivery.payload.len()), ("load", FRAME_BYTES));
            assert_eq!(number_of(&delivery), expected, "frames come in order");
            progress.send(expected).expect("the publisher waits for the readers");
        }
        peer.expect_nothing();
    })
}

/// Nine readers and one that does not read, under more load than the one can have in its queue. Returns that one.
fn stall_one_of_ten(broker: &BrokerProcess) -> WirePeer {
    let mut stalled = unwarned(broker, "stalled");
    stalled.perform(Request::subscribe(&["load"]));
    let (progress, reports) = mpsc::channel();
    let readers: Vec<JoinHandle<()>> = (0..9)
        .map(|number| {
            let mut peer = unwarned(broker, &format!("reader {number}"));
            peer.perform(Request::subscribe(&["load"]));
            reader(peer, progress.clone())
        })
        .collect();
    drop(progress);
    let mut publisher = unwarned(broker, "publisher");
    for number in 0..FRAMES {
        publisher.perform(Request::publish("load", payload(number)));
        if (number + 1) % STRIDE == 0 {
            // The readers share the processors with everything else here: they must not be called slow for that.
            for _ in 0..9 * STRIDE {
                reports.recv().expect("the readers read");
            }
        }
    }
    for reader in readers {
        reader.join().expect("a reader got everything");
    }
    stalled
}

fn one_stalled_receiver_is_cut_and_the_nine_others_get_every_frame_in_order(setup: &Setup) {
    let broker = setup.start_with(&SMALL_QUEUE);
    let mut stalled = stall_one_of_ten(&broker);
    let mut sender = broker.peer("sender");
    assert_eq!(sender.confirm(Request::message("stalled", "")), code::NOT_REGISTERED);
    // What the sockets still hold may come, and then the end.
    assert!(stalled.drain() < FRAME_BYTES * FRAMES as usize);
    broker.expect_service();
}

fn a_cut_receiver_has_got_a_beginning_of_what_was_sent_without_gaps(setup: &Setup) {
    let broker = setup.start_with(&SMALL_QUEUE);
    let mut stalled = stall_one_of_ten(&broker);
    let mut expected = 0;
    while let Ok(Frame::Delivery(delivery)) = stalled.try_receive() {
        assert_eq!(number_of(&delivery), expected, "no gap before the end");
        expected += 1;
    }
    assert!(expected < FRAMES, "it cannot have got everything");
}

/// Sends to a client that does not read until the broker refuses; returns the sender and the code of the refusal.
fn overflow_with_messages(broker: &BrokerProcess, target: &str) -> (WirePeer, u8) {
    let mut sender = unwarned(broker, "sender");
    for number in 0..FRAMES {
        let code = sender.confirm(Request::message(target, payload(number)));
        if code != code::OK {
            return (sender, code);
        }
    }
    panic!("the queue took everything");
}

fn a_message_that_overflows_is_refused_with_77_and_the_next_one_with_71(setup: &Setup) {
    let broker = setup.start_with(&SMALL_QUEUE);
    let mut stalled = unwarned(&broker, "stalled");
    let (mut sender, code) = overflow_with_messages(&broker, "stalled");
    assert_eq!(code, code::NOT_DELIVERED);
    assert_eq!(sender.confirm(Request::message("stalled", "")), code::NOT_REGISTERED);
    stalled.drain();
}

fn publications_and_broadcasts_that_overflow_are_confirmed(setup: &Setup) {
    let broker = setup.start_with(&SMALL_QUEUE);
    let mut stalled = unwarned(&broker, "group.stalled");
    stalled.perform(Request::subscribe(&["load"]));
    let mut sender = unwarned(&broker, "sender");
    for number in 0..FRAMES / 2 {
        sender.perform(Request::publish("load", payload(number)));
        sender.perform(Request::broadcast("group.*", payload(number)));
    }
    assert_eq!(sender.confirm(Request::message("group.stalled", "")), code::NOT_REGISTERED);
    stalled.drain();
}

fn a_cut_receiver_may_register_again(setup: &Setup) {
    let broker = setup.start_with(&SMALL_QUEUE);
    let mut stalled = unwarned(&broker, "stalled");
    let (mut sender, _) = overflow_with_messages(&broker, "stalled");
    let mut again = broker.successor("stalled");
    sender.perform(Request::message("stalled", "welcome back"));
    again.expect(&Delivery::message("welcome back").from("sender"));
    stalled.drain();
    again.expect_nothing();
}

fn a_receiver_that_pauses_within_its_queue_loses_nothing(setup: &Setup) {
    let broker = setup.start_with(&["--queue-size", "4096"]);
    let mut receiver = broker.peer("receiver");
    let mut sender = broker.peer("sender");
    for number in 0..4_000_u32 {
        sender.perform(Request::message("receiver", number.to_le_bytes()));
    }
    for number in 0..4_000_u32 {
        receiver.expect(&Delivery::message(number.to_le_bytes()).from("sender"));
    }
}

fn the_loss_is_visible_in_the_stats(setup: &Setup) {
    let broker = setup.start_with(&SMALL_QUEUE);
    let mut observer = unwarned(&broker, "observer");
    assert_eq!(number(&observer.ask("stats"), "lost_frames"), 0);
    let mut stalled = stall_one_of_ten(&broker);
    let lost = number(&observer.ask("stats"), "lost_frames");
    assert!((1..=u64::from(FRAMES)).contains(&lost), "{lost} frames were lost");
    stalled.drain();
}

fn the_loss_is_announced_as_a_warning(setup: &Setup) {
    let broker = setup.start_with(&SMALL_QUEUE);
    let mut listener = broker.peer("listener");
    let mut stalled = stall_one_of_ten(&broker);
    let delivery = listener.receive_delivery();
    assert_eq!((delivery.sender.as_str(), delivery.topic.as_str()), (".broker", ".broker/warn"));
    let warning = unpack(&delivery.payload);
    assert_eq!((text(&warning, "s"), text(&warning, "d")), ("slow", "stalled"));
    assert!(number(&warning, "t") > 0);
    listener.expect_nothing();
    stalled.drain();
}

fn a_payload_that_is_larger_than_the_queue_does_not_cut_who_reads(setup: &Setup) {
    const LARGE: usize = 8 << 20;
    let broker = setup.start_with(&["--queue-bytes", "64K"]);
    let (mut one, mut two) = (broker.subscriber("one", &["load"]), broker.subscriber("two", &["load"]));
    let mut sender = broker.peer("sender");
    // It goes to one by itself, and then to both.
    let (large, small) = (vec![7; LARGE], b"small");
    sender.perform(Request::message("one", &large[..]));
    sender.perform(Request::message("one", &small[..]));
    one.expect(&Delivery::message(&large[..]).from("sender"));
    one.expect(&Delivery::message(&small[..]).from("sender"));
    sender.perform(Request::publish("load", &large[..]));
    sender.perform(Request::publish("load", &small[..]));
    for receiver in [&mut one, &mut two] {
        receiver.expect(&Delivery::publication("load", &large[..]).from("sender"));
        receiver.expect(&Delivery::publication("load", &small[..]).from("sender"));
        receiver.expect_nothing();
    }
}

fn the_loss_is_logged_with_the_name(setup: &Setup) {
    let broker = setup.start_with(&SMALL_QUEUE);
    let mut stalled = stall_one_of_ten(&broker);
    broker.expect_logged(&["client \"stalled\" cut:"]);
    assert_eq!(broker.log().matches(" cut:").count(), 1, "nobody else was cut:\n{}", broker.log());
    stalled.drain();
}

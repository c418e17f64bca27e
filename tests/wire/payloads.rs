//! Payloads of every size arrive as they were sent, however they were cut into writes.

use std::thread;

use crate::support::{Delivery, Request, Setup, WirePeer, promises};

promises! {
    everywhere {
        payloads_of_many_sizes_arrive_intact
        a_payload_of_16_mebibytes_arrives_intact
        a_large_payload_reaches_many_receivers_intact
        large_payloads_of_many_senders_do_not_mix
        a_frame_may_be_split_anywhere
        a_stream_of_frames_may_be_cut_into_pieces_of_any_size
        small_frames_follow_large_ones_unharmed
        half_a_large_frame_holds_nobody_up
    }
}

/// Bytes that show it when some are missing, doubled or out of place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| ((index % 251) ^ (index >> 16)).to_le_bytes()[0]).collect()
}

fn payloads_of_many_sizes_arrive_intact(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.subscriber("bert", &["size"]);
    // Around every power of two: buffers have such sizes.
    let sizes = (0..=20).flat_map(|power| {
        let size = 1_usize << power;
        [size - 1, size, size + 1]
    });
    for size in [0].into_iter().chain(sizes) {
        let payload = pattern(size);
        sender.perform(Request::message("bert", &payload));
        receiver.expect(&Delivery::message(&payload).from("anna"));
        sender.perform(Request::publish("size", &payload).realtime());
        receiver.expect(&Delivery::publication("size", &payload).from("anna").realtime());
    }
}

fn a_payload_of_16_mebibytes_arrives_intact(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    let payload = pattern(16 << 20);
    sender.perform(Request::message("bert", &payload));
    receiver.expect(&Delivery::message(&payload).from("anna"));
}

fn a_large_payload_reaches_many_receivers_intact(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receivers: Vec<WirePeer> =
        (0..8).map(|number| broker.subscriber(&format!("bert {number}"), &["large"])).collect();
    let payload = pattern((4 << 20) + 1);
    sender.perform(Request::publish("large", &payload));
    for receiver in &mut receivers {
        receiver.expect(&Delivery::publication("large", &payload).from("anna"));
    }
}

fn large_payloads_of_many_senders_do_not_mix(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.peer("bert");
    let senders: Vec<_> = (1..=4)
        .map(|number| {
            let mut sender = broker.peer(&format!("sender {number}"));
            thread::spawn(move || {
                for round in 0..8 {
                    sender.perform(Request::message("bert", vec![number * 16 + round; 700_000]));
                }
            })
        })
        .collect();
    for _ in 0..4 * 8 {
        let delivery = receiver.receive_delivery();
        let first = delivery.payload[0];
        assert_eq!(delivery.sender, format!("sender {}", first / 16));
        assert_eq!(delivery.payload.len(), 700_000);
        assert!(delivery.payload.iter().all(|byte| *byte == first), "two payloads got mixed");
    }
    for sender in senders {
        sender.join().expect("everything was confirmed");
    }
}

fn a_frame_may_be_split_anywhere(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.subscriber("bert", &["light"]);
    let cases = [
        (Request::message("bert", "hello"), Delivery::message("hello")),
        (Request::broadcast("bert", "hello"), Delivery::broadcast("hello")),
        (Request::publish("light", "on"), Delivery::publication("light", "on")),
        (Request::publish("light", "on").only_for("bert").realtime(), Delivery::publication("light", "on").realtime()),
    ];
    for (request, delivery) in cases {
        let delivery = delivery.from("anna");
        let bytes = request.bytes();
        for split in 1..bytes.len() {
            sender.write(&bytes[..split]);
            // Gives the broker the time to see the first part by itself.
            receiver.expect_nothing();
            sender.write(&bytes[split..]);
            receiver.expect(&delivery);
        }
    }
}

fn a_stream_of_frames_may_be_cut_into_pieces_of_any_size(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.peer("bert");
    let payloads: Vec<Vec<u8>> = (0..60).map(|number| pattern(number * 7)).collect();
    let stream: Vec<u8> = payloads.iter().flat_map(|payload| Request::message("bert", payload).bytes()).collect();
    for size in [1, 2, 3, 5, 8, 13, 89, 1_000, 4_096] {
        let mut sender = broker.peer(&format!("in pieces of {size}"));
        for piece in stream.chunks(size) {
            sender.write(piece);
        }
        for payload in &payloads {
            receiver.expect(&Delivery::message(payload).from(&format!("in pieces of {size}")));
        }
    }
}

fn small_frames_follow_large_ones_unharmed(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    for round in 0..20_usize {
        let large = pattern(300_000 + round);
        let mut bytes = Request::message("bert", "before").bytes();
        bytes.extend(Request::message("bert", &large).bytes());
        bytes.extend(Request::message("bert", "after").bytes());
        sender.write(bytes);
        receiver.expect(&Delivery::message("before").from("anna"));
        receiver.expect(&Delivery::message(&large).from("anna"));
        receiver.expect(&Delivery::message("after").from("anna"));
    }
}

fn half_a_large_frame_holds_nobody_up(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    let mut other = broker.peer("carl");
    let payload = pattern(3 << 20);
    let bytes = Request::message("bert", &payload).bytes();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    sender.write(first);
    other.perform(Request::message("bert", "overtaking"));
    receiver.expect(&Delivery::message("overtaking").from("carl"));
    sender.write(second);
    receiver.expect(&Delivery::message(&payload).from("anna"));
}

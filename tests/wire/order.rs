//! Frames of one sender to one receiver keep their order, whatever they are and however they are sent.

use std::thread;

use crate::support::{Delivery, Frame, Kind, Request, Setup, code, promises};

promises! {
    everywhere {
        messages_broadcasts_and_publications_keep_their_common_order
        realtime_frames_do_not_overtake_others
        large_and_small_frames_keep_their_order
        every_subscriber_sees_the_same_order_of_one_publisher
        frames_of_several_senders_keep_the_order_of_each
        frames_to_oneself_and_confirmations_keep_their_order
        a_subscription_takes_its_place_among_the_publications
    }
}

/// As many as a queue of the default size takes while nobody reads.
const FRAMES: u32 = 3_000;

fn messages_broadcasts_and_publications_keep_their_common_order(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.subscriber("g.bert", &["light/#"]);
    let sending = thread::spawn(move || {
        for number in 0..FRAMES {
            let payload = number.to_le_bytes();
            sender.send(&match number % 4 {
                0 => Request::message("g.bert", payload),
                1 => Request::broadcast("g.*", payload),
                2 => Request::publish("light/level", payload),
                _ => Request::publish("light/level", payload).only_for("g.bert"),
            });
        }
    });
    for number in 0..FRAMES {
        let delivery = receiver.receive_delivery();
        let kind = [Kind::Message, Kind::Broadcast, Kind::Publication, Kind::Publication][number as usize % 4];
        assert_eq!((delivery.kind, delivery.payload), (kind, number.to_le_bytes().to_vec()));
    }
    sending.join().expect("everything could be written");
}

fn realtime_frames_do_not_overtake_others(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    let sending = thread::spawn(move || {
        for number in 0..FRAMES {
            let request = Request::message("bert", number.to_le_bytes());
            sender.send(&if number % 7 == 0 { request.realtime() } else { request });
        }
    });
    for number in 0..FRAMES {
        let expected = Delivery::message(number.to_le_bytes()).from("anna");
        receiver.expect(&if number % 7 == 0 { expected.realtime() } else { expected });
    }
    sending.join().expect("everything could be written");
}

fn large_and_small_frames_keep_their_order(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut receiver = broker.peer("bert");
    let payload = |number: u32| {
        let size = [4, 100_000, 5_000, 4, 70_000, 4_096, 1_000_000][number as usize % 7];
        let mut payload = vec![0; size];
        payload[..4].copy_from_slice(&number.to_le_bytes());
        payload
    };
    let sending = thread::spawn(move || {
        for number in 0..200 {
            sender.send(&Request::message("bert", payload(number)));
        }
    });
    for number in 0..200 {
        receiver.expect(&Delivery::message(payload(number)).from("anna"));
    }
    sending.join().expect("everything could be written");
}

fn every_subscriber_sees_the_same_order_of_one_publisher(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let patterns = ["light/level", "light/+", "light/#", "+/level", "#"];
    let readers: Vec<_> = patterns
        .iter()
        .enumerate()
        .map(|(index, pattern)| {
            let mut subscriber = broker.subscriber(&format!("subscriber {index}"), &[pattern]);
            thread::spawn(move || {
                for number in 0..FRAMES {
                    let expected = Delivery::publication("light/level", number.to_le_bytes());
                    subscriber.expect(&expected.from("anna"));
                }
            })
        })
        .collect();
    for number in 0..FRAMES {
        publisher.send(&Request::publish("light/level", number.to_le_bytes()));
    }
    for reader in readers {
        reader.join().expect("a subscriber got everything in order");
    }
}

fn frames_of_several_senders_keep_the_order_of_each(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.subscriber("bert", &["light"]);
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let mut peer = broker.peer(&format!("sender {sender}"));
            thread::spawn(move || {
                for number in 0..1_000_u32 {
                    let payload = number.to_le_bytes();
                    peer.send(&match sender % 2 {
                        0 => Request::message("bert", payload),
                        _ => Request::publish("light", payload),
                    });
                }
                // The connection stays until everything has arrived.
                peer
            })
        })
        .collect();
    let mut next = [0_u32; 4];
    for _ in 0..4 * 1_000 {
        let delivery = receiver.receive_delivery();
        let sender: usize = delivery.sender.trim_start_matches("sender ").parse().expect("the sender has a number");
        assert_eq!(delivery.payload, next[sender].to_le_bytes(), "the next frame of sender {sender}");
        next[sender] += 1;
    }
    assert_eq!(next, [1_000; 4]);
    drop(senders);
}

fn frames_to_oneself_and_confirmations_keep_their_order(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.subscriber("anna", &["light"]);
    let mut bytes = Vec::new();
    for op_id in 0..500_u32 {
        let payload = op_id.to_le_bytes();
        let request = match op_id % 3 {
            0 => Request::message("anna", payload),
            1 => Request::publish("light", payload),
            _ => Request::message("nobody", payload),
        };
        bytes.extend(request.confirmed().op_id(op_id).bytes());
    }
    peer.write(bytes);
    for op_id in 0..500_u32 {
        let code = if op_id % 3 == 2 { code::NOT_REGISTERED } else { code::OK };
        if code == code::OK {
            assert_eq!(peer.receive_delivery().payload, op_id.to_le_bytes(), "the frame precedes its confirmation");
        }
        assert_eq!(peer.receive(), Frame::Confirmation { op_id, code });
    }
}

fn a_subscription_takes_its_place_among_the_publications(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    let mut bytes = Vec::new();
    for number in 0..300_u32 {
        bytes.extend(Request::publish("light", number.to_le_bytes()).bytes());
        bytes.extend(Request::subscribe(&["light"]).bytes());
        bytes.extend(Request::publish("light", (1_000 + number).to_le_bytes()).bytes());
        bytes.extend(Request::unsubscribe(&["light"]).bytes());
    }
    peer.write(bytes);
    for number in 0..300_u32 {
        peer.expect(&Delivery::publication("light", (1_000 + number).to_le_bytes()).from("anna"));
    }
    peer.expect_nothing();
}

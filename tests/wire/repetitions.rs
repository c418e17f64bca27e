//! What a client repeats a broker may remember; what it remembers must not outlive the truth.

use crate::support::{Delivery, Frame, Request, Setup, code, promises};

promises! {
    everywhere {
        repeated_messages_follow_their_target_through_departures_and_returns
        repeated_broadcasts_follow_who_comes_and_goes
        repeated_publications_follow_every_change_of_a_subscription
        repeated_publications_follow_subscribers_that_leave
        repeated_publications_for_one_receiver_follow_its_secondaries
        the_same_words_mean_different_things_to_each_operation
        publications_for_one_and_for_all_may_alternate
        many_different_topics_are_each_told_apart
        bursts_of_like_frames_keep_their_order_and_their_lengths
        a_change_of_filters_amid_a_burst_holds_from_there_on
    }
}

fn repeated_messages_follow_their_target_through_departures_and_returns(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    for round in 0..10 {
        assert_eq!(sender.confirm(Request::message("bert", "anyone?")), code::NOT_REGISTERED);
        let mut receiver = broker.peer("bert");
        let payload = format!("round {round}");
        sender.perform(Request::message("bert", &payload));
        receiver.expect(&Delivery::message(&payload).from("anna"));
        drop(receiver);
        broker.wait_until_gone("bert");
    }
}

fn repeated_broadcasts_follow_who_comes_and_goes(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut stays = broker.peer("group.stays");
    for round in 0..10 {
        let payload = format!("round {round}");
        let mut comes = broker.peer("group.comes");
        sender.perform(Request::broadcast("group.*", &payload));
        stays.expect(&Delivery::broadcast(&payload).from("anna"));
        comes.expect(&Delivery::broadcast(&payload).from("anna"));
        drop(comes);
        broker.wait_until_gone("group.comes");
        sender.perform(Request::broadcast("group.*", &payload));
        stays.expect(&Delivery::broadcast(&payload).from("anna"));
    }
}

fn repeated_publications_follow_every_change_of_a_subscription(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut subscriber = broker.peer("bert");
    let changes = [
        (Request::subscribe(&["light/+"]), true),
        (Request::exclude(&["light/level"]), false),
        (Request::subscribe(&["light/level"]), false),
        (Request::unexclude(&["light/level"]), true),
        (Request::unsubscribe(&["light/+"]), true),
        (Request::unsubscribe(&["light/level"]), false),
        (Request::exclude(&["#"]), false),
        (Request::subscribe(&["#"]), false),
        (Request::unexclude(&["#"]), true),
        (Request::unsubscribe(&["#"]), false),
    ];
    for round in 0..5 {
        for (step, (change, is_reached)) in changes.iter().enumerate() {
            subscriber.perform(change.clone());
            let payload = format!("round {round} step {step}");
            publisher.perform(Request::publish("light/level", &payload));
            if *is_reached {
                subscriber.expect(&Delivery::publication("light/level", &payload).from("anna"));
            }
            subscriber.expect_nothing();
        }
    }
}

fn repeated_publications_follow_subscribers_that_leave(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut stays = broker.subscriber("stays", &["light"]);
    for round in 0..10 {
        let payload = format!("round {round}");
        let mut leaves = broker.subscriber("leaves", &["light"]);
        publisher.perform(Request::publish("light", &payload));
        leaves.expect(&Delivery::publication("light", &payload).from("anna"));
        stays.expect(&Delivery::publication("light", &payload).from("anna"));
        drop(leaves);
        broker.wait_until_gone("leaves");
        publisher.perform(Request::publish("light", &payload));
        stays.expect(&Delivery::publication("light", &payload).from("anna"));
    }
}

fn repeated_publications_for_one_receiver_follow_its_secondaries(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut primary = broker.peer("bert");
    for round in 0..5 {
        let name = format!("bert%%{round}");
        publisher.perform(Request::publish("light", "unheard").only_for("bert"));
        let mut secondary = broker.subscriber(&name, &["light"]);
        publisher.perform(Request::publish("light", &name).only_for("bert"));
        secondary.expect(&Delivery::publication("light", &name).from("anna"));
        drop(secondary);
        broker.wait_until_gone(&name);
    }
    primary.expect_nothing();
}

fn the_same_words_mean_different_things_to_each_operation(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("anna");
    let mut namesake = broker.peer("light");
    let mut subscriber = broker.subscriber("bert", &["light"]);
    for round in 0..5 {
        let payload = format!("round {round}");
        sender.perform(Request::publish("light", &payload));
        sender.perform(Request::message("light", &payload));
        sender.perform(Request::broadcast("light", &payload));
        sender.perform(Request::publish("light", &payload).only_for("light"));
        namesake.expect(&Delivery::message(&payload).from("anna"));
        namesake.expect(&Delivery::broadcast(&payload).from("anna"));
        namesake.expect_nothing();
        subscriber.expect(&Delivery::publication("light", &payload).from("anna"));
        subscriber.expect_nothing();
    }
}

fn publications_for_one_and_for_all_may_alternate(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut bert = broker.subscriber("bert", &["light"]);
    let mut carl = broker.subscriber("carl", &["light"]);
    for round in 0..5 {
        let payload = format!("round {round}");
        publisher.perform(Request::publish("light", &payload).only_for("bert"));
        publisher.perform(Request::publish("light", &payload));
        publisher.perform(Request::publish("light", &payload).only_for("carl"));
        for subscriber in [&mut bert, &mut carl] {
            subscriber.expect(&Delivery::publication("light", &payload).from("anna"));
            subscriber.expect(&Delivery::publication("light", &payload).from("anna"));
            subscriber.expect_nothing();
        }
    }
}

fn many_different_topics_are_each_told_apart(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut even = broker.subscriber("even", &["even/+"]);
    let mut odd = broker.subscriber("odd", &["odd/+"]);
    for round in 0..2 {
        // More than anybody would care to remember.
        for number in 0..3_000_u32 {
            let parity = if number.is_multiple_of(2) { "even" } else { "odd" };
            publisher.send(&Request::publish(&format!("{parity}/{number}"), [round]));
        }
        for number in 0..3_000_u32 {
            let (parity, subscriber) = if number.is_multiple_of(2) { ("even", &mut even) } else { ("odd", &mut odd) };
            subscriber.expect(&Delivery::publication(&format!("{parity}/{number}"), [round]).from("anna"));
        }
    }
}

/// Runs of frames that differ in nothing but their payloads, in one write: shorter and longer ones than a broker may
/// take in one go, short and long payloads among each other, and other frames between the runs.
fn bursts_of_like_frames_keep_their_order_and_their_lengths(setup: &Setup) {
    const LENGTHS: [usize; 8] = [64, 0, 1, 700, 64, 4096, 4097, 9000];
    let broker = setup.start();
    let mut publisher = broker.peer("anna");
    let mut bert = broker.subscriber("bert", &["light", "light/#"]);
    let mut carl = broker.subscriber("carl", &["light"]);
    let (mut for_bert, mut for_carl, mut confirmed) = (Vec::new(), Vec::new(), Vec::new());
    let mut burst = Vec::new();
    let mut number = 0_usize;
    for run in [1, 2, 3, 63, 64, 65, 130] {
        for kind in 0..5 {
            for _ in 0..run {
                let payload: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(LENGTHS[number % 8]).collect();
                let (request, delivery) = match kind {
                    0 => (Request::publish("light", &payload), Delivery::publication("light", &payload)),
                    1 => (Request::publish("light/1", &payload), Delivery::publication("light/1", &payload)),
                    2 => (Request::message("bert", &payload), Delivery::message(&payload)),
                    3 => (Request::broadcast("*", &payload), Delivery::broadcast(&payload)),
                    _ => {
                        (Request::publish("light", &payload).only_for("carl"), Delivery::publication("light", &payload))
                    }
                };
                let delivery = delivery.from("anna");
                if kind != 4 {
                    for_bert.push(delivery.clone());
                }
                if kind % 3 == 0 || kind == 4 {
                    for_carl.push(delivery);
                }
                burst.extend(request.bytes());
                number += 1;
            }
            if kind == 0 {
                // The next differ in nothing but their topic.
                continue;
            }
            // One that somebody waits for.
            let op_id = u32::try_from(number).unwrap();
            burst.extend(Request::publish("light", "confirmed").op_id(op_id).confirmed().bytes());
            for expected in [&mut for_bert, &mut for_carl] {
                expected.push(Delivery::publication("light", "confirmed").from("anna"));
            }
            confirmed.push(op_id);
        }
    }
    let mut writer = publisher.second_handle();
    let writing = std::thread::spawn(move || writer.write(burst));
    for (peer, expected) in [(&mut bert, for_bert), (&mut carl, for_carl)] {
        for delivery in &expected {
            peer.expect(delivery);
        }
        peer.expect_nothing();
    }
    writing.join().unwrap();
    let mut codes = Vec::new();
    while codes.len() < confirmed.len() {
        // It hears its own broadcasts, too.
        if let Frame::Confirmation { op_id, code } = publisher.receive() {
            assert_eq!(code, code::OK);
            codes.push(op_id);
        }
    }
    assert_eq!(codes, confirmed);
}

fn a_change_of_filters_amid_a_burst_holds_from_there_on(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    let mut bert = broker.subscriber("bert", &["light"]);
    let changes = [
        (Request::subscribe(&["light"]), true),
        (Request::exclude(&["light"]), false),
        (Request::unexclude(&["light"]), true),
        (Request::unsubscribe(&["light"]), false),
    ];
    let (mut burst, mut heard) = (Vec::new(), Vec::new());
    for round in 0..10 {
        for (change, hears_itself) in &changes {
            burst.extend(change.bytes());
            for number in 0..20_u8 {
                burst.extend(Request::publish("light", [round, number]).bytes());
                heard.push((Delivery::publication("light", [round, number]).from("anna"), *hears_itself));
            }
        }
    }
    anna.write(burst);
    for (delivery, anna_hears) in &heard {
        bert.expect(delivery);
        if *anna_hears {
            anna.expect(delivery);
        }
    }
    anna.expect_nothing();
    bert.expect_nothing();
}

//! What a client repeats a broker may remember; what it remembers must not outlive the truth.

use crate::support::{Delivery, Request, Setup, code, promises};

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

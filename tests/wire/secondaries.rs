//! Further connections of one client, named `PRIMARY%%ANYTHING`.

use crate::support::{Delivery, Request, Setup, code, promises};

promises! {
    everywhere {
        a_secondary_without_its_primary_is_refused_with_71
        a_secondary_is_registered_while_its_primary_is
        a_secondary_sends_under_its_full_name
        a_secondary_is_addressed_by_its_full_name
        a_secondary_has_subscriptions_of_its_own
        a_secondary_name_that_is_taken_is_refused_with_76
        secondaries_go_when_their_primary_goes
        secondaries_of_others_stay_when_a_primary_goes
        a_primary_stays_when_its_secondary_goes
        a_secondary_that_left_can_come_back
        the_primary_name_ends_at_the_first_separator
        what_follows_the_separator_is_free
        a_single_percent_sign_separates_nothing
    }
}

fn a_secondary_without_its_primary_is_refused_with_71(setup: &Setup) {
    let broker = setup.start();
    let _other = broker.peer("ann");
    assert_eq!(broker.refusal("anna%%1"), code::NOT_REGISTERED);
    assert_eq!(broker.refusal("an%%1"), code::NOT_REGISTERED);
}

fn a_secondary_is_registered_while_its_primary_is(setup: &Setup) {
    let broker = setup.start();
    let _primary = broker.peer("anna");
    let mut secondaries = [broker.peer("anna%%0"), broker.peer("anna%%1"), broker.peer("anna%%2")];
    for secondary in &mut secondaries {
        secondary.expect_nothing();
    }
}

fn a_secondary_sends_under_its_full_name(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.subscriber("bert", &["light"]);
    let _primary = broker.peer("anna");
    let mut secondary = broker.peer("anna%%7");
    secondary.perform(Request::message("bert", "message"));
    secondary.perform(Request::broadcast("bert", "broadcast"));
    secondary.perform(Request::publish("light", "publication"));
    receiver.expect(&Delivery::message("message").from("anna%%7"));
    receiver.expect(&Delivery::broadcast("broadcast").from("anna%%7"));
    receiver.expect(&Delivery::publication("light", "publication").from("anna%%7"));
}

fn a_secondary_is_addressed_by_its_full_name(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("bert");
    let mut primary = broker.peer("anna");
    let mut secondary = broker.peer("anna%%1");
    sender.perform(Request::message("anna%%1", "to the secondary"));
    sender.perform(Request::message("anna", "to the primary"));
    secondary.expect(&Delivery::message("to the secondary").from("bert"));
    primary.expect(&Delivery::message("to the primary").from("bert"));
    secondary.expect_nothing();
    primary.expect_nothing();
    assert_eq!(sender.confirm(Request::message("anna%%2", "")), code::NOT_REGISTERED);
}

fn a_secondary_has_subscriptions_of_its_own(setup: &Setup) {
    let broker = setup.start();
    let mut publisher = broker.peer("bert");
    let mut primary = broker.subscriber("anna", &["light"]);
    let mut secondary = broker.subscriber("anna%%1", &["dark"]);
    publisher.perform(Request::publish("light", "on"));
    publisher.perform(Request::publish("dark", "matter"));
    primary.expect(&Delivery::publication("light", "on").from("bert"));
    secondary.expect(&Delivery::publication("dark", "matter").from("bert"));
    primary.expect_nothing();
    secondary.expect_nothing();
}

fn a_secondary_name_that_is_taken_is_refused_with_76(setup: &Setup) {
    let broker = setup.start();
    let _primary = broker.peer("anna");
    let mut owner = broker.peer("anna%%1");
    assert_eq!(broker.refusal("anna%%1"), code::BUSY);
    owner.expect_nothing();
}

fn secondaries_go_when_their_primary_goes(setup: &Setup) {
    let broker = setup.start();
    let primary = broker.peer("anna");
    let mut secondaries = [broker.peer("anna%%1"), broker.subscriber("anna%%x", &["light"])];
    drop(primary);
    for secondary in &mut secondaries {
        secondary.expect_closed();
    }
    broker.wait_until_gone("anna");
    assert_eq!(broker.refusal("anna%%1"), code::NOT_REGISTERED);
}

fn secondaries_of_others_stay_when_a_primary_goes(setup: &Setup) {
    let broker = setup.start();
    let _longer = broker.peer("anna2");
    let primary = broker.peer("anna");
    let mut gone = broker.peer("anna%%1");
    let mut other = broker.peer("anna2%%1");
    drop(primary);
    gone.expect_closed();
    broker.wait_until_gone("anna");
    other.expect_nothing();
}

fn a_primary_stays_when_its_secondary_goes(setup: &Setup) {
    let broker = setup.start();
    let mut primary = broker.peer("anna");
    let mut other = broker.peer("anna%%2");
    drop(broker.peer("anna%%1"));
    broker.wait_until_gone("anna%%1");
    primary.expect_nothing();
    other.expect_nothing();
}

fn a_secondary_that_left_can_come_back(setup: &Setup) {
    let broker = setup.start();
    let primary = broker.peer("anna");
    drop(broker.peer("anna%%1"));
    let mut again = broker.successor("anna%%1");
    again.expect_nothing();
    drop(primary);
    again.expect_closed();
}

fn the_primary_name_ends_at_the_first_separator(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(broker.refusal("anna%%1%%2"), code::NOT_REGISTERED);
    let primary = broker.peer("anna");
    let mut deeper = broker.peer("anna%%1%%2");
    deeper.expect_nothing();
    drop(primary);
    deeper.expect_closed();
}

fn what_follows_the_separator_is_free(setup: &Setup) {
    let broker = setup.start();
    let mut sender = broker.peer("bert");
    let _primary = broker.peer("anna");
    for name in ["anna%%", "anna%%%", "anna%%a.b", "anna%%größe"] {
        let mut secondary = broker.peer(name);
        sender.perform(Request::message(name, name));
        secondary.expect(&Delivery::message(name).from("bert"));
    }
}

fn a_single_percent_sign_separates_nothing(setup: &Setup) {
    let broker = setup.start();
    broker.peer("anna%1").expect_nothing();
    broker.peer("%anna").expect_nothing();
}

//! `busway publish`.

use crate::program::Busway;
use crate::support::{Delivery, Setup, promises};

promises! {
    everywhere {
        a_publication_reaches_subscribers
        a_publication_to_nobody_is_confirmed
        a_publication_can_be_for_one
        every_qos_can_be_asked_for
        an_empty_topic_and_an_empty_payload_are_legal
        an_illegal_topic_or_receiver_is_refused
    }
}

fn a_publication_reaches_subscribers(setup: &Setup) {
    let broker = setup.start();
    let mut peers = [broker.subscriber("anna", &["light/#"]), broker.subscriber("bert", &["light/level"])];
    let publish = |arguments: &[&str]| Busway::on(setup, &broker, &[&["-n", "cli", "publish"], arguments].concat());
    assert_eq!(publish(&["light/level", "87"]).output(), "OK\n");
    for peer in &mut peers {
        peer.expect(&Delivery::publication("light/level", "87").from("cli"));
    }
    broker.wait_until_gone("cli");
    assert_eq!(publish(&["light/level", "88", "--json"]).output(), "{\"result\":\"ok\"}\n");
    for peer in &mut peers {
        peer.expect(&Delivery::publication("light/level", "88").from("cli"));
        peer.expect_nothing();
    }
}

fn a_publication_to_nobody_is_confirmed(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(Busway::on(setup, &broker, &["publish", "light/level", "87"]).output(), "OK\n");
}

fn a_publication_can_be_for_one(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.subscriber("anna", &["light/#"]);
    let mut bert = broker.subscriber("bert", &["light/#"]);
    Busway::on(setup, &broker, &["-n", "cli", "publish", "light/level", "87", "--for", "anna"]).output();
    anna.expect(&Delivery::publication("light/level", "87").from("cli"));
    bert.expect_nothing();
}

fn every_qos_can_be_asked_for(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.subscriber("anna", &["light"]);
    for qos in ["no", "processed", "realtime", "realtime-processed"] {
        Busway::on(setup, &broker, &["-n", "cli", "publish", "--qos", qos, "light", "on"]).output();
        let delivery = Delivery::publication("light", "on").from("cli");
        anna.expect(&if qos.starts_with("realtime") { delivery.realtime() } else { delivery });
        broker.wait_until_gone("cli");
    }
}

fn an_empty_topic_and_an_empty_payload_are_legal(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.subscriber("anna", &[""]);
    Busway::on(setup, &broker, &["-n", "cli", "publish", "", ""]).output();
    anna.expect(&Delivery::publication("", "").from("cli"));
}

fn an_illegal_topic_or_receiver_is_refused(setup: &Setup) {
    let broker = setup.start();
    let deep = ["x"; 129].join("/");
    Busway::on(setup, &broker, &["publish", &deep, ""]).run().expect_wrong_usage(&["128 levels"]);
    let finished = Busway::on(setup, &broker, &["publish", "light", "", "--for", ".anna"]).run();
    finished.expect_wrong_usage(&["--for", "'.'"]);
}

//! `busway send`: messages and broadcasts.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::program::{Busway, endpoint};
use crate::support::{Delivery, GREETING, Setup, code, promises};

promises! {
    everywhere {
        a_message_is_delivered_and_confirmed
        json_says_so_too
        a_message_to_nobody_is_an_error
        an_unconfirmed_message_to_nobody_is_none
        a_mask_makes_a_broadcast
        a_broadcast_to_nobody_is_no_error
        every_qos_can_be_asked_for
        the_sender_has_the_name_that_was_given
        the_sender_has_a_name_of_its_own_otherwise
        options_may_stand_anywhere
        a_payload_may_look_like_an_option
        an_illegal_target_is_refused
        what_is_sent_unconfirmed_arrives
    }
}

fn a_message_is_delivered_and_confirmed(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    assert_eq!(Busway::on(setup, &broker, &["-n", "cli", "send", "anna", "hello"]).output(), "OK\n");
    anna.expect(&Delivery::message("hello").from("cli"));
    anna.expect_nothing();
}

fn json_says_so_too(setup: &Setup) {
    let broker = setup.start();
    let _anna = broker.peer("anna");
    assert_eq!(Busway::on(setup, &broker, &["--json", "send", "anna", "hello"]).output(), "{\"result\":\"ok\"}\n");
}

fn a_message_to_nobody_is_an_error(setup: &Setup) {
    let broker = setup.start();
    for format in [&[][..], &["--json"]] {
        let finished = Busway::on(setup, &broker, &[format, &["send", "nobody", "hello"]].concat()).run();
        finished.expect_failure(1, &["nobody", "no such client"]);
    }
}

fn an_unconfirmed_message_to_nobody_is_none(setup: &Setup) {
    let broker = setup.start();
    for qos in ["no", "realtime"] {
        assert_eq!(Busway::on(setup, &broker, &["send", "--qos", qos, "nobody", "hello"]).output(), "OK\n");
    }
}

fn a_mask_makes_a_broadcast(setup: &Setup) {
    let broker = setup.start();
    let mut peers = [broker.peer("room.lamp"), broker.peer("room.fan")];
    for mask in ["room.*", "room.?", "*"] {
        Busway::on(setup, &broker, &["-n", "cli", "send", mask, mask]).output();
        for peer in &mut peers {
            peer.expect(&Delivery::broadcast(mask).from("cli"));
        }
    }
}

fn a_broadcast_to_nobody_is_no_error(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(Busway::on(setup, &broker, &["send", "nobody.*", "hello"]).output(), "OK\n");
}

fn every_qos_can_be_asked_for(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    for qos in ["no", "processed", "realtime", "realtime-processed"] {
        Busway::on(setup, &broker, &["-n", "cli", "send", "anna", "hello", "--qos", qos]).output();
        let delivery = Delivery::message("hello").from("cli");
        anna.expect(&if qos.starts_with("realtime") { delivery.realtime() } else { delivery });
        broker.wait_until_gone("cli");
    }
}

fn the_sender_has_the_name_that_was_given(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    Busway::on(setup, &broker, &["--name", "my name", "send", "anna", "hello"]).output();
    anna.expect(&Delivery::message("hello").from("my name"));
}

fn the_sender_has_a_name_of_its_own_otherwise(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    let mut names = Vec::new();
    for _ in 0..2 {
        Busway::on(setup, &broker, &["send", "anna", "hello"]).output();
        names.push(anna.receive_delivery().sender);
    }
    assert!(names.iter().all(|name| name.starts_with("cli.")), "{names:?}");
    assert_ne!(names[0], names[1]);
}

fn options_may_stand_anywhere(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    let endpoint = endpoint(setup, &broker);
    let arguments = ["send", "anna", "--qos", "processed", "-c", &endpoint, "hello", "--json", "-n", "cli"];
    assert_eq!(Busway::new(&arguments).output(), "{\"result\":\"ok\"}\n");
    anna.expect(&Delivery::message("hello").from("cli"));
}

fn a_payload_may_look_like_an_option(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    Busway::on(setup, &broker, &["-n", "cli", "send", "anna", "--", "--json"]).output();
    anna.expect(&Delivery::message("--json").from("cli"));
}

fn an_illegal_target_is_refused(setup: &Setup) {
    let broker = setup.start();
    let long = "x".repeat(1_025);
    Busway::on(setup, &broker, &["send", &long, "hello"]).run().expect_wrong_usage(&["1025 bytes"]);
    let deep = ["*"; 129].join(".");
    Busway::on(setup, &broker, &["send", &deep, "hello"]).run().expect_wrong_usage(&["128 levels"]);
}

fn what_is_sent_unconfirmed_arrives(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    for round in 0..5_u8 {
        let payload = vec![round; 4 << 20];
        let send = Busway::on(setup, &broker, &["-n", "cli", "send", "--qos", "no", "anna"]).standard_input(&payload);
        assert_eq!(send.output(), "OK\n");
        anna.expect(&Delivery::message(&payload).from("cli"));
        broker.wait_until_gone("cli");
    }
}

/// A broker that lets one client in.
fn let_in(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().expect("a connection comes");
    stream.write_all(&GREETING).expect("the client reads");
    stream.read_exact(&mut [0; GREETING.len()]).expect("the client greets");
    stream.write_all(&[code::OK]).expect("the client reads");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("the client has a name");
    stream.read_exact(&mut vec![0; u16::from_le_bytes(length).into()]).expect("the name is whole");
    stream.write_all(&[code::OK]).expect("the client reads");
    stream
}

/// Commands that send 64 MiB, more than lies between two sockets, to a broker that deals with its client in that way and
/// keeps the connection or not.
fn expect_unsent(treat: fn(TcpStream) -> Option<TcpStream>, code: i32, words: &str) {
    for (command, qos) in [(&["send"][..], "no"), (&["publish"], "realtime"), (&["rpc", "notify"], "no")] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let place = listener.local_addr().expect("it is bound").to_string();
        let options = ["-c", &place, "--timeout", "2"];
        let arguments = [&options, command, &["--qos", qos, "there"]].concat();
        let running = Busway::new(&arguments).standard_input(vec![0; 64 << 20]).start();
        let _stream = treat(let_in(&listener));
        running.finish().expect_failure(code, &["there", words]);
    }
}

#[test]
fn what_the_broker_does_not_take_is_told() {
    expect_unsent(Some, 1, "within 2 s");
}

#[test]
fn a_broker_that_leaves_amid_a_payload_is_told() {
    let leave = |mut stream: TcpStream| {
        stream.read_exact(&mut [0; 1024]).expect("the payload begins");
        None
    };
    expect_unsent(leave, 3, "closed the connection");
}

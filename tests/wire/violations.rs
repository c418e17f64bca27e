//! Frames that no client should send: they cost their sender the connection, and nobody else anything.

use crate::support::{Delivery, GREETING, Request, Setup, operation, promises, registration};

promises! {
    everywhere {
        an_unknown_operation_ends_the_connection
        a_missing_nul_ends_the_connection
        a_target_that_is_not_utf8_ends_the_connection
        a_topic_that_is_not_utf8_ends_the_connection
        a_violation_disturbs_nobody_else
        what_came_before_a_violation_is_done
        what_comes_after_a_violation_is_not_done
        any_prefix_of_any_frame_may_be_the_last_of_a_client
        noise_instead_of_frames_harms_nobody
        noise_instead_of_a_handshake_harms_nobody
    }
    busway_only {
        "the options of the reference have no limit on payloads": a_payload_above_the_limit_ends_the_connection
        "the options of the reference have no limit on payloads": a_payload_at_the_limit_arrives
        "the reference waits for them until its timeout": a_length_of_four_gibibytes_ends_the_connection
    }
}

/// Sends the frame from a client of its own, which has to lose its connection, and its name with it.
fn expect_violation(setup: &Setup, violations: &[Request]) {
    let broker = setup.start();
    let mut witness = broker.subscriber("witness", &["light"]);
    for violation in violations {
        for request in [violation.clone(), violation.clone().confirmed(), violation.clone().realtime()] {
            let mut culprit = broker.successor("culprit");
            culprit.send(&request);
            culprit.expect_closed();
        }
    }
    broker.wait_until_gone("culprit");
    witness.expect_nothing();
    broker.expect_service();
}

fn an_unknown_operation_ends_the_connection(setup: &Setup) {
    let unknown = [0x07, 0x08, 0x10, 0x11, 0x14, 0x20, 0x3E, 0x3F];
    expect_violation(setup, &unknown.map(|operation| Request::raw(operation, b"witness\0hello")));
}

fn a_missing_nul_ends_the_connection(setup: &Setup) {
    let mut violations = Vec::new();
    for body in [&b""[..], b"witness"] {
        for operation in [operation::PUBLISH, operation::PUBLISH_FOR, operation::MESSAGE, operation::BROADCAST] {
            violations.push(Request::raw(operation, body));
        }
    }
    // A publication for one receiver needs two of them.
    violations.push(Request::raw(operation::PUBLISH_FOR, b"light\0witness"));
    violations.push(Request::raw(operation::PUBLISH_FOR, b"light\0"));
    expect_violation(setup, &violations);
}

fn a_target_that_is_not_utf8_ends_the_connection(setup: &Setup) {
    let violations = [
        Request::raw(operation::MESSAGE, b"witness\xFF\0hello"),
        Request::raw(operation::BROADCAST, b"\xC3\0hello"),
        Request::raw(operation::PUBLISH_FOR, b"light\0\xFE\0hello"),
    ];
    expect_violation(setup, &violations);
}

fn a_topic_that_is_not_utf8_ends_the_connection(setup: &Setup) {
    let violations = [
        Request::raw(operation::PUBLISH, b"light\xFF\0hello"),
        Request::raw(operation::PUBLISH_FOR, b"\xED\xA0\x80\0witness\0hello"),
        Request::raw(operation::SUBSCRIBE, b"\xFF"),
        Request::raw(operation::SUBSCRIBE, b"light\0\xC0\x80"),
        Request::raw(operation::UNSUBSCRIBE, b"light/\xFF"),
        Request::raw(operation::EXCLUDE, b"light\0dark\0\xFF"),
        Request::raw(operation::UNEXCLUDE, b"\xF8"),
    ];
    expect_violation(setup, &violations);
}

fn a_violation_disturbs_nobody_else(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    let mut bert = broker.peer("bert");
    for round in 0..50 {
        let mut culprit = broker.peer(&format!("culprit {round}"));
        culprit.send(&Request::raw(0x3F, b"no such operation\0"));
        let payload = format!("round {round}");
        anna.perform(Request::message("bert", &payload));
        bert.expect(&Delivery::message(&payload).from("anna"));
    }
}

fn what_came_before_a_violation_is_done(setup: &Setup) {
    let broker = setup.start();
    let mut witness = broker.peer("witness");
    let mut culprit = broker.peer("culprit");
    culprit.write([Request::message("witness", "farewell").bytes(), Request::raw(0x3F, b"\0").bytes()].concat());
    witness.expect(&Delivery::message("farewell").from("culprit"));
    broker.wait_until_gone("culprit");
}

fn what_comes_after_a_violation_is_not_done(setup: &Setup) {
    let broker = setup.start();
    let mut witness = broker.peer("witness");
    let mut culprit = broker.peer("culprit");
    culprit.write([Request::raw(0x3F, b"\0").bytes(), Request::message("witness", "too late").bytes()].concat());
    culprit.expect_closed();
    broker.wait_until_gone("culprit");
    witness.expect_nothing();
}

fn any_prefix_of_any_frame_may_be_the_last_of_a_client(setup: &Setup) {
    let broker = setup.start();
    let mut witness = broker.peer("witness");
    let frames = [
        Request::publish("light", "on"),
        Request::subscribe(&["light", "dark"]),
        Request::unsubscribe(&["light"]),
        Request::exclude(&["light"]),
        Request::unexclude(&["light"]),
        Request::publish("light", "on").only_for("witness"),
        Request::message("nobody", "hello"),
        Request::broadcast("nobody.*", "hello"),
        Request::raw(0, b"nothing\0"),
    ];
    for (number, frame) in frames.into_iter().enumerate() {
        let bytes = frame.confirmed().bytes();
        for length in 0..=bytes.len() {
            // The whole handshake in one write: what this is about comes after it.
            let name = format!("leaving {number}.{length}");
            let mut peer = broker.connect();
            peer.write([&GREETING[..], &registration(name.as_bytes()), &bytes[..length]].concat());
        }
        witness.expect_nothing();
    }
    broker.expect_service();
}

fn noise_instead_of_frames_harms_nobody(setup: &Setup) {
    let broker = setup.start();
    let mut witness = broker.peer("witness");
    for seed in 1..=40 {
        let mut peer = broker.peer(&format!("noisy {seed}"));
        // The broker may well close before it has taken everything.
        let _ = peer.try_write(noise(seed));
    }
    witness.perform(Request::subscribe(&["light"]));
    broker.expect_service();
}

fn noise_instead_of_a_handshake_harms_nobody(setup: &Setup) {
    let broker = setup.start();
    let mut witness = broker.peer("witness");
    for seed in 1..=40 {
        let mut peer = broker.connect();
        let _ = peer.try_write(noise(seed));
    }
    witness.perform(Request::subscribe(&["light"]));
    broker.expect_service();
}

/// The same bytes for the same seed, so that a failure can be repeated.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    let mut bytes: Vec<u8> = (0..4_096).map(|_| next()).collect();
    // Lengths that a broker believes would make it wait; small ones make it look at the bodies.
    for head in bytes.chunks_mut(64) {
        head[6] = 0;
        head[7] = 0;
        head[8] = 0;
    }
    bytes
}

fn a_payload_above_the_limit_ends_the_connection(setup: &Setup) {
    let broker = setup.start_with(&["--max-payload", "1000"]);
    let mut witness = broker.peer("witness");
    let mut culprit = broker.peer("culprit");
    culprit.write(&Request::message("witness", [0; 4_000]).bytes()[..9]);
    // The head is enough: nobody has to send what will not be taken.
    culprit.expect_closed();
    witness.expect_nothing();
    broker.expect_service();
}

fn a_payload_at_the_limit_arrives(setup: &Setup) {
    let broker = setup.start_with(&["--max-payload", "1000"]);
    let mut witness = broker.peer("witness");
    let mut sender = broker.peer("anna");
    sender.perform(Request::message("witness", [1; 900]));
    witness.expect(&Delivery::message([1; 900]).from("anna"));
    let mut exact = broker.peer("bert");
    // Whether the address counts as payload is the broker's choice; a thousand bytes in all are within it either way.
    exact.perform(Request::message("witness", [1; 992]));
    witness.expect(&Delivery::message([1; 992]).from("bert"));
}

fn a_length_of_four_gibibytes_ends_the_connection(setup: &Setup) {
    let broker = setup.start();
    let mut culprit = broker.peer("culprit");
    culprit.write(b"\0\0\0\0\x12\xFF\xFF\xFF\xFF");
    culprit.expect_closed();
    broker.expect_service();
}

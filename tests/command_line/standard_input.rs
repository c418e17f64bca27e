//! Payloads from standard input.

use crate::program::Busway;
use crate::support::{Delivery, Setup, promises};

promises! {
    everywhere {
        without_a_payload_standard_input_is_read
        a_dash_means_standard_input
        nothing_on_standard_input_is_an_empty_payload
        line_ends_stay_as_they_are
        any_bytes_can_be_sent
        more_than_a_pipe_holds_can_be_sent
        standard_input_is_left_alone_when_there_is_a_payload
        publications_take_it_too
    }
}

/// What `send anna` with this at the end of the command line delivers of that standard input.
fn sent(setup: &Setup, payload: &[&str], input: &[u8]) -> Vec<u8> {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    let send = Busway::on(setup, &broker, &[&["send", "anna"], payload].concat()).standard_input(input);
    assert_eq!(send.output(), "OK\n");
    let payload = anna.receive_delivery().payload;
    anna.expect_nothing();
    payload
}

fn without_a_payload_standard_input_is_read(setup: &Setup) {
    assert_eq!(sent(setup, &[], b"hello"), b"hello");
}

fn a_dash_means_standard_input(setup: &Setup) {
    assert_eq!(sent(setup, &["-"], b"hello"), b"hello");
}

fn nothing_on_standard_input_is_an_empty_payload(setup: &Setup) {
    assert_eq!(sent(setup, &[], b""), b"");
}

fn line_ends_stay_as_they_are(setup: &Setup) {
    assert_eq!(sent(setup, &[], b"one\r\ntwo\n\n"), b"one\r\ntwo\n\n");
}

fn any_bytes_can_be_sent(setup: &Setup) {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    assert_eq!(sent(setup, &["-"], &every_byte), every_byte);
}

fn more_than_a_pipe_holds_can_be_sent(setup: &Setup) {
    let large: Vec<u8> = (0..2_u32 << 20).flat_map(u32::to_le_bytes).collect();
    assert!(sent(setup, &[], &large) == large, "8 MiB arrive as they were");
}

fn standard_input_is_left_alone_when_there_is_a_payload(setup: &Setup) {
    assert_eq!(sent(setup, &["given"], b"ignored"), b"given");
    assert_eq!(sent(setup, &[""], b"ignored"), b"");
}

fn publications_take_it_too(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.subscriber("anna", &["light"]);
    for arguments in [&["-n", "cli", "publish", "light"][..], &["-n", "cli", "publish", "light", "-"]] {
        Busway::on(setup, &broker, arguments).standard_input(b"\x00\xFF").output();
        anna.expect(&Delivery::publication("light", b"\x00\xFF").from("cli"));
        broker.wait_until_gone("cli");
    }
}

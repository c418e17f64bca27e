//! Who may enter, and under which name.

use rustix::process::Signal;

use crate::support::{BrokerProcess, Delivery, GREETING, Request, Setup, code, eventually, promises, registration};

promises! {
    everywhere {
        the_broker_greets_first
        a_client_that_repeats_the_greeting_and_names_itself_is_registered
        the_handshake_may_come_one_byte_at_a_write
        the_handshake_and_the_first_frames_may_come_in_one_write
        the_handshake_and_the_first_frame_may_be_split_anywhere
        a_wrong_greeting_byte_is_refused_with_75
        another_protocol_version_is_refused_with_75
        an_empty_name_is_refused_with_72
        a_name_with_a_leading_dot_is_refused_with_72
        a_name_that_is_not_utf8_is_closed_without_a_code
        a_name_that_is_taken_is_refused_with_76_and_its_owner_stays
        a_name_is_free_again_when_its_owner_has_gone
        a_name_may_hold_anything_else_that_is_utf8
        a_name_of_255_bytes_is_accepted
        names_differ_by_case
        force_register_drops_the_older_client_of_that_name
        force_register_takes_no_name_from_a_secondary
        a_client_that_says_nothing_is_dropped
        a_client_that_stalls_after_the_greeting_is_dropped
        a_client_that_stalls_inside_its_name_is_dropped
        a_client_that_leaves_inside_the_handshake_disturbs_nobody
    }
    busway_only {
        "the reference says it each time": what_is_wrong_with_many_handshakes_is_said_without_filling_the_log
        "the reference registers it, and every frame it sends is misread": a_name_with_a_nul_is_refused_with_72
        "the reference has no limit on names": a_name_of_256_bytes_is_refused_with_72
        "the reference has no limit on names": a_name_of_65535_bytes_is_refused_with_72
    }
    busway_unix_only {
        "over UNIX the broker sees the end before it has read what comes before; the reference refuses the name until then": a_client_that_has_sent_much_and_left_may_come_back_at_once
    }
    reference_only {
        the_reference_registers_a_name_with_a_nul
        the_reference_registers_a_name_of_65535_bytes
        the_reference_refuses_a_name_until_it_has_read_all_of_its_owner_before
    }
}

fn the_broker_greets_first(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(broker.connect().read(3), [0xEB, 0x01, 0x00]);
}

fn a_client_that_repeats_the_greeting_and_names_itself_is_registered(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.connect();
    peer.expect_greeting();
    peer.write(GREETING);
    assert_eq!(peer.read_code(), code::OK, "the greeting is accepted");
    peer.write([4, 0]);
    peer.write(b"anna");
    assert_eq!(peer.read_code(), code::OK, "the name is accepted");
    peer.is_now("anna");
    peer.expect_nothing();
}

fn the_handshake_may_come_one_byte_at_a_write(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.connect();
    for byte in [&GREETING[..], &registration(b"anna")].concat() {
        peer.write([byte]);
    }
    peer.expect_greeting();
    assert_eq!(peer.read(2), [code::OK, code::OK]);
    peer.is_now("anna");
    peer.expect_nothing();
}

fn the_handshake_and_the_first_frames_may_come_in_one_write(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.connect();
    let subscribe = Request::subscribe(&["light/#"]).confirmed().op_id(1);
    let publish = Request::publish("light/level", "87").confirmed().op_id(2);
    peer.write([&GREETING[..], &registration(b"anna"), &subscribe.bytes(), &publish.bytes()].concat());
    peer.expect_greeting();
    assert_eq!(peer.read(2), [code::OK, code::OK]);
    peer.expect_confirmation(1, code::OK);
    peer.expect(&Delivery::publication("light/level", "87").from("anna"));
    peer.expect_confirmation(2, code::OK);
}

fn the_handshake_and_the_first_frame_may_be_split_anywhere(setup: &Setup) {
    let broker = setup.start();
    for split in 0.. {
        // A name of its own for every round, so that none waits for the last one to be free again.
        let name = format!("anna{split:04}");
        let first = Request::message(&name, "hello");
        let bytes = [&GREETING[..], &registration(name.as_bytes()), &first.bytes()].concat();
        if split > bytes.len() {
            break;
        }
        let mut peer = broker.connect();
        peer.expect_greeting();
        peer.write(&bytes[..split]);
        // What the broker can already answer it does, and so has read everything before the split.
        let answered = [3, 5 + name.len()].iter().filter(|end| split >= **end).count();
        let mut codes = peer.read(answered);
        peer.write(&bytes[split..]);
        codes.extend(peer.read(2 - answered));
        assert_eq!(codes, [code::OK, code::OK], "split after {split} bytes");
        peer.expect(&Delivery::message("hello").from(&name));
    }
}

fn a_wrong_greeting_byte_is_refused_with_75(setup: &Setup) {
    let broker = setup.start();
    for byte in [0x00, 0xEA, 0xFF] {
        let mut peer = broker.connect();
        peer.expect_greeting();
        peer.write([byte, 0x01, 0x00]);
        assert_eq!(peer.read_code(), code::NOT_SUPPORTED, "greeting byte {byte:#04x}");
        peer.expect_closed();
    }
}

fn another_protocol_version_is_refused_with_75(setup: &Setup) {
    let broker = setup.start();
    for [low, high] in [[0x00, 0x00], [0x02, 0x00], [0x01, 0x01]] {
        let mut peer = broker.connect();
        peer.expect_greeting();
        peer.write([0xEB, low, high]);
        assert_eq!(peer.read_code(), code::NOT_SUPPORTED, "version {high:02x}{low:02x}");
        peer.expect_closed();
    }
}

fn an_empty_name_is_refused_with_72(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(broker.refusal(""), code::DATA);
}

fn a_name_with_a_leading_dot_is_refused_with_72(setup: &Setup) {
    let broker = setup.start();
    for name in [".", ".broker", ".anna", ".anna%%1"] {
        assert_eq!(broker.refusal(name), code::DATA, "{name}");
    }
    broker.expect_service();
}

fn a_name_that_is_not_utf8_is_closed_without_a_code(setup: &Setup) {
    let broker = setup.start();
    for name in [&b"\xFF"[..], b"ann\xC3", b"\xED\xA0\x80"] {
        let mut peer = broker.connect();
        peer.expect_greeting();
        peer.write(GREETING);
        assert_eq!(peer.read_code(), code::OK);
        peer.write(registration(name));
        peer.expect_closed();
    }
}

fn a_name_that_is_taken_is_refused_with_76_and_its_owner_stays(setup: &Setup) {
    let broker = setup.start();
    let mut owner = broker.peer("anna");
    assert_eq!(broker.refusal("anna"), code::BUSY);
    owner.expect_nothing();
    let mut other = broker.peer("bert");
    other.perform(Request::message("anna", "still you?"));
    owner.expect(&Delivery::message("still you?").from("bert"));
}

fn a_name_is_free_again_when_its_owner_has_gone(setup: &Setup) {
    let broker = setup.start();
    for _ in 0..3 {
        broker.successor("anna").expect_nothing();
    }
}

fn what_is_wrong_with_many_handshakes_is_said_without_filling_the_log(setup: &Setup) {
    const MANY: usize = 300;
    const SAYING: &str = "handshake not completed";
    const TELLING: &str = " more handshakes not completed";
    let mut broker = setup.start();
    let fail = |broker: &BrokerProcess| {
        for _ in 0..MANY {
            let mut peer = broker.connect();
            peer.expect_greeting();
            peer.write([0xEB, 9, 9]);
            assert_eq!(peer.read_code(), code::NOT_SUPPORTED);
            peer.expect_closed();
        }
    };
    let are_told = |broker: &BrokerProcess, all: usize| {
        let log = broker.log();
        let told = log.lines().filter_map(|line| line.strip_suffix(TELLING)?.rsplit(' ').next()?.parse::<usize>().ok());
        log.matches(SAYING).count() + told.sum::<usize>() == all
    };
    fail(&broker);
    eventually("all of them are said or counted", || are_told(&broker, MANY));
    assert!(broker.log().contains(TELLING), "{}", broker.log());
    // Also by a broker that ends before it is time to tell of them.
    fail(&broker);
    broker.signal(Signal::TERM);
    broker.wait();
    assert!(are_told(&broker, 2 * MANY), "{}", broker.log());
}

/// Publications, each to a topic of its own so that the broker has work to do; the last one's topic is `last`.
fn long_stream() -> Vec<u8> {
    let topics = (0..20_000).map(|number| format!("light/{number}"));
    let mut stream: Vec<u8> = topics.flat_map(|topic| Request::publish(&topic, "on").bytes()).collect();
    stream.extend(Request::publish("last", "off").bytes());
    stream
}

/// So do tools that send and end, and are started again.
fn a_client_that_has_sent_much_and_left_may_come_back_at_once(setup: &Setup) {
    let broker = setup.start();
    let mut reader = broker.subscriber("bert", &["last"]);
    let stream = long_stream();
    for _ in 0..10 {
        let mut anna = broker.peer("anna");
        anna.write(&stream);
        anna.leave();
        broker.peer("anna").leave();
        reader.expect(&Delivery::publication("last", "off").from("anna"));
    }
}

fn a_name_may_hold_anything_else_that_is_utf8(setup: &Setup) {
    let broker = setup.start();
    for name in ["a b", "größe.水", "*", "?", "a/b", "%", "a.", "\n", "\u{1F980}"] {
        let mut peer = broker.peer(name);
        peer.expect_nothing();
    }
}

fn a_name_of_255_bytes_is_accepted(setup: &Setup) {
    let broker = setup.start();
    broker.peer(&"n".repeat(255)).expect_nothing();
}

fn names_differ_by_case(setup: &Setup) {
    let broker = setup.start();
    let mut lower = broker.peer("anna");
    let mut upper = broker.peer("Anna");
    lower.perform(Request::message("Anna", "up"));
    upper.expect(&Delivery::message("up").from("anna"));
}

fn force_register_drops_the_older_client_of_that_name(setup: &Setup) {
    let broker = setup.start_with(&["--force-register"]);
    let mut older = broker.peer("anna");
    let mut newer = broker.peer("anna");
    older.expect_closed();
    let mut other = broker.peer("bert");
    other.perform(Request::message("anna", "which?"));
    newer.expect(&Delivery::message("which?").from("bert"));
}

fn force_register_takes_no_name_from_a_secondary(setup: &Setup) {
    let broker = setup.start_with(&["--force-register"]);
    let _primary = broker.peer("anna");
    let mut owner = broker.peer("anna%%1");
    assert_eq!(broker.refusal("anna%%1"), code::BUSY);
    owner.expect_nothing();
}

fn a_client_that_says_nothing_is_dropped(setup: &Setup) {
    let broker = setup.start_with(&["-t", "1"]);
    let mut peer = broker.connect();
    peer.expect_greeting();
    peer.expect_closed();
}

fn a_client_that_stalls_after_the_greeting_is_dropped(setup: &Setup) {
    let broker = setup.start_with(&["-t", "1"]);
    let mut peer = broker.connect();
    peer.expect_greeting();
    peer.write(GREETING);
    assert_eq!(peer.read_code(), code::OK);
    peer.expect_closed();
}

fn a_client_that_stalls_inside_its_name_is_dropped(setup: &Setup) {
    let broker = setup.start_with(&["-t", "1"]);
    let mut peer = broker.connect();
    peer.expect_greeting();
    peer.write(GREETING);
    assert_eq!(peer.read_code(), code::OK);
    peer.write([4, 0, b'a', b'n']);
    peer.expect_closed();
    // The half name was never taken.
    broker.peer("an").expect_nothing();
}

fn a_client_that_leaves_inside_the_handshake_disturbs_nobody(setup: &Setup) {
    let broker = setup.start();
    let mut witness = broker.peer("witness");
    let bytes = [&GREETING[..], &registration(b"anna")].concat();
    for length in 0..=bytes.len() {
        broker.connect().write(&bytes[..length]);
    }
    witness.expect_nothing();
    broker.expect_service();
}

fn a_name_with_a_nul_is_refused_with_72(setup: &Setup) {
    let broker = setup.start();
    for name in ["\0", "an\0na", "anna\0"] {
        assert_eq!(broker.refusal(name), code::DATA, "{name:?}");
    }
}

fn a_name_of_256_bytes_is_refused_with_72(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(broker.refusal(&"n".repeat(256)), code::DATA);
}

fn a_name_of_65535_bytes_is_refused_with_72(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(broker.refusal(&"n".repeat(65_535)), code::DATA);
    broker.expect_service();
}

fn the_reference_registers_a_name_with_a_nul(setup: &Setup) {
    let broker = setup.start();
    let mut receiver = broker.peer("bert");
    broker.peer("an\0na").perform(Request::message("bert", "hello"));
    // The receiver cannot tell the rest of the name from the payload.
    receiver.expect(&Delivery::message("na\0hello").from("an"));
}

fn the_reference_registers_a_name_of_65535_bytes(setup: &Setup) {
    let broker = setup.start();
    let name = "n".repeat(65_535);
    let mut receiver = broker.peer("bert");
    broker.peer(&name).perform(Request::message("bert", "hello"));
    receiver.expect(&Delivery::message("hello").from(&name));
}

fn the_reference_refuses_a_name_until_it_has_read_all_of_its_owner_before(setup: &Setup) {
    let broker = setup.start();
    // As much as a socket holds, of work for a broker.
    let stream = &long_stream()[..64 << 10];
    let is_refused = |_| {
        let mut owner = broker.successor("anna");
        broker.freeze();
        owner.write(stream);
        drop(owner);
        let mut other = broker.connect();
        other.write([&GREETING[..], &registration(b"anna")].concat());
        broker.signal(Signal::CONT);
        other.expect_greeting();
        assert_eq!(other.read_code(), code::OK);
        let code = other.read_code();
        assert!(matches!(code, code::OK | code::BUSY), "{code:#04x}");
        code == code::BUSY
    };
    assert!((0..100).any(is_refused), "nobody was refused");
}

//! The handshake of both sides.

use busway_net::wire::{
    BrokerHandshake, BrokerStep, ClientHandshake, ClientStep, HELLO, Limits, NameFault, Refusal, ResultCode,
    encode_name,
};

const GREETING: [u8; 3] = [0xEB, 0x01, 0x00];

/// What a broker says to a stream that arrives in these pieces, and what it leaves of it.
fn broker_says(limits: Limits, chunks: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut handshake = BrokerHandshake::new(limits);
    let (mut said, mut pending) = (Vec::new(), Vec::new());
    let mut chunks = chunks.iter();
    let mut is_over = false;
    for chunk in chunks.by_ref() {
        pending.extend_from_slice(chunk);
        while !is_over {
            let (used, step) = handshake.advance(&pending);
            match &step {
                BrokerStep::Incomplete => {
                    pending.drain(..used);
                    break;
                }
                BrokerStep::Reply(_) => {}
                BrokerStep::Register(_) | BrokerStep::Refuse(_) => is_over = true,
            }
            said.push(format!("{step:?}"));
            pending.drain(..used);
        }
    }
    (said, pending)
}

fn broker_says_in_any_split(limits: Limits, stream: &[u8], steps: &[BrokerStep<'_>], rest: &[u8]) {
    let expected = (steps.iter().map(|step| format!("{step:?}")).collect(), rest.to_vec());
    assert_eq!(broker_says(limits, &[stream]), expected, "all at once");
    assert_eq!(broker_says(limits, &stream.chunks(1).collect::<Vec<_>>()), expected, "byte by byte");
    for at in 0..stream.len() {
        let (one, other) = stream.split_at(at);
        assert_eq!(broker_says(limits, &[one, other]), expected, "cut at {at}");
    }
}

fn named(name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).expect("a test's name is short").to_le_bytes();
    [GREETING.as_slice(), &length, name].concat()
}

#[test]
fn the_greeting_has_its_bytes() {
    assert_eq!(HELLO, GREETING);
}

#[test]
fn a_broker_accepts_a_name_and_leaves_the_frames_behind_it() {
    let stream = [0xEB, 0x01, 0x00, 4, 0, b'a', b'.', b'b', b'1', 1, 2, 3];
    let steps = [BrokerStep::Reply(&[0x01]), BrokerStep::Register("a.b1")];
    broker_says_in_any_split(Limits::default(), &stream, &steps, &[1, 2, 3]);
}

#[test]
fn a_broker_accepts_secondary_and_longest_names() {
    for name in ["a%%1", "ключ", &"n".repeat(255)] {
        let steps = [BrokerStep::Reply(&[0x01]), BrokerStep::Register(name)];
        broker_says_in_any_split(Limits::default(), &named(name.as_bytes()), &steps, b"");
    }
}

#[test]
fn a_broker_refuses_another_greeting_or_version() {
    for stream in [[0xEB, 0x02, 0x00], [0xEB, 0x01, 0x01], [0xEC, 0x01, 0x00], *b"GET"] {
        let steps = [BrokerStep::Refuse(Refusal::Protocol)];
        broker_says_in_any_split(Limits::default(), &stream, &steps, b"");
    }
    assert_eq!(Refusal::Protocol.code(), Some(ResultCode(0x75)));
}

#[test]
fn a_broker_refuses_names_that_cannot_be() {
    let long = "n".repeat(256);
    let too_long = NameFault::TooLong { length: 256, limit: 255 };
    let cases = [
        ("", NameFault::Empty),
        (".broker", NameFault::LeadingDot),
        ("a\0b", NameFault::Nul),
        (long.as_str(), too_long),
    ];
    for (name, fault) in cases {
        let refusal = Refusal::Name(fault);
        let steps = [BrokerStep::Reply(&[0x01]), BrokerStep::Refuse(refusal)];
        broker_says_in_any_split(Limits::default(), &named(name.as_bytes()), &steps, b"");
        assert_eq!(refusal.code(), Some(ResultCode(0x72)));
    }
}

#[test]
fn a_broker_refuses_the_longest_name_of_all_once_it_has_read_it() {
    let stream = named(&vec![b'n'; 0xFFFF]);
    let refusal = Refusal::Name(NameFault::TooLong { length: 0xFFFF, limit: 255 });
    let steps = [BrokerStep::Reply(&[0x01]), BrokerStep::Refuse(refusal)].map(|step| format!("{step:?}"));
    for size in [1, 7, 1000, stream.len()] {
        let chunks: Vec<_> = stream.chunks(size).collect();
        assert_eq!(broker_says(Limits::default(), &chunks), (steps.to_vec(), vec![]));
        let (said, pending) = broker_says(Limits::default(), &[&stream[..stream.len() - 1]]);
        assert_eq!((said.len(), pending.len()), (1, 0), "not before its last byte, and nothing of it is kept");
    }
}

#[test]
fn a_broker_answers_nothing_to_a_name_that_is_not_text() {
    let steps = [BrokerStep::Reply(&[0x01]), BrokerStep::Refuse(Refusal::NameNotUtf8)];
    broker_says_in_any_split(Limits::default(), &named(&[b'a', 0xFF]), &steps, b"");
    assert_eq!(Refusal::NameNotUtf8.code(), None);
}

/// What a client does with a stream that arrives in these pieces, and what it leaves of it.
fn client_does(chunks: &[&[u8]]) -> (Vec<ClientStep>, Vec<u8>) {
    let mut handshake = ClientHandshake::new();
    let (mut done, mut pending) = (Vec::new(), Vec::new());
    let mut is_over = false;
    for chunk in chunks {
        pending.extend_from_slice(chunk);
        while !is_over {
            let (used, step) = handshake.advance(&pending);
            pending.drain(..used);
            match step {
                ClientStep::Incomplete => break,
                ClientStep::SendHello | ClientStep::SendName => {}
                ClientStep::Done | ClientStep::NotBroker | ClientStep::Refused(_) => is_over = true,
            }
            done.push(step);
        }
    }
    (done, pending)
}

fn client_does_in_any_split(stream: &[u8], steps: Vec<ClientStep>, rest: &[u8]) {
    let expected = (steps, rest.to_vec());
    assert_eq!(client_does(&[stream]), expected, "all at once");
    assert_eq!(client_does(&stream.chunks(1).collect::<Vec<_>>()), expected, "byte by byte");
    for at in 0..stream.len() {
        let (one, other) = stream.split_at(at);
        assert_eq!(client_does(&[one, other]), expected, "cut at {at}");
    }
}

#[test]
fn a_client_goes_through_the_handshake_and_leaves_the_frames_behind_it() {
    let stream = [0xEB, 0x01, 0x00, 0x01, 0x01, 0xFE, 1, 0, 0, 0, 0x01];
    let steps = vec![ClientStep::SendHello, ClientStep::SendName, ClientStep::Done];
    client_does_in_any_split(&stream, steps, &stream[5..]);
}

#[test]
fn a_client_reports_each_code_of_each_stage() {
    for code in [0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x00, 0xFF] {
        let refused = || ClientStep::Refused(ResultCode(code));
        client_does_in_any_split(&[0xEB, 0x01, 0x00, code], vec![ClientStep::SendHello, refused()], b"");
        let steps = vec![ClientStep::SendHello, ClientStep::SendName, refused()];
        client_does_in_any_split(&[0xEB, 0x01, 0x00, 0x01, code], steps, b"");
    }
}

#[test]
fn a_client_knows_what_is_no_broker_from_its_first_wrong_byte() {
    for stream in [b"HTTP".as_slice(), &[0xEB, 0x02, 0x00], &[0xEB, 0x01, 0x01], &[0xEC], &[0xEB, 0x00]] {
        let wrong = (1..=stream.len()).find(|end| !GREETING.starts_with(&stream[..*end])).expect("it is wrong");
        for end in 1..=stream.len() {
            let steps = if end < wrong { vec![] } else { vec![ClientStep::NotBroker] };
            assert_eq!(client_does(&[&stream[..end]]).0, steps, "{:?}", &stream[..end]);
        }
    }
}

#[test]
fn a_name_is_sent_behind_its_length() {
    assert_eq!(encode_name("a.b", &Limits::default()), Ok(vec![3, 0, b'a', b'.', b'b']));
    let longest = "n".repeat(255);
    let bytes = encode_name(&longest, &Limits::default()).expect("255 bytes are allowed");
    assert_eq!(bytes[..3], [0xFF, 0x00, b'n']);
    for (name, fault) in [("", NameFault::Empty), (".a", NameFault::LeadingDot), ("a\0", NameFault::Nul)] {
        assert_eq!(encode_name(name, &Limits::default()), Err(fault));
    }
    let fault = NameFault::TooLong { length: 256, limit: 255 };
    assert_eq!(encode_name(&"n".repeat(256), &Limits::default()), Err(fault));
    let generous = Limits { max_name: usize::MAX, ..Limits::default() };
    assert!(encode_name(&"n".repeat(0xFFFF), &generous).is_ok());
    assert!(encode_name(&"n".repeat(0x1_0000), &generous).is_err(), "the wire has two bytes for the length");
}

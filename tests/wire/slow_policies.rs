//! What the operator, or the client itself, says of a receiver that does not keep up.

use crate::support::{
    BrokerProcess, Call, CallError, Delivery, Frame, Request, Setup, WirePeer, code, eventually, number, promises, text,
};

promises! {
    busway_only {
        "the reference knows no policies": the_newest_are_dropped_and_told_in_a_ping
        "the reference knows no policies": the_oldest_are_dropped_and_told_in_a_ping
        "the reference knows no policies": only_the_latest_of_a_topic_waits
        "the reference knows no policies": a_sender_waits_and_is_then_told_that_it_was_in_vain
        "the reference knows no policies": a_client_asks_for_policies_by_a_call
        "the reference knows no policies": a_wrong_request_is_refused_and_changes_nothing
        "the reference knows no policies": a_client_that_floods_itself_is_neither_cut_nor_held_for_ever
    }
}

/// Together far more than a queue of 64 frames and the buffers of any socket hold.
const FRAMES: u32 = 1_536;
const FRAME_BYTES: usize = 32 << 10;
const INVALID_PARAMETERS: i16 = -32602;

fn payload(number: u32) -> Vec<u8> {
    let mut payload = vec![0; FRAME_BYTES];
    payload[..4].copy_from_slice(&number.to_le_bytes());
    payload
}

fn number_of(delivery: &Delivery) -> u32 {
    u32::from_le_bytes(delivery.payload[..4].try_into().expect("a payload starts with its number"))
}

fn start(setup: &Setup, policy: &str) -> BrokerProcess {
    setup.start_with(&["--queue-size", "64", "--slow-receivers", policy])
}

/// A client that hears nothing but what the test sends.
fn unwarned(broker: &BrokerProcess, name: &str) -> WirePeer {
    let mut peer = broker.peer(name);
    peer.perform(Request::unsubscribe(&[".broker/warn"]));
    peer
}

/// Publishes to a client that does not read.
fn stall(broker: &BrokerProcess, topics: &[&str]) -> (WirePeer, WirePeer) {
    let mut stalled = unwarned(broker, "stalled");
    stalled.perform(Request::subscribe(&["load/#", "end"]));
    let mut publisher = unwarned(broker, "publisher");
    for number in 0..FRAMES {
        publisher.perform(Request::publish(topics[number as usize % topics.len()], payload(number)));
    }
    (stalled, publisher)
}

/// What it gets when it reads again, and how many frames it is told to have missed.
fn resume(broker: &BrokerProcess, mut stalled: WirePeer, publisher: &mut WirePeer) -> (Vec<u32>, u32) {
    let lost = lost(broker);
    let mut numbers = Vec::new();
    while numbers.len() + (lost as usize) < FRAMES as usize {
        numbers.push(number_of(&stalled.receive_delivery()));
    }
    publisher.perform(Request::publish("end", ""));
    assert_eq!(stalled.receive_delivery().topic, "end");
    (numbers, stalled.gaps)
}

fn lost(broker: &BrokerProcess) -> u32 {
    let clients = unwarned(broker, "observer").ask("client.list");
    let clients = clients.as_map().expect("a map")[0].1.as_array().expect("a list").clone();
    let stalled = clients.iter().find(|client| text(client, "name") == "stalled");
    number(stalled.expect("it was not cut"), "lost_frames").try_into().expect("so many were not sent")
}

fn the_newest_are_dropped_and_told_in_a_ping(setup: &Setup) {
    let broker = start(setup, "drop-newest");
    let (stalled, mut publisher) = stall(&broker, &["load/a"]);
    let (numbers, gaps) = resume(&broker, stalled, &mut publisher);
    assert_eq!(numbers, (0..FRAMES - gaps).collect::<Vec<_>>());
    assert!(gaps > 0);
}

fn the_oldest_are_dropped_and_told_in_a_ping(setup: &Setup) {
    let broker = start(setup, "drop-oldest");
    let (stalled, mut publisher) = stall(&broker, &["load/a"]);
    let (numbers, gaps) = resume(&broker, stalled, &mut publisher);
    assert!(numbers.ends_with(&(FRAMES - 64..FRAMES).collect::<Vec<_>>()));
    assert_eq!(numbers.len() + gaps as usize, FRAMES as usize);
    assert!(gaps > 0 && numbers.windows(2).all(|pair| pair[0] < pair[1]));
}

fn only_the_latest_of_a_topic_waits(setup: &Setup) {
    let broker = start(setup, "latest");
    let (stalled, mut publisher) = stall(&broker, &["load/a", "load/b", "load/c"]);
    let (mut numbers, gaps) = resume(&broker, stalled, &mut publisher);
    assert_eq!(numbers.len() + gaps as usize, FRAMES as usize);
    let mut last = numbers.split_off(numbers.len() - 3);
    last.sort_unstable();
    assert_eq!(last, [FRAMES - 3, FRAMES - 2, FRAMES - 1], "one of each topic");
}

fn a_sender_waits_and_is_then_told_that_it_was_in_vain(setup: &Setup) {
    let broker = start(setup, "wait:0.05");
    let stalled = unwarned(&broker, "stalled");
    let mut sender = unwarned(&broker, "sender");
    let mut delivered = 0;
    while sender.confirm(Request::message("stalled", payload(delivered))) == code::OK {
        delivered += 1;
        assert!(delivered < FRAMES, "a full queue took everything");
    }
    // As long as it does not read, nobody else waits for it.
    for _ in 0..1_000 {
        assert_eq!(sender.confirm(Request::message("stalled", "")), code::NOT_DELIVERED);
    }
    assert_eq!(lost(&broker), 1_001);
    let mut stalled = stalled;
    for expected in 0..delivered {
        assert_eq!(number_of(&stalled.receive_delivery()), expected);
    }
    assert_eq!(sender.confirm(Request::message("stalled", "again")), code::OK);
    assert_eq!((stalled.receive_delivery().payload.as_slice(), stalled.gaps), (b"again".as_slice(), 1_001));
}

/// A call to the broker about policies, with a map of texts and lists of texts.
pub(crate) fn policy(policy: &str, topics: &[&str]) -> Call {
    let topics = topics.iter().map(|topic| rmpv::Value::from(*topic)).collect();
    let fields = vec![("policy".into(), policy.into()), ("topics".into(), rmpv::Value::Array(topics))];
    let mut parameters = Vec::new();
    rmpv::encode::write_value(&mut parameters, &rmpv::Value::Map(fields)).expect("memory takes it");
    Call::new(7, "client.slow_policy").with(&parameters)
}

fn a_client_asks_for_policies_by_a_call(setup: &Setup) {
    let broker = setup.start_with(&["--queue-size", "64"]);
    let mut stalled = unwarned(&broker, "stalled");
    stalled.call(&policy("drop-newest", &[])).expect("the broker knows it");
    stalled.call(&policy("latest", &["load/b"])).expect("the broker knows it");
    stalled.perform(Request::subscribe(&["load/#"]));
    let mut publisher = unwarned(&broker, "publisher");
    for number in 0..FRAMES {
        publisher.perform(Request::publish("load/b", payload(number)));
    }
    for number in 0..FRAMES {
        publisher.perform(Request::publish("load/a", payload(FRAMES + number)));
    }
    let lost = lost(&broker);
    let mut numbers = Vec::new();
    while numbers.len() + (lost as usize) < 2 * FRAMES as usize {
        numbers.push(number_of(&stalled.receive_delivery()));
    }
    let first_of_a = numbers.iter().position(|number| *number == FRAMES).expect("the first that waits of load/a");
    assert_eq!(numbers[first_of_a - 1], FRAMES - 1, "the latest of load/b");
    let of_a = &numbers[first_of_a..];
    assert!(
        of_a.iter().zip(FRAMES..).all(|(number, expected)| *number == expected),
        "the newest of load/a were dropped"
    );
}

fn a_wrong_request_is_refused_and_changes_nothing(setup: &Setup) {
    let broker = setup.start_with(&["--queue-size", "64", "--max-wait", "0.5"]);
    let mut peer = unwarned(&broker, "stalled");
    let long = "x".repeat(1025);
    for wrong in [policy("", &[]), policy("drop", &[]), policy("wait:0.6", &[]), policy("latest", &[&long])] {
        assert_eq!(peer.call(&wrong), Err(CallError { code: INVALID_PARAMETERS }));
    }
    for garbage in [&b""[..], b"\xC1", b"\x81\xA6policy", b"\x90", b"\x81\xA6policy\x01"] {
        let call = Call::new(8, "client.slow_policy").with(garbage);
        assert_eq!(peer.call(&call), Err(CallError { code: INVALID_PARAMETERS }));
    }
    let many: Vec<String> = (0..1_025).map(|number| format!("load/{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(peer.call(&policy("latest", &many)), Err(CallError { code: INVALID_PARAMETERS }));
    peer.call(&policy("wait:0.5", &["load/0"])).expect("this is allowed");
    let mut sender = unwarned(&broker, "sender");
    while sender.confirm(Request::message("stalled", payload(0))) == code::OK {}
    eventually("it is cut as before", || broker.log().contains("client \"stalled\" cut:"));
}

fn a_client_that_floods_itself_is_neither_cut_nor_held_for_ever(setup: &Setup) {
    for policy in ["wait:0.01", "drop-oldest", "latest"] {
        let broker = start(setup, policy);
        let mut peer = unwarned(&broker, "itself");
        let mut reader = peer.second_handle();
        let reading = std::thread::spawn(move || {
            let (mut confirmed, mut received) = (0, 0);
            while confirmed < FRAMES {
                match reader.receive() {
                    Frame::Confirmation { .. } => confirmed += 1,
                    Frame::Delivery(_) => received += 1,
                }
            }
            received
        });
        for number in 0..FRAMES {
            peer.send(&Request::message("itself", payload(number)).op_id(number).confirmed());
        }
        assert!(reading.join().expect("everything is confirmed") > 0, "{policy}");
        broker.expect_service();
    }
}

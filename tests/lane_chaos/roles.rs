//! What processes do that are killed, stopped or starved.

use std::time::Duration;

use busway::client::Transport;
use busway::{Client, LaneOff, Payload, QoS};
use busway_shm::Descriptor;
use busway_shm::layout::{flag, operation};

use crate::applicant::{Applicant, REQUEST};
use crate::child::Director;
use crate::descriptors::submit;
use crate::lane_peer::{LanePeer, message, publication};
use crate::place::segments;

/// Sizes of what a publisher sends: in the ring, in an arena, in a segment of its own.
const SIZES: [usize; 4] = [100, 3_000, 70_000, 5 << 20];
const LOOK: Duration = Duration::from_millis(10);
/// Longer than any test.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn play(role: &str, director: &Director) {
    let (role, argument) = role.split_once(' ').unwrap_or((role, ""));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match role {
        "echo" => director.say(&director.hear().expect("a word")),
        "publisher" => runtime.block_on(publish(director, argument)),
        "overwriter" => runtime.block_on(overwrite(director)),
        "subscriber" => runtime.block_on(subscribe(director, argument)),
        "holder" => runtime.block_on(hold(director)),
        "survivor" => runtime.block_on(survive(director, argument)),
        "answerer" => runtime.block_on(answer(director)),
        "reporter" => runtime.block_on(report(director)),
        "parent" => crate::forking::play(director),
        "steps" => take_steps(director, argument),
        _ => panic!("there is no role '{role}'"),
    }
}

pub(crate) async fn on_lane(director: &Director, name: &str) -> Client {
    switched(Client::connect(&*director.socket, name).await.expect("it connects")).await
}

/// A client that is on the lane.
pub(crate) async fn switched(client: Client) -> Client {
    while client.transport() != Transport::Lane {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    client
}

/// The payload with this number: its size follows from it, and each byte tells it.
pub(crate) fn numbered(number: u64) -> Vec<u8> {
    let which = usize::try_from(number % 16).expect("small");
    let length = if which == 15 { SIZES[3] } else { SIZES[which % 3] };
    let mut payload = vec![number.to_le_bytes()[0]; length];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload
}

/// The number of a payload, which has to be whole.
pub(crate) fn number_of(payload: &[u8]) -> u64 {
    let number = u64::from_le_bytes(*payload.first_chunk().expect("a number"));
    // Megabytes are not to be printed.
    assert!(payload == numbered(number), "payload {number} is whole");
    number
}

/// Publishes numbers, and tells each that was confirmed.
async fn publish(director: &Director, name: &str) {
    let client = on_lane(director, name).await;
    director.say("ready");
    for number in 0.. {
        if client.publish("numbers", numbered(number)).qos(QoS::Processed).await.is_err() {
            // The broker was killed.
            return director.stay();
        }
        director.say(&number.to_string());
    }
}

/// Publishes 200 numbers. When it is told to, it writes to memory for as many more, and looks after the connection
/// neither before that nor between.
async fn overwrite(director: &Director) {
    let client = on_lane(director, "overwriter").await;
    for number in 0..200 {
        client.publish("numbers", numbered(number)).qos(QoS::Processed).await.expect("the broker is there");
    }
    director.say("ready");
    director.hear();
    let mut loans = Vec::new();
    for number in 0..200 {
        let mut loan = client.loan(SIZES[1 + number % 2]);
        loan.fill(0xee);
        loans.push(loan);
    }
    director.say("written");
    director.stay();
}

/// Reads, and holds the last payloads.
async fn subscribe(director: &Director, name: &str) {
    let client = on_lane(director, name).await;
    client.subscribe("numbers").await.expect("it subscribes");
    director.say("ready");
    let mut held = std::collections::VecDeque::new();
    while let Some(frame) = client.recv().await {
        held.push_back(frame.into_payload());
        if held.len() > 20 {
            held.pop_front();
        }
    }
}

/// Takes payloads, closes its connection and keeps them, until it is told otherwise.
async fn hold(director: &Director) {
    let client = on_lane(director, "holder").await;
    client.subscribe("held").await.expect("it subscribes");
    director.say("ready");
    let mut held: Vec<Payload> = Vec::new();
    while held.iter().filter(|payload| payload.is_in_place()).count() < 4 {
        held.push(client.recv().await.expect("payloads come").into_payload());
    }
    client.close().await;
    drop(client);
    director.say("holds");
    let before: Vec<Vec<u8>> = held.iter().map(Payload::to_vec).collect();
    for payload in &held {
        number_of(payload);
    }
    while let Some(line) = director.hear() {
        match line.as_str() {
            "check" => {
                assert!(held.iter().zip(&before).all(|(payload, before)| payload.as_slice() == before));
                director.say("unchanged");
            }
            "drop" => {
                held.clear();
                director.say("dropped");
            }
            _ => panic!("'{line}' is not understood"),
        }
    }
}

/// Holds the payloads that it has received first, as many as it is told, also when the broker has ended.
async fn survive(director: &Director, count: &str) {
    let count: usize = count.parse().expect("a number");
    let client = on_lane(director, "survivor").await;
    client.subscribe("numbers").await.expect("it subscribes");
    director.say("ready");
    let mut held = Vec::new();
    while held.iter().filter(|payload: &&Payload| payload.is_in_place()).count() < count {
        held.push(client.recv().await.expect("payloads come").into_payload());
    }
    director.say("holds");
    // The end comes after what was sent before it.
    while let Some(frame) = client.recv().await {
        // A broker that ends in order says so.
        if frame.topic() == Some("numbers") {
            number_of(frame.payload());
        }
    }
    assert!(!client.is_connected());
    director.say("alone");
    director.hear();
    for payload in &held {
        number_of(payload);
    }
    assert!(!segments(std::process::id(), "arena").is_empty(), "they are where they were");
    drop((held, client));
    while !segments(std::process::id(), "").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    director.say("nothing is left");
}

/// Sends back what it is sent, and looks for the next for longer than others do; nothing that a clock asks for is due
/// within a day.
async fn answer(director: &Director) {
    let builder = Client::builder(&*director.socket, "answerer").timeout(DAY).keep_alive(DAY).busy_poll(LOOK);
    let client = switched(builder.connect().await.expect("it connects")).await;
    director.say("ready");
    while let Some(frame) = client.recv().await {
        let to = frame.sender().to_owned();
        client.send(&to, frame.into_payload()).await.expect("it is sent");
    }
}

/// Connects, echoes one large payload to `reporter.parent`, and tells how it went.
async fn report(director: &Director) {
    let client = Client::connect(&*director.socket, "reporter").await.expect("it connects");
    client.subscribe("to/reporter").await.expect("it subscribes");
    while client.transport() != Transport::Lane && matches!(client.lane_off_reason(), None | Some(LaneOff::Negotiating))
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let reason = client.lane_off_reason().map(|reason| reason.to_string());
    director.say(&format!("{} {}", client.transport(), reason.unwrap_or_default()));
    let mut places = 0;
    for _ in 0..10 {
        let frame = client.recv().await.expect("a payload comes");
        places += u32::from(frame.payload().is_in_place());
        let mut loan = client.loan(frame.payload().len());
        loan.copy_from_slice(frame.payload());
        client.publish("from/reporter", loan).qos(QoS::Processed).await.expect("it is confirmed");
    }
    director.say(&format!("in place {places}"));
    director.stay();
}

/// By hand, up to a step; there it stays.
fn take_steps(director: &Director, step: &str) {
    let applicant = Applicant::register(&director.socket, "steps");
    let stay = || {
        director.say("there");
        director.stay();
    };
    if step == "registered" {
        return stay();
    }
    applicant.write(REQUEST);
    if step == "asked" {
        return stay();
    }
    let peer = LanePeer::map(applicant);
    if step == "mapped" {
        return stay();
    }
    if step == "ready" {
        peer.applicant.write(crate::applicant::READY);
        return stay();
    }
    let mut peer = peer.switch();
    match step {
        "switched" => {}
        "written and not shown" => peer.write(message(), [b"steps", b"", b"x"], |_| {}),
        "shown and not rung" => {
            peer.write(message(), [b"steps", b"", b"x"], |_| {});
            peer.show();
        }
        "amid fragments" => {
            let flags = flag::FRAGMENT | flag::MORE;
            let first = Descriptor { flags, stream: 1.into(), offset: (1u64 << 20).into(), ..publication() };
            peer.push(first, [b"pieces", b"", &[7; 8192]], |_| {});
        }
        "arena wanted" => peer.want_arena(4 << 20),
        "arena announced" => {
            peer.want_arena(4 << 20);
            let introduction = peer.applicant.segment();
            let _taken = busway_shm::OwnSegment::take_over(&introduction.descriptor, introduction.length);
            return stay();
        }
        "arena ready" => drop(peer.arena(4 << 20)),
        "submitted" => {
            let arena = peer.arena(4 << 20);
            submit(&mut peer, &arena, 0, 1, "steps");
        }
        "introduction open" | "holding" => {
            let arena = peer.arena(4 << 20);
            submit(&mut peer, &arena, 0, 1, "steps");
            let introduction = peer.applicant.segment();
            if step == "holding" {
                peer.answer(operation::SEGMENT_OK, &introduction);
                peer.await_read();
                submit(&mut peer, &arena, 1, 1, "steps");
                while peer.await_record(0x12).flags & flag::IN_PLACE == 0 {}
            }
        }
        _ => panic!("there is no step '{step}'"),
    }
    stay();
}

pub(crate) const STEPS: &[&str] = &[
    "registered",
    "asked",
    "mapped",
    "ready",
    "switched",
    "written and not shown",
    "shown and not rung",
    "amid fragments",
    "arena wanted",
    "arena announced",
    "arena ready",
    "submitted",
    "introduction open",
    "holding",
];

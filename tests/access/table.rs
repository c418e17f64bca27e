//! Every operation, allowed and denied, over every transport.

use std::collections::HashMap;

use crate::DENIED;
use crate::attempt::Attempt::{
    self, Broadcast, Exclude, Message, Publish, PublishFor, Subscribe, Unexclude, Unsubscribe,
};
use crate::ruled::Ruled;
use crate::support::{Transport, WirePeer, code};

const OK: u8 = code::OK;
const NOBODY: u8 = code::NOT_REGISTERED;

const RULES: &str = r#"
[access."sensor.?"]
message = ["planner", "group.*"]
publish = ["sensor/+/value", "plant/#"]
subscribe = ["orders/#", "news/+", "news/+/#"]
broadcast = ["group.?", "solo"]

# The exact name goes before the mask.
[access."sensor.mute"]
publish = "none"

[access."sensor.free"]
message = "any"
publish = "any"
subscribe = "any"
broadcast = "any"

# For secondaries and those to whom is sent.
[access.planner]
[access."group.*"]
[access.hidden]
"#;

/// Who tries what, and the answer.
const ATTEMPTS: &[(&str, Attempt, u8)] = &[
    ("sensor.1", Message("planner"), OK),
    ("sensor.1", Message("planner%%1"), OK),
    ("sensor.1", Message("group.a"), OK),
    ("sensor.1", Message("group.nobody"), NOBODY),
    ("sensor.1", Message("hidden"), DENIED),
    // Whether there is somebody of a name is not told.
    ("sensor.1", Message("nobody"), DENIED),
    ("sensor.1", Message("group"), DENIED),
    ("sensor.1", Message("planner.x"), DENIED),
    ("sensor.1", Message(".broker"), DENIED),
    ("sensor.1", Message("sensor.1"), DENIED),
    ("sensor.1%%1", Message("planner"), OK),
    ("sensor.1%%1", Message("hidden"), DENIED),
    ("sensor.mute", Message("planner"), DENIED),
    ("sensor.free", Message("hidden"), OK),
    ("sensor.1", Publish("sensor/1/value"), OK),
    ("sensor.1", Publish("sensor/+/value"), OK),
    ("sensor.1", Publish("sensor/1/value/x"), DENIED),
    ("sensor.1", Publish("sensor/value"), DENIED),
    ("sensor.1", Publish("plant/a/b"), OK),
    ("sensor.1", Publish("plant"), DENIED),
    ("sensor.1", Publish("plants/a"), DENIED),
    ("sensor.1", Publish(""), DENIED),
    ("sensor.1", Publish(".broker/info"), DENIED),
    ("sensor.1%%1", Publish("plant/a"), OK),
    ("sensor.1%%1", Publish("other"), DENIED),
    ("sensor.mute", Publish("plant/a"), DENIED),
    ("sensor.free", Publish("anything/at/all"), OK),
    ("sensor.1", PublishFor("plant/a", "planner"), OK),
    ("sensor.1", PublishFor("plant/a", "group.nobody"), OK),
    ("sensor.1", PublishFor("plant/a", "hidden"), DENIED),
    ("sensor.1", PublishFor("other", "planner"), DENIED),
    ("sensor.mute", PublishFor("plant/a", "planner"), DENIED),
    ("sensor.free", PublishFor("other", "hidden"), OK),
    ("sensor.1", Subscribe("orders/a"), OK),
    ("sensor.1", Subscribe("orders/+/x"), OK),
    ("sensor.1", Subscribe("orders/#"), OK),
    ("sensor.1", Subscribe("news/x"), OK),
    // Two entries allow together what neither allows alone.
    ("sensor.1", Subscribe("news/#"), OK),
    ("sensor.1", Subscribe(".broker/warn"), OK),
    ("sensor.1", Subscribe("orders"), DENIED),
    ("sensor.1", Subscribe("#"), DENIED),
    ("sensor.1", Subscribe("+/a"), DENIED),
    ("sensor.1", Subscribe("+/#"), DENIED),
    ("sensor.1", Subscribe("secret/a"), DENIED),
    ("sensor.1", Subscribe(".broker/info"), DENIED),
    ("sensor.1", Subscribe(".broker/#"), DENIED),
    ("sensor.1%%1", Subscribe("orders/#"), OK),
    ("sensor.1%%1", Subscribe("#"), DENIED),
    ("sensor.mute", Subscribe("orders/a"), DENIED),
    ("sensor.free", Subscribe("#"), OK),
    ("sensor.1", Unsubscribe("secret/a"), OK),
    ("sensor.1", Exclude("#"), OK),
    ("sensor.1", Unexclude("#"), OK),
    ("sensor.1", Broadcast("group.a"), OK),
    ("sensor.1", Broadcast("group.a%%1"), OK),
    ("sensor.1", Broadcast("group.?"), OK),
    ("sensor.1", Broadcast("solo"), OK),
    ("sensor.1", Broadcast("group.*"), DENIED),
    ("sensor.1", Broadcast("?.a"), DENIED),
    ("sensor.1", Broadcast("?"), DENIED),
    ("sensor.1", Broadcast("*"), DENIED),
    ("sensor.1", Broadcast("solo.*"), DENIED),
    ("sensor.1%%1", Broadcast("*"), DENIED),
    ("sensor.mute", Broadcast("group.a"), DENIED),
    ("sensor.free", Broadcast("*"), OK),
];

/// A primary before its secondary.
const WHO: [&str; 4] = ["sensor.1", "sensor.1%%1", "sensor.mute", "sensor.free"];

/// Those to whom is sent.
fn bystanders(ruled: &Ruled) -> Vec<WirePeer> {
    ["planner", "planner%%1", "group.a", "hidden"].map(|name| ruled.peer(name)).into()
}

/// Twice: the second answer comes from what was remembered.
fn every_attempt_is_answered_by_the_rules_over(transport: Transport) {
    let ruled = Ruled::start(RULES);
    let _bystanders = bystanders(&ruled);
    let mut peers: HashMap<_, _> = WHO.map(|name| (name, ruled.peer_by(transport, name))).into();
    for (who, attempt, expected) in [ATTEMPTS, ATTEMPTS].concat() {
        let peer = peers.get_mut(who).expect("it is connected");
        assert_eq!(confirm(peer, attempt), expected, "{who}: {attempt:?}");
    }
}

/// The answer, and nothing of what the client may have sent to itself.
fn confirm(peer: &mut WirePeer, attempt: Attempt) -> u8 {
    use crate::support::Frame;
    peer.send(&attempt.request().confirmed().op_id(7));
    loop {
        match peer.receive() {
            Frame::Confirmation { op_id: 7, code } => return code,
            Frame::Confirmation { .. } => panic!("the confirmation of something else"),
            Frame::Delivery(_) => {}
        }
    }
}

#[test]
fn every_attempt_is_answered_by_the_rules_over_unix() {
    every_attempt_is_answered_by_the_rules_over(Transport::Unix);
}

#[test]
fn every_attempt_is_answered_by_the_rules_over_tcp() {
    every_attempt_is_answered_by_the_rules_over(Transport::Tcp);
}

#[tokio::test]
async fn every_attempt_is_answered_by_the_rules_over_the_lane() {
    let ruled = Ruled::start(RULES);
    let _bystanders = bystanders(&ruled);
    let mut clients = HashMap::new();
    for name in WHO {
        clients.insert(name, ruled.lane(name).await);
    }
    for (who, attempt, expected) in [ATTEMPTS, ATTEMPTS].concat() {
        assert_eq!(attempt.by(&clients[who]).await, expected, "{who}: {attempt:?}");
    }
}

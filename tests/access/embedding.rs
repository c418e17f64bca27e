//! Rules made in code, in a program with a broker inside.

use busway::broker::{AccessRules, Broker, ClientAccess, Permission};
use busway::client::SendError;
use busway::{Client, QoS, ResultCode, SlowPolicy};

use crate::DENIED;
use crate::support::TemporaryDirectory;

fn rules(filter: &str) -> AccessRules {
    let guest = ClientAccess::default().subscribe(Permission::only([filter])).message(Permission::only(["part"]));
    AccessRules::default().client("guest", guest).expect("the rules are correct")
}

#[tokio::test]
async fn the_parts_of_the_program_are_not_restricted_and_its_guests_are() {
    let directory = TemporaryDirectory::new();
    let socket = directory.join("bus.sock");
    let broker = Broker::builder().unix(&socket).access(rules("a/#")).start().await.expect("it starts");
    let part = broker.client("part").expect("it registers");
    part.subscribe("#").await.expect("it may");
    let guest = Client::connect(&socket, "guest").await.expect("it may connect");
    assert!(Client::connect(&socket, "other").await.is_err());
    guest.subscribe("a/b").await.expect("it may");
    assert_eq!(guest.subscribe("#").await.unwrap_err().code().0, DENIED);
    assert_eq!(guest.publish("a/b", "x").qos(QoS::Processed).await.unwrap_err().code().0, DENIED);
    guest.send("part", "hello").qos(QoS::Processed).await.expect("it may");
    part.publish("a/b", "x").qos(QoS::Processed).await.expect("it may");
    assert_eq!(guest.recv().await.expect("it is subscribed").topic(), Some("a/b"));
    assert_eq!(broker.stats().denied_frames, 2);

    broker.set_access(rules("b/#"));
    assert_eq!(guest.subscribe("a/b").await.unwrap_err().code().0, DENIED);
    part.publish("a/b", "not this").qos(QoS::Processed).await.expect("it may");
    part.send("guest", "this").qos(QoS::Processed).await.expect("it may");
    assert_eq!(guest.recv().await.expect("it is connected").payload().as_slice(), b"this");

    broker.set_access(AccessRules::default());
    assert!(guest.recv().await.is_none(), "who is not listed is cut");
    part.send("part", "still here").qos(QoS::Processed).await.expect("parts stay");

    broker.set_access(None);
    Client::connect(&socket, "guest")
        .await
        .expect("everybody may")
        .publish("any/thing", "x")
        .await
        .expect("everything");
    broker.shut_down().await;
}

/// Asking for a policy is a message to the broker: without the right to it the answer is a refusal, and no time-out.
#[tokio::test]
async fn a_policy_for_slow_receivers_takes_the_right_to_talk_to_the_broker() {
    let directory = TemporaryDirectory::new();
    let socket = directory.join("bus.sock");
    let broker = Broker::builder().unix(&socket).access(rules("a/#")).start().await.expect("it starts");
    for is_on_lane in [true, false] {
        let guest = Client::builder(&socket, "guest").shm(is_on_lane).connect().await.expect("it may connect");
        let refused = guest.slow_policy(SlowPolicy::DropOldest).await;
        assert_eq!(refused, Err(SendError::Refused(ResultCode::ACCESS_DENIED)));
        let refused = guest.subscribe("a/b").slow_policy(SlowPolicy::Latest).await;
        assert_eq!(refused, Err(SendError::Refused(ResultCode::ACCESS_DENIED)));
        guest.close().await;
        while broker.clients().clients.iter().any(|client| client.name == "guest") {
            tokio::task::yield_now().await;
        }
    }
    broker.shut_down().await;
}

//! What is not legal is refused before it is sent.

use busway::client::SendError;
use busway::{NameFault, PathFault, QoS};

use crate::bus::Place;
use crate::expectations::{EVERY_QOS, expect_message, expect_nothing};
use crate::promises::promises;

promises! {
    everywhere {
        an_address_with_a_nul_is_refused
        an_address_that_is_too_long_is_refused
        an_address_that_is_too_deep_is_refused
        one_illegal_filter_refuses_the_whole_request
        a_receiver_that_is_no_name_is_refused
        the_longest_and_deepest_addresses_are_taken
        a_refused_operation_gives_its_payload_back
    }
    over_sockets {
        a_payload_over_the_limit_is_refused_and_the_connection_stays
        the_longest_payload_arrives
    }
}

/// Tries an address in all places where one can stand.
async fn expect_fault(place: Place, topic: &str, name: &str, is_it: impl Fn(PathFault) -> bool) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    for qos in EVERY_QOS {
        let mut answers = vec![
            anna.publish(topic, "").qos(qos).await,
            anna.publish_for(topic, "anna", "").qos(qos).await,
            anna.send(name, "").qos(qos).await,
            anna.broadcast(name, "").qos(qos).await,
        ];
        answers.push(anna.subscribe(topic).qos(qos).await);
        answers.push(anna.unsubscribe(topic).qos(qos).await);
        answers.push(anna.exclude(topic).qos(qos).await);
        answers.push(anna.unexclude(topic).qos(qos).await);
        for answer in answers {
            match answer {
                Err(SendError::Address(fault)) => assert!(is_it(fault), "{fault:?}"),
                other => panic!("{other:?} instead of a refusal"),
            }
        }
    }
    assert!(anna.is_connected());
    expect_nothing(&anna).await;
}

async fn an_address_with_a_nul_is_refused(place: Place) {
    expect_fault(place, "light\0forged", "anna\0forged", |fault| fault == PathFault::Nul).await;
}

async fn an_address_that_is_too_long_is_refused(place: Place) {
    let long = "x".repeat(1_025);
    expect_fault(place, &long, &long, |fault| fault == PathFault::TooLong { length: 1_025, limit: 1_024 }).await;
}

async fn an_address_that_is_too_deep_is_refused(place: Place) {
    let is_it = |fault| fault == PathFault::TooDeep { limit: 128 };
    expect_fault(place, &["x"; 129].join("/"), &["x"; 129].join("."), is_it).await;
}

async fn one_illegal_filter_refuses_the_whole_request(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    assert_eq!(anna.subscribe(["light", "so\0und"]).await, Err(SendError::Address(PathFault::Nul)));
    anna.publish("light", "on").qos(QoS::Processed).await.expect("it is confirmed");
    expect_nothing(&anna).await;
}

async fn a_receiver_that_is_no_name_is_refused(place: Place) {
    let bus = place.open().await;
    let anna = bus.subscriber("anna", &["light"]).await;
    let long = "x".repeat(256);
    for (receiver, fault) in [
        ("", NameFault::Empty),
        (".broker", NameFault::LeadingDot),
        ("an\0na", NameFault::Nul),
        (long.as_str(), NameFault::TooLong { length: 256, limit: 255 }),
    ] {
        let answer = anna.publish_for("light", receiver, "on").qos(QoS::Processed).await;
        assert_eq!(answer, Err(SendError::Receiver(fault)));
    }
    expect_nothing(&anna).await;
}

async fn the_longest_and_deepest_addresses_are_taken(place: Place) {
    let bus = place.open().await;
    let name = "n".repeat(255);
    let client = bus.client(&name).await;
    for topic in ["t".repeat(1_024), vec!["deep"; 128].join("/")] {
        client.subscribe(&topic).await.expect("it is confirmed");
        client.publish(&topic, "here").qos(QoS::Processed).await.expect("it is confirmed");
        let frame = client.recv().await.expect("it comes");
        assert_eq!((frame.topic(), frame.sender()), (Some(topic.as_str()), name.as_str()));
    }
    client.send(&name, "to a long name").await.expect("it is accepted");
    expect_message(&client, &name, "to a long name").await;
}

async fn a_refused_operation_gives_its_payload_back(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    let error = anna.publish("li\0ght", "precious".to_owned()).try_enqueue().expect_err("a NUL is not legal");
    assert_eq!(error.payload.as_slice(), b"precious");
    assert!(error.to_string().contains("NUL"), "{error}");
}

async fn a_payload_over_the_limit_is_refused_and_the_connection_stays(place: Place) {
    let bus = place.open().await;
    let anna = bus.builder("anna").max_payload(1_000).connect().await.expect("the broker is there");
    for qos in EVERY_QOS {
        let answer = anna.send("anna", vec![0; 1_001]).qos(qos).await;
        assert_eq!(answer, Err(SendError::PayloadTooLong { length: 1_001, limit: 1_000 }));
    }
    let error = anna.publish("light", vec![7; 5_000]).try_enqueue().expect_err("it is over the limit");
    assert_eq!(error.payload.len(), 5_000);
    expect_nothing(&anna).await;
}

async fn the_longest_payload_arrives(place: Place) {
    let bus = place.open().await;
    let anna = bus.builder("anna").max_payload(1_000).connect().await.expect("the broker is there");
    anna.send("anna", vec![0; 1_000]).qos(QoS::Processed).await.expect("it is within the limit");
    assert_eq!(anna.recv().await.expect("it comes").payload().len(), 1_000);
}

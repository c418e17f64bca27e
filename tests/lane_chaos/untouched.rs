//! The broker reads and writes no byte of a payload that goes in place.
//!
//! A page of a mapping counts as resident from the first time that it is touched, by this process or by the kernel
//! for it. So the arenas in the broker's own list of mappings tell whether it has looked: as long as all receivers
//! read in place, nothing of them is resident; one receiver that needs copies, and it is.

use std::time::Duration;

use busway::client::Transport;
use busway::{Client, QoS};

use crate::place::{broker, segments, touched};
use crate::support::{BrokerProcess, WATCHDOG};

const LENGTH: usize = 16 << 20;

async fn connect(broker: &BrokerProcess, name: &str, on_lane: bool) -> Client {
    let builder = Client::builder(broker.socket(), name).shm(on_lane).timeout(WATCHDOG);
    let client = builder.connect().await.expect("it connects");
    while on_lane && client.transport() != Transport::Lane {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    client.subscribe("large").await.expect("it subscribes");
    client
}

/// Publishes one payload; says whether all receivers have read it in place.
async fn exchange(publisher: &Client, receivers: &[&Client], number: u8) -> bool {
    let mut loan = publisher.loan(LENGTH);
    loan.fill(number);
    publisher.publish("large", loan).qos(QoS::Processed).await.expect("it is confirmed");
    let mut places = 0;
    for receiver in receivers {
        let frame = receiver.recv().await.expect("it arrives");
        assert!(frame.payload().len() == LENGTH && frame.payload().iter().all(|byte| *byte == number));
        places += usize::from(frame.payload().is_in_place());
    }
    places == receivers.len()
}

#[test]
fn no_byte_of_a_payload_in_place_is_touched_by_the_broker() {
    let broker = broker(&[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let publisher = connect(&broker, "publisher", true).await;
        publisher.unsubscribe("large").await.expect("it has no use for it");
        let (one, two) = (connect(&broker, "one", true).await, connect(&broker, "two", true).await);
        let mut in_place = 0;
        for number in 0..200 {
            let (before, resident) = (touched(broker.id(), "arena"), broker.resident_bytes());
            // Without room in an arena, and before its introduction, a payload goes as a copy: that is seen, too.
            if exchange(&publisher, &[&one, &two], number).await {
                assert!(touched(broker.id(), "arena") <= before, "the broker has touched what went in place");
                assert!(segments(broker.id(), "arena").iter().any(|length| *length >= LENGTH as u64));
                let grown = broker.resident_bytes().saturating_sub(resident);
                assert!(grown < LENGTH / 4, "a payload of 16 MiB costs the broker {grown} bytes");
                in_place += 1;
                if in_place == 20 {
                    return;
                }
            }
        }
        panic!("only {in_place} payloads went in place");
    });
}

/// The means of the test above does see it when the broker touches a payload.
#[test]
fn a_receiver_on_a_socket_makes_the_broker_touch_payloads() {
    let broker = broker(&[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let publisher = connect(&broker, "publisher", true).await;
        publisher.unsubscribe("large").await.expect("it has no use for it");
        let socket = connect(&broker, "on.a.socket", false).await;
        for number in 0..10 {
            exchange(&publisher, &[&socket], number).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let resident = touched(broker.id(), "arena");
        assert!(resident >= LENGTH as u64 / 1024, "{resident} KiB of the arenas are resident");
    });
}

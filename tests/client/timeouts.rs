//! A broker that takes everything and confirms nothing.

use std::time::Duration;

use busway::client::SendError;
use busway::{Client, QoS, ResultCode};

use crate::expectations::expect_message;
use crate::fake_broker::{FakeBroker, FakePeer, delivery};
use crate::promises::promises;
use crate::support::code;

promises! {
    alone {
        a_confirmation_that_does_not_come_times_out
        timeouts_do_not_wait_for_the_next_keep_alive
        a_timeout_does_not_end_the_connection
        a_late_confirmation_is_not_taken_for_another
        only_the_overdue_time_out
    }
}

/// Long enough to connect in on a loaded machine: connecting has no more time than a confirmation.
const SHORT: Duration = Duration::from_secs(2);

async fn impatient() -> (Client, FakePeer) {
    let broker = FakeBroker::start();
    broker.connect(broker.builder("anna").timeout(SHORT)).await
}

async fn a_confirmation_that_does_not_come_times_out() {
    let (client, _peer) = impatient().await;
    let answers = tokio::join!(
        client.send("bert", "").qos(QoS::Processed),
        client.publish("light", "").qos(QoS::RealtimeProcessed),
        client.subscribe("light"),
    );
    assert_eq!(answers, (Err(SendError::Timeout), Err(SendError::Timeout), Err(SendError::Timeout)));
    assert_eq!(SendError::Timeout.code(), ResultCode::TIMEOUT);
    let confirmation = client.send("bert", "").qos(QoS::Processed).enqueue().await.expect("it is accepted");
    assert_eq!(confirmation.await, Err(SendError::Timeout));
}

async fn timeouts_do_not_wait_for_the_next_keep_alive() {
    let broker = FakeBroker::start();
    let builder = broker.builder("anna").timeout(SHORT).keep_alive(Duration::from_secs(3_600));
    let (client, _peer) = broker.connect(builder).await;
    assert_eq!(client.send("bert", "").qos(QoS::Processed).await, Err(SendError::Timeout));
}

async fn a_timeout_does_not_end_the_connection() {
    let (client, mut peer) = impatient().await;
    assert_eq!(client.send("bert", "").qos(QoS::Processed).await, Err(SendError::Timeout));
    assert!(client.is_connected());
    assert_eq!(client.publish("light", "on").await, Ok(()));
    peer.write(&delivery(0x12, b"bert\0still here")).await;
    expect_message(&client, "bert", "still here").await;
}

async fn a_late_confirmation_is_not_taken_for_another() {
    let (client, mut peer) = impatient().await;
    assert_eq!(client.send("bert", "first").qos(QoS::Processed).await, Err(SendError::Timeout));
    let late = peer.expect_frame().await;
    // The answer to the first comes while the second waits; the second is refused.
    let (answer, ()) = tokio::join!(client.send("bert", "second").qos(QoS::Processed), async {
        let second = peer.expect_frame().await;
        peer.acknowledge(late.op_id, code::OK).await;
        peer.acknowledge(second.op_id, code::NOT_DELIVERED).await;
    });
    assert_eq!(answer, Err(SendError::Refused(ResultCode::NOT_DELIVERED)));
}

async fn only_the_overdue_time_out() {
    let (client, mut peer) = impatient().await;
    let unanswered = client.send("bert", "unanswered").qos(QoS::Processed).enqueue().await.expect("it is accepted");
    let answered = client.send("bert", "answered").qos(QoS::Processed).enqueue().await.expect("it is accepted");
    peer.expect_frame().await;
    let frame = peer.expect_frame().await;
    peer.acknowledge(frame.op_id, code::OK).await;
    // On a machine so slow that both are overdue, both may say so.
    assert!(matches!(answered.await, Ok(()) | Err(SendError::Timeout)));
    assert_eq!(unanswered.await, Err(SendError::Timeout));
}

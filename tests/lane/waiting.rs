//! What a payload does that waits for an arena which does not come.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use busway::client::SendError;
use busway::{Client, QoS};

use crate::silent_broker::SilentBroker;
use crate::support::{Bus, keep, next, pattern};

const LENGTH: usize = 1 << 20;

/// Polls a future once, as its task would.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context: &mut Context<'_>| Poll::Ready(future.as_mut().poll(context))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_never_answers_gets_the_payloads_as_copies() {
    keep(async {
        let (mut broker, client) = SilentBroker::start().await;
        let sender = client.clone();
        let sending = tokio::spawn(async move {
            for number in 0..5 {
                sender.publish("copies", pattern(LENGTH, number)).await.unwrap();
            }
        });
        for number in 0..5 {
            assert!(broker.next_frame().await == pattern(LENGTH, number), "payload {number}");
        }
        assert_eq!(broker.questions, 1);
        sending.await.unwrap();
    })
    .await;
}

/// Others send all the time meanwhile, and that does not put the end of the wait off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_waits_is_not_held_up_by_others_that_do_not() {
    keep(async {
        let (mut broker, client) = SilentBroker::start().await;
        let mut large = pin!(client.publish("copies", pattern(LENGTH, 1)));
        assert!(poll_once(large.as_mut()).await.is_pending());
        let mut small = 0;
        while poll_once(large.as_mut()).await.is_pending() {
            client.publish("small", "small").await.unwrap();
            assert_eq!(broker.next_frame().await, b"small");
            small += 1;
            // Nothing here waits for anything, and the watchdog wants its turn.
            tokio::task::yield_now().await;
        }
        assert!(small > 0);
        assert!(broker.next_frame().await == pattern(LENGTH, 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_wait_does_not_wait_for_an_arena() {
    keep(async {
        let (mut broker, client) = SilentBroker::start().await;
        client.publish("copies", pattern(LENGTH, 1)).try_enqueue().unwrap();
        assert!(broker.next_frame().await == pattern(LENGTH, 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_was_cancelled_while_it_waited_leaves_nothing_behind() {
    keep(async {
        let (mut broker, client) = SilentBroker::start().await;
        {
            let cancelled = pin!(client.publish("copies", pattern(LENGTH, 1)));
            assert!(poll_once(cancelled).await.is_pending(), "it waits for an arena");
        }
        client.publish("small", "small").await.unwrap();
        client.publish("copies", pattern(LENGTH, 2)).await.unwrap();
        assert_eq!(broker.next_frame().await, b"small");
        assert!(broker.next_frame().await == pattern(LENGTH, 2));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_waits_ends_with_its_connection() {
    keep(async {
        let (mut broker, client) = SilentBroker::start().await;
        // Long enough to be waited for until the broker has gone.
        let sending =
            tokio::spawn(async move { client.publish("copies", vec![0; 200 << 20]).qos(QoS::Processed).await });
        broker.expect_question().await;
        broker.leave();
        assert!(matches!(sending.await.unwrap(), Err(SendError::Disconnected)));
    })
    .await;
}

async fn expect_copies(bus: &Bus) {
    let (publisher, subscriber) = (bus.lane("publisher").await, bus.lane("subscriber").await);
    subscriber.subscribe("copies").await.unwrap();
    let publish = async |client: &Client| {
        for number in 0..10 {
            client.publish("copies", pattern(LENGTH, number)).await.unwrap();
        }
    };
    let receive = async |client: &Client| {
        for number in 0..10 {
            let frame = next(client).await;
            assert!(!frame.payload().is_in_place());
            assert!(frame.payload().as_slice() == pattern(LENGTH, number), "payload {number}");
        }
    };
    tokio::join!(publish(&publisher), receive(&subscriber));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_of_a_client_that_may_have_no_arena_arrive_as_copies() {
    keep(async {
        let bus = Bus::with(|builder| builder.shm_client_bytes((1 << 20) - 1)).await;
        expect_copies(&bus).await;
    })
    .await;
}

/// Enough for some lanes, and for no arena: the broker refuses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_of_a_client_that_is_refused_an_arena_arrive_as_copies() {
    keep(async {
        let bus = Bus::with(|builder| builder.shm_bytes(3 << 20)).await;
        expect_copies(&bus).await;
    })
    .await;
}

//! Calls that nobody answers end by their deadline, and leave nothing behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use busway::rpc::{CallError, ErrorCode, Methods, Request, Rpc};
use tokio::sync::Notify;

use crate::bus::Place;
use crate::expectations::until;
use crate::promises::promises;
use crate::service::{FOR_EVER, caller, echo, gate, service, silent, text};

promises! {
    everywhere {
        a_call_ends_by_its_deadline
        the_deadline_of_a_call_goes_before_the_usual_one
        a_peer_that_speaks_no_rpc_lets_the_deadline_pass
        an_answer_that_is_too_late_goes_nowhere
        the_wait_for_a_turn_is_within_the_deadline
        a_call_that_is_given_up_is_forgotten
    }
}

const SHORT: Duration = Duration::from_millis(100);

fn expect_deadline<T: std::fmt::Debug>(outcome: Result<T, CallError>, deadline: Duration) {
    match outcome {
        Err(error @ CallError::Deadline(passed)) => {
            assert_eq!((passed, error.code()), (deadline, ErrorCode(-32120)));
        }
        other => panic!("{other:?}, but nobody answers"),
    }
}

async fn a_call_ends_by_its_deadline(place: Place) {
    let bus = place.open().await;
    let _service = service(&bus, "service", silent(&Arc::default())).await;
    let rpc = Rpc::builder(bus.client("caller").await).deadline(SHORT).start(());
    let begun = Instant::now();
    expect_deadline(rpc.call("service", "wait", "").await, SHORT);
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(rpc.pending_calls(), 0);
}

async fn the_deadline_of_a_call_goes_before_the_usual_one(place: Place) {
    let bus = place.open().await;
    let _service = service(&bus, "service", silent(&Arc::default())).await;
    let rpc = caller(&bus, "caller").await;
    expect_deadline(rpc.call("service", "wait", "").deadline(SHORT).await, SHORT);
    expect_deadline(rpc.call_typed::<u8>("service", "wait", &()).deadline(SHORT).await, SHORT);
    expect_deadline(rpc.call("service", "wait", "").deadline(Duration::ZERO).await, Duration::ZERO);
}

async fn a_peer_that_speaks_no_rpc_lets_the_deadline_pass(place: Place) {
    let bus = place.open().await;
    let _silent = bus.client("silent").await;
    let rpc = caller(&bus, "caller").await;
    expect_deadline(rpc.call("silent", "test", "").deadline(SHORT).await, SHORT);
}

async fn an_answer_that_is_too_late_goes_nowhere(place: Place) {
    let bus = place.open().await;
    let (opened, closed) = gate();
    let methods = echo().method("late", move |request: Request| {
        let closed = Arc::clone(&closed);
        async move {
            closed.acquire().await.expect("it opens").forget();
            Ok(request.params())
        }
    });
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    expect_deadline(rpc.call("service", "late", "late").deadline(SHORT).await, SHORT);
    opened.add_permits(1);
    until(|| rpc.unexpected_replies() == 1).await;
    assert_eq!(text(&rpc.call("service", "echo", "in time").await.unwrap()), "in time");
}

async fn the_wait_for_a_turn_is_within_the_deadline(place: Place) {
    let bus = place.open().await;
    let begun = Arc::new(Notify::new());
    let _service = service(&bus, "service", silent(&begun)).await;
    let rpc = Rpc::builder(bus.client("caller").await).max_calls(1).deadline(FOR_EVER).start(());
    let first = tokio::spawn({
        let rpc = rpc.clone();
        async move { rpc.call("service", "wait", "").await }
    });
    begun.notified().await;
    expect_deadline(rpc.call("service", "echo", "").deadline(SHORT).await, SHORT);
    assert_eq!(rpc.pending_calls(), 1, "the second had no turn");
    first.abort();
}

async fn a_call_that_is_given_up_is_forgotten(place: Place) {
    let bus = place.open().await;
    let begun = Arc::new(Notify::new());
    let methods = silent(&begun).method("echo", async |request: Request| Ok(request.params()));
    let _service = service(&bus, "service", methods).await;
    let rpc = Rpc::builder(bus.client("caller").await).max_calls(1).deadline(FOR_EVER).start(Methods::new());
    for _ in 0..10 {
        tokio::select! {
            outcome = rpc.call("service", "wait", "") => panic!("{outcome:?}, but nobody answers"),
            () = begun.notified() => {}
        }
        assert_eq!(rpc.pending_calls(), 0);
    }
    // Its turn is free again, too.
    assert_eq!(text(&rpc.call("service", "echo", "hello").await.unwrap()), "hello");
}

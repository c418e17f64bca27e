//! How much is done at once, how much waits, and what happens to the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use busway::QoS;
use busway::rpc::{ErrorCode, Methods, Request, Rpc};

use crate::bus::{Bus, Place};
use crate::expectations::{next, until};
use crate::promises::promises;
use crate::service::{FOR_EVER, answered, caller, gate, text};

promises! {
    everywhere {
        no_more_handlers_run_than_are_allowed
        one_handler_at_a_time_keeps_the_order_of_requests
        requests_beyond_the_queue_are_answered_busy
        requests_are_bounded_in_bytes
        no_more_calls_are_under_way_than_are_allowed
    }
}

/// How many handlers run, and how many did at most.
#[derive(Default)]
struct Gauge {
    running: AtomicUsize,
    most: AtomicUsize,
}

/// A service whose handlers wait at a gate.
async fn gated(bus: &Bus, handlers: usize, queue: (usize, usize)) -> (Rpc, Arc<tokio::sync::Semaphore>, Arc<Gauge>) {
    let (opened, closed) = gate();
    let gauge = Arc::new(Gauge::default());
    let seen = Arc::clone(&gauge);
    let methods = Methods::new().method("wait", move |request: Request| {
        let (closed, gauge) = (Arc::clone(&closed), Arc::clone(&seen));
        async move {
            let running = gauge.running.fetch_add(1, Ordering::SeqCst) + 1;
            gauge.most.fetch_max(running, Ordering::SeqCst);
            closed.acquire().await.expect("it opens").forget();
            gauge.running.fetch_sub(1, Ordering::SeqCst);
            Ok(request.params())
        }
    });
    let client = bus.client("service").await;
    let service = Rpc::builder(client).max_handlers(handlers).request_queue(queue.0, queue.1).start(methods);
    (service, opened, gauge)
}

type Calls = Vec<tokio::task::JoinHandle<Result<busway::Payload, busway::rpc::CallError>>>;

fn call_all(rpc: &Rpc, payloads: impl Iterator<Item = String>) -> Calls {
    let call = |payload: String| {
        let rpc = rpc.clone();
        tokio::spawn(async move { rpc.call("service", "wait", payload).await })
    };
    payloads.map(call).collect()
}

async fn no_more_handlers_run_than_are_allowed(place: Place) {
    let bus = place.open().await;
    let (_service, opened, gauge) = gated(&bus, 3, (1_000, 1 << 20)).await;
    let rpc = caller(&bus, "caller").await;
    let calls = call_all(&rpc, (0..50).map(|number: u32| number.to_string()));
    until(|| gauge.running.load(Ordering::SeqCst) == 3).await;
    // What is sent later is handled although others wait.
    rpc.call(".broker", "test", "").await.unwrap();
    assert_eq!(gauge.most.load(Ordering::SeqCst), 3);
    opened.add_permits(50);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(text(&call.await.unwrap().unwrap()), number.to_string());
    }
    assert_eq!(gauge.most.load(Ordering::SeqCst), 3);
}

async fn one_handler_at_a_time_keeps_the_order_of_requests(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = crate::service::seen();
    let methods = Methods::new().method("take", move |request: Request| {
        let told = told.clone();
        async move {
            tokio::task::yield_now().await;
            told.send(text(&request.params())).expect("somebody looks");
            Ok("")
        }
    });
    let _service = Rpc::builder(bus.client("service").await).max_handlers(1).start(methods);
    let rpc = caller(&bus, "caller").await;
    for number in 0..500 {
        rpc.call0("service", "take", number.to_string()).qos(busway::QoS::No).await.unwrap();
    }
    for number in 0..500 {
        assert_eq!(seen.next().await, number.to_string());
    }
}

/// The bytes of a request.
fn request(id: u8, params: &str) -> Vec<u8> {
    [&[0x01, id, 0, 0, 0][..], b"wait\0", params.as_bytes()].concat()
}

/// Occupies the only handler and the queue, then calls some more.
async fn expect_busy(place: Place, queue: (usize, usize), waiting: &[usize]) {
    let bus = place.open().await;
    let (service, opened, gauge) = gated(&bus, 1, queue).await;
    let rpc = caller(&bus, "caller").await;
    // Of raw bytes, so that each is confirmed before the next one is sent.
    let filler = bus.client("filler").await;
    filler.send("service", request(1, "first")).await.unwrap();
    until(|| gauge.running.load(Ordering::SeqCst) == 1).await;
    for length in waiting {
        filler.send("service", request(2, &"x".repeat(*length))).qos(QoS::Processed).await.unwrap();
    }
    for refused in 1..=3 {
        let (code, _) = answered(rpc.call("service", "wait", "too much").await);
        assert_eq!((code, service.refused_requests()), (ErrorCode(-32118), refused));
    }
    rpc.call0("service", "wait", "too much").await.unwrap();
    until(|| service.refused_requests() == 4).await;
    opened.add_permits(100);
    for _ in 0..=waiting.len() {
        assert_eq!(next(&filler).await.payload()[0], 0x11, "what waited was answered");
    }
    rpc.call("service", "wait", "there is room again").await.unwrap();
}

async fn requests_beyond_the_queue_are_answered_busy(place: Place) {
    expect_busy(place, (5, 1 << 20), &[0; 5]).await;
}

async fn requests_are_bounded_in_bytes(place: Place) {
    expect_busy(place, (1_000, 10_000), &[20_000]).await;
}

async fn no_more_calls_are_under_way_than_are_allowed(place: Place) {
    let bus = place.open().await;
    let (_service, opened, gauge) = gated(&bus, 100, (1_000, 1 << 20)).await;
    let rpc = Rpc::builder(bus.client("caller").await).max_calls(4).deadline(FOR_EVER).start(());
    let calls = call_all(&rpc, (0..40).map(|number: u32| number.to_string()));
    until(|| gauge.running.load(Ordering::SeqCst) == 4).await;
    assert_eq!(rpc.pending_calls(), 4);
    opened.add_permits(40);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(text(&call.await.unwrap().unwrap()), number.to_string());
    }
    assert!(gauge.most.load(Ordering::SeqCst) <= 4);
    assert_eq!(rpc.pending_calls(), 0);
}

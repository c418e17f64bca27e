//! Handlers: as a trait, that panic, that nest, and that end.

use std::future::Future;
use std::sync::Arc;

use busway::rpc::{ErrorCode, Handlers, Methods, Notification, Request, Rpc, RpcError};
use busway::{Frame, Payload, QoS, ResultCode};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, Semaphore};

use crate::bus::Place;
use crate::expectations::{expect_message, expect_nothing};
use crate::promises::promises;
use crate::service::{FOR_EVER, answered, caller, echo, expect_left, gate, seen, service, silent, text};

promises! {
    everywhere {
        handlers_may_be_a_trait
        a_handler_that_panics_is_an_internal_error
        a_handler_that_panics_before_it_has_begun_to_run_ends_nothing
        closures_may_have_state
        what_has_no_method_may_be_handled_all_the_same
        the_last_handle_dropped_ends_serving
        a_handler_that_runs_may_finish
        a_handler_that_runs_keeps_nobody_serving
        a_closed_service_is_gone
        a_clone_serves_on
        a_successor_on_the_same_client_takes_over
    }
}

struct Lamp {
    told: UnboundedSender<String>,
}

impl Handlers for Lamp {
    async fn call(&self, request: Request) -> Result<Payload, RpcError> {
        match request.method() {
            "state" => Ok("on".into()),
            "level" => Ok(format!("{}", request.unpack::<u8>()?).into()),
            _ => Err(RpcError::method_not_found()),
        }
    }

    async fn notification(&self, notification: Notification) {
        self.told.send(text(&notification.payload())).expect("somebody looks");
    }

    async fn frame(&self, rpc: &Rpc, frame: Frame) {
        let words = format!("{} for {}", text(frame.payload()), rpc.client().name());
        self.told.send(words).expect("somebody looks");
    }
}

async fn handlers_may_be_a_trait(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let lamp = Rpc::new(bus.client("lamp").await, Lamp { told });
    lamp.client().subscribe("light").await.unwrap();
    let rpc = caller(&bus, "caller").await;
    assert_eq!(text(&rpc.call("lamp", "state", "").await.unwrap()), "on");
    assert_eq!(text(&rpc.call("lamp", "level", [7].as_slice()).await.unwrap()), "7");
    assert_eq!(answered(rpc.call("lamp", "level", [0x80].as_slice()).await).0, ErrorCode::INVALID_PARAMETERS);
    assert_eq!(answered(rpc.call("lamp", "none", "").await).0, ErrorCode::METHOD_NOT_FOUND);
    rpc.notify("lamp", "news").await.unwrap();
    rpc.client().publish("light", "level").await.unwrap();
    assert_eq!([seen.next().await, seen.next().await], ["news", "level for lamp"]);
}

/// Panics before there is a future.
struct Clumsy {
    told: UnboundedSender<String>,
}

impl Handlers for Clumsy {
    fn call(&self, request: Request) -> impl Future<Output = Result<Payload, RpcError>> + Send {
        assert_ne!(request.method(), "clumsy");
        async { Ok(Payload::new()) }
    }

    fn notification(&self, notification: Notification) -> impl Future<Output = ()> + Send {
        let words = text(&notification.payload());
        assert_ne!(words, "clumsy");
        self.told.send(words).expect("somebody looks");
        async {}
    }

    fn frame(&self, _: &Rpc, frame: Frame) -> impl Future<Output = ()> + Send {
        let words = text(frame.payload());
        assert_ne!(words, "clumsy");
        self.told.send(words).expect("somebody looks");
        async {}
    }
}

async fn a_handler_that_panics_before_it_has_begun_to_run_ends_nothing(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let service = bus.client("service").await;
    service.subscribe("news").await.unwrap();
    let _service = Rpc::builder(service).max_handlers(1).start(Clumsy { told });
    let rpc = caller(&bus, "caller").await;
    assert_eq!(answered(rpc.call("service", "clumsy", "").await).0, ErrorCode::INTERNAL);
    rpc.call("service", "deft", "").await.unwrap();
    for words in ["clumsy", "deft"] {
        rpc.notify("service", words).await.unwrap();
        rpc.client().publish("news", words).qos(QoS::Processed).await.unwrap();
    }
    assert_eq!([seen.next().await, seen.next().await], ["deft", "deft"]);
}

async fn a_handler_that_panics_is_an_internal_error(place: Place) {
    let bus = place.open().await;
    let methods = echo()
        .method("panic at once", |_| -> std::future::Ready<Result<Payload, RpcError>> { panic!("at once") })
        .method("panic later", async |request: Request| {
            tokio::task::yield_now().await;
            let params = request.params();
            Ok(params[params.len()..][0].to_string())
        })
        .method("panic with a value", async |_: Request| -> Result<Payload, RpcError> { std::panic::panic_any(17) });
    // One at a time: a handler that took its place with it would leave none.
    let _service = Rpc::builder(bus.client("service").await).max_handlers(1).start(methods);
    let rpc = caller(&bus, "caller").await;
    for method in ["panic at once", "panic later", "panic with a value"] {
        for _ in 0..3 {
            let (code, words) = answered(rpc.call("service", method, "").await);
            assert_eq!((code, words.as_str()), (ErrorCode::INTERNAL, "the handler panicked"));
        }
        rpc.call0("service", method, "").await.unwrap();
        assert_eq!(text(&rpc.call("service", "echo", "still there").await.unwrap()), "still there");
    }
}

async fn closures_may_have_state(place: Place) {
    let bus = place.open().await;
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let methods = Methods::new().method("count", move |_| {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move { Ok(count.to_string()) }
    });
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    for number in 0..3 {
        assert_eq!(text(&rpc.call("service", "count", "").await.unwrap()), number.to_string());
    }
}

async fn what_has_no_method_may_be_handled_all_the_same(place: Place) {
    let bus = place.open().await;
    let methods = echo().otherwise(async |request: Request| Ok(format!("no {}", request.method())));
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    assert_eq!(text(&rpc.call("service", "echo", "x").await.unwrap()), "x");
    assert_eq!(text(&rpc.call("service", "sugar", "x").await.unwrap()), "no sugar");
}

async fn the_last_handle_dropped_ends_serving(place: Place) {
    let bus = place.open().await;
    let rpc = caller(&bus, "caller").await;
    // Nobody else has the client: the connection ends.
    drop(service(&bus, "service", echo()).await);
    bus.wait_until_gone("service").await;
    // Somebody has: it is an ordinary client again.
    let again = service(&bus, "service", echo()).await;
    let client = again.client().clone();
    rpc.call("service", "echo", "").await.unwrap();
    drop(again);
    let taken = async {
        loop {
            rpc.client().send("service", "plain").qos(QoS::Processed).await.unwrap();
            tokio::task::yield_now().await;
            if let Some(frame) = client.try_recv() {
                return frame;
            }
        }
    };
    assert_eq!((taken.await.sender(), client.is_connected()), ("caller", true));
}

async fn a_handler_that_runs_may_finish(place: Place) {
    let bus = place.open().await;
    let (opened, closed) = gate();
    let begun = Arc::new(Notify::new());
    let methods = {
        let begun = Arc::clone(&begun);
        Methods::new().method("wait", move |_| {
            let closed = Arc::clone(&closed);
            begun.notify_one();
            async move {
                closed.acquire().await.expect("it opens").forget();
                Ok("finished")
            }
        })
    };
    let service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    let (outcome, ()) = tokio::join!(rpc.call("service", "wait", ""), async {
        begun.notified().await;
        drop(service);
        opened.add_permits(1);
    });
    assert_eq!(text(&outcome.unwrap()), "finished");
    bus.wait_until_gone("service").await;
}

/// With a method `wait` that says that it has begun, and asks the peer once it may go on.
fn gated(methods: Methods) -> (Methods, Arc<Notify>, Arc<Semaphore>) {
    let (opened, closed) = gate();
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let methods = methods.method("wait", move |request: Request| {
        let closed = Arc::clone(&closed);
        begins.notify_one();
        async move {
            closed.acquire().await.expect("it opens").forget();
            Ok(request.rpc().call("peer", "echo", "finished").await?)
        }
    });
    (methods, begun, opened)
}

async fn a_handler_that_runs_keeps_nobody_serving(place: Place) {
    let bus = place.open().await;
    let _peer = service(&bus, "peer", echo()).await;
    let (methods, begun, opened) = gated(echo());
    let service = service(&bus, "service", methods).await;
    let (rpc, late) = (caller(&bus, "caller").await, caller(&bus, "late caller").await);
    let running = tokio::spawn(async move { rpc.call("service", "wait", "").await });
    begun.notified().await;
    drop(service);
    // It is asked while the other handler runs, and answered by the library or, if it was too late for that, the broker.
    let (outcome, ()) = tokio::join!(late.call("service", "echo", "late"), async {
        late.client().send("service", "asked").qos(QoS::Processed).await.unwrap();
        opened.add_permits(1);
    });
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::transport(ResultCode::NOT_REGISTERED));
    // What runs may finish, also with the help of others.
    assert_eq!(text(&running.await.unwrap().unwrap()), "finished");
    bus.wait_until_gone("service").await;
}

async fn a_closed_service_is_gone(place: Place) {
    let bus = place.open().await;
    let begun = Arc::default();
    let service = service(&bus, "service", silent(&begun)).await;
    let rpc = caller(&bus, "caller").await;
    let (outcome, ()) = tokio::join!(rpc.call("service", "wait", ""), async {
        begun.notified().await;
        service.close().await;
        service.closed().await;
    });
    expect_left(outcome);
    assert!(service.call("caller", "wait", "").await.is_err());
    assert!(service.notify("caller", "").await.is_err());
}

async fn a_clone_serves_on(place: Place) {
    let bus = place.open().await;
    let service = service(&bus, "service", echo()).await;
    let clone = service.clone();
    drop(service);
    let rpc = caller(&bus, "caller").await;
    assert_eq!(text(&rpc.call("service", "echo", "x").await.unwrap()), "x");
    drop(clone);
    bus.wait_until_gone("service").await;
    let successor = bus.client("service").await;
    rpc.client().send("service", "plain").await.unwrap();
    expect_message(&successor, "caller", "plain").await;
    expect_nothing(&successor).await;
}

async fn a_successor_on_the_same_client_takes_over(place: Place) {
    let bus = place.open().await;
    let _peer = service(&bus, "peer", echo()).await;
    let (methods, begun, opened) = gated(Methods::new());
    let first = service(&bus, "service", methods).await;
    let client = first.client().clone();
    let rpc = caller(&bus, "caller").await;
    let running = tokio::spawn({
        let rpc = rpc.clone();
        async move { rpc.call("service", "wait", "").await }
    });
    begun.notified().await;
    drop(first);
    let second = Rpc::builder(client).deadline(FOR_EVER).start(echo());
    for _ in 0..20 {
        assert_eq!(text(&second.call("peer", "echo", "to others").await.unwrap()), "to others");
        assert_eq!(text(&rpc.call("service", "echo", "from others").await.unwrap()), "from others");
    }
    // A handler of the first one is answered, too.
    opened.add_permits(1);
    assert_eq!(text(&running.await.unwrap().unwrap()), "finished");
    drop(second);
    bus.wait_until_gone("service").await;
}

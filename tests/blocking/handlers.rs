//! Handlers: as a trait, that block, that call, that panic, and that outlive whom they serve.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use busway::blocking::Client;
use busway::blocking::rpc::{Handlers, Methods, Notification, Request, Rpc};
use busway::rpc::{CallError, ErrorCode, RpcError};
use busway::{Frame, Payload, QoS, ResultCode};

use crate::bus::Bus;
use crate::support::eventually;
use crate::threads::{FOR_EVER, caller, client, service, text, threads, wait_until_gone};

threads! {
    everywhere {
        handlers_may_be_a_trait
        a_handler_that_panics_is_an_internal_error
        a_handler_may_call_its_own_service_and_use_its_client
        a_handler_of_frames_may_call
        handlers_that_wait_for_each_other_run_at_once
        no_more_handlers_run_than_may
        a_caller_that_vanishes_leaves_its_handler_and_others_alone
        a_call_ends_when_its_peer_leaves
        the_last_handle_dropped_ends_serving
        who_has_let_go_of_its_request_is_answered_for
        a_handler_that_runs_keeps_nobody_serving
        what_handlers_hold_may_block_as_it_is_dropped
    }
}

struct Lamp {
    told: Sender<String>,
}

impl Handlers for Lamp {
    fn call(&self, request: Request) -> Result<Payload, RpcError> {
        match request.method() {
            "level" => Ok(format!("{}", request.unpack::<u8>()?).into()),
            _ => Err(RpcError::method_not_found()),
        }
    }

    fn notification(&self, notification: Notification) {
        self.told.send(text(&notification.payload())).expect("somebody looks");
    }

    fn frame(&self, rpc: &Rpc, frame: Frame) {
        self.told.send(format!("{} for {}", text(frame.payload()), rpc.client().name())).expect("somebody looks");
    }
}

fn handlers_may_be_a_trait(bus: &mut Bus) {
    let (told, seen) = channel();
    let lamp = service(bus, "lamp", Lamp { told });
    lamp.client().subscribe("light").wait().unwrap();
    let rpc = caller(bus, "caller");
    assert_eq!(text(&rpc.call("lamp", "level", [7].as_slice()).wait().unwrap()), "7");
    assert_eq!(rpc.call("lamp", "none", "").wait().unwrap_err().code(), ErrorCode::METHOD_NOT_FOUND);
    rpc.notify("lamp", "news").wait().unwrap();
    rpc.client().publish("light", "level").wait().unwrap();
    assert_eq!([seen.recv().unwrap(), seen.recv().unwrap()], ["news", "level for lamp"]);
}

fn a_handler_that_panics_is_an_internal_error(bus: &mut Bus) {
    let methods = Methods::new()
        .method("echo", |request: Request| Ok(request.params()))
        .method("panic", |request: Request| Ok(request.params()[1..][..0].to_vec()))
        .on_notification(|_| panic!("the notification was too much"));
    // One at a time: a handler that took its place with it would leave none.
    let _service = Rpc::builder(client(bus, "service")).deadline(FOR_EVER).max_handlers(1).start(methods);
    let rpc = caller(bus, "caller");
    for _ in 0..3 {
        assert_eq!(rpc.call("service", "panic", "").wait().unwrap_err().code(), ErrorCode::INTERNAL);
        rpc.notify("service", "news").wait().unwrap();
        assert_eq!(text(&rpc.call("service", "echo", "still here").wait().unwrap()), "still here");
    }
}

fn a_handler_may_call_its_own_service_and_use_its_client(bus: &mut Bus) {
    let methods = Methods::new().typed_method("factorial", |number: u64, request: Request| {
        let rpc = request.rpc();
        rpc.client().publish("steps", number.to_string()).wait()?;
        match number {
            0 => Ok(1),
            _ => Ok(number * rpc.call_typed::<u64>("service", "factorial", &(number - 1)).wait()?),
        }
    });
    let _service = service(bus, "service", methods);
    let watcher = client(bus, "watcher");
    watcher.subscribe("steps").wait().unwrap();
    let rpc = caller(bus, "caller");
    assert_eq!(rpc.call_typed::<u64>("service", "factorial", &20).wait().unwrap(), 2_432_902_008_176_640_000);
    let steps: Vec<_> = watcher.iter().take(21).map(|frame| text(frame.payload())).collect();
    assert_eq!(steps, (0..=20).rev().map(|number| number.to_string()).collect::<Vec<_>>());
}

fn a_handler_of_frames_may_call(bus: &mut Bus) {
    let (told, seen) = channel();
    let methods = Methods::new().method("echo", |request: Request| Ok(request.params())).on_frame(move |rpc, frame| {
        let answer = rpc.call("service", "echo", frame.payload().clone()).wait().expect("it answers itself");
        told.send(text(&answer)).expect("somebody looks");
    });
    let _service = service(bus, "service", methods);
    let anna = client(bus, "anna");
    for number in 0..20 {
        anna.send("service", format!("message {number}")).wait().unwrap();
    }
    for number in 0..20 {
        assert_eq!(seen.recv().unwrap(), format!("message {number}"));
    }
}

/// A burst does not start a thread for each request, and yet each gets one as soon as those before it block.
fn handlers_that_wait_for_each_other_run_at_once(bus: &mut Bus) {
    const HANDLERS: usize = 32;
    let together = Arc::new(Barrier::new(HANDLERS));
    let methods = Methods::new().method("meet", move |_| {
        together.wait();
        Ok("met")
    });
    let _service = service(bus, "service", methods);
    let rpc = caller(bus, "caller");
    thread::scope(|scope| {
        let calls: Vec<_> = (0..HANDLERS).map(|_| scope.spawn(|| rpc.call("service", "meet", "").wait())).collect();
        for call in calls {
            assert_eq!(text(&call.join().expect("no panic").unwrap()), "met");
        }
    });
}

fn no_more_handlers_run_than_may(bus: &mut Bus) {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, at_most) = (Arc::clone(&running), Arc::clone(&most));
    let methods = Methods::new().method("work", move |_| {
        at_most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(1));
        now.fetch_sub(1, Ordering::SeqCst);
        Ok("")
    });
    let _service = Rpc::builder(client(bus, "service")).deadline(FOR_EVER).max_handlers(2).start(methods);
    let rpc = caller(bus, "caller");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..5).for_each(|_| drop(rpc.call("service", "work", "").wait().expect("it answers"))));
        }
    });
    assert_eq!(running.load(Ordering::SeqCst), 0);
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
}

/// Methods that tell when they have begun, and go on when they are told.
fn gated() -> (Methods, Receiver<()>, Sender<()>) {
    let (begun, has_begun) = channel();
    let (open, opened) = channel::<()>();
    let opened = Mutex::new(opened);
    let methods = Methods::new().method("echo", |request: Request| Ok(request.params())).method("wait", move |_| {
        begun.send(()).expect("somebody looks");
        // However the other end goes, it is opened.
        let _ = opened.lock().expect("no panic").recv();
        Ok("went on")
    });
    (methods, has_begun, open)
}

fn a_caller_that_vanishes_leaves_its_handler_and_others_alone(bus: &mut Bus) {
    let (methods, has_begun, open) = gated();
    let _service = service(bus, "service", methods);
    let vanishing = caller(bus, "vanishing");
    let call = thread::spawn({
        let vanishing = vanishing.clone();
        move || vanishing.call("service", "wait", "").wait().map(drop)
    });
    has_begun.recv().unwrap();
    vanishing.close();
    assert!(matches!(call.join().expect("no panic"), Err(CallError::Send(_))));
    wait_until_gone(bus, "vanishing");
    open.send(()).unwrap();
    let rpc = caller(bus, "caller");
    assert_eq!(text(&rpc.call("service", "echo", "still here").wait().unwrap()), "still here");
}

fn a_call_ends_when_its_peer_leaves(bus: &mut Bus) {
    let (methods, has_begun, open) = gated();
    let service = service(bus, "service", methods);
    let rpc = caller(bus, "caller");
    thread::scope(|scope| {
        let call = scope.spawn(|| rpc.call("service", "wait", "").wait().map(drop));
        has_begun.recv().unwrap();
        service.close();
        let outcome = call.join().expect("no panic");
        assert!(matches!(outcome, Err(CallError::Left)), "{outcome:?}");
    });
    drop(open);
}

fn the_last_handle_dropped_ends_serving(bus: &mut Bus) {
    let (methods, has_begun, open) = gated();
    expect_what_runs_to_finish(bus, methods, (&has_begun, &open));
    // Nobody has to wait for it when nothing runs.
    let service = service(bus, "idle service", Methods::new());
    let closed = service.client().state_changes();
    drop(service);
    wait_until_gone(bus, "idle service");
    assert!(closed.last().is_some());
}

fn who_has_let_go_of_its_request_is_answered_for(bus: &mut Bus) {
    let (begun, has_begun) = channel();
    let (open, opened) = channel::<()>();
    let opened = Mutex::new(opened);
    let methods = Methods::new().method("wait", move |request: Request| {
        drop(request);
        begun.send(()).expect("somebody looks");
        let _ = opened.lock().expect("no panic").recv();
        Ok("went on")
    });
    expect_what_runs_to_finish(bus, methods, (&has_begun, &open));
}

/// The service's last handle is dropped amid a call.
fn expect_what_runs_to_finish(bus: &mut Bus, methods: Methods, (has_begun, open): (&Receiver<()>, &Sender<()>)) {
    let served = service(bus, "service", methods);
    let rpc = caller(bus, "caller");
    thread::scope(|scope| {
        let call = scope.spawn(|| rpc.call("service", "wait", "").wait());
        has_begun.recv().unwrap();
        drop(served);
        open.send(()).unwrap();
        assert_eq!(text(&call.join().expect("no panic").unwrap()), "went on");
    });
    wait_until_gone(bus, "service");
}

fn a_handler_that_runs_keeps_nobody_serving(bus: &mut Bus) {
    let (methods, has_begun, open) = gated();
    let service = service(bus, "service", methods);
    let (rpc, late) = (&caller(bus, "caller"), &caller(bus, "late caller"));
    thread::scope(|scope| {
        let call = scope.spawn(|| rpc.call("service", "wait", "").wait());
        has_begun.recv().unwrap();
        drop(service);
        let asked = scope.spawn(|| late.call("service", "echo", "late").wait());
        eventually("the late call", || late.pending_calls() == 1 || asked.is_finished());
        late.client().send("service", "asked").qos(QoS::Processed).wait().unwrap();
        open.send(()).unwrap();
        let refused = asked.join().expect("no panic").unwrap_err();
        assert_eq!(refused.code(), ErrorCode::transport(ResultCode::NOT_REGISTERED));
        assert_eq!(text(&call.join().expect("no panic").unwrap()), "went on");
    });
    wait_until_gone(bus, "service");
}

/// Says goodbye over the bus, and waits for the confirmation.
struct Farewell(Client);

impl Handlers for Farewell {}

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.0.send("watcher", "farewell").qos(QoS::Processed).wait();
    }
}

fn what_handlers_hold_may_block_as_it_is_dropped(bus: &mut Bus) {
    let watcher = client(bus, "watcher");
    let service = service(bus, "service", Farewell(client(bus, "other")));
    drop(service);
    assert_eq!(text(watcher.recv().expect("it is connected").payload()), "farewell");
    eventually("the end of the client in the handlers", || {
        watcher.send("other", "").qos(QoS::Processed).wait().is_err()
    });
}

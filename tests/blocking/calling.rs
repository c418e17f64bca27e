//! Calls: raw, typed, with a deadline, without a reply, notifications, and many at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use busway::blocking::rpc::{Methods, Request, Rpc};
use busway::client::SendError;
use busway::rpc::{CallError, ErrorCode, RpcError};
use busway::{QoS, ResultCode};

use crate::bus::Bus;
use crate::threads::{caller, client, text, threads};

threads! {
    everywhere {
        methods_are_called_raw_and_typed
        errors_of_the_peer_reach_the_caller
        a_call_to_nobody_ends_at_once
        a_call_ends_by_its_deadline
        what_needs_no_reply_arrives_in_order
        a_storm_from_eight_threads_is_answered
    }
}

fn methods_are_called_raw_and_typed(bus: &mut Bus) {
    let methods = Methods::new()
        .method("echo", |request: Request| Ok(request.params()))
        .method("who", |request: Request| Ok(request.sender().to_owned()))
        .typed_method("add", |(one, other): (i64, i64), _| Ok(one + other))
        .otherwise(|request: Request| Ok(format!("there is no {}", request.method())));
    let _service = Rpc::new(client(bus, "service"), methods);
    let rpc = caller(bus, "caller");
    assert_eq!(text(&rpc.call("service", "echo", "words").wait().unwrap()), "words");
    assert_eq!(text(&rpc.call("service", "who", "").realtime().wait().unwrap()), "caller");
    assert_eq!(rpc.call_typed::<i64>("service", "add", &(40, 2)).wait().unwrap(), 42);
    assert_eq!(text(&rpc.call("service", "that", "").wait().unwrap()), "there is no that");
    let large = vec![7; 16 << 20];
    assert!(rpc.call("service", "echo", &large).wait().unwrap().as_slice() == large);
}

fn errors_of_the_peer_reach_the_caller(bus: &mut Bus) {
    let methods = Methods::new()
        .method("fail", |_| Err::<&str, _>(RpcError::new(ErrorCode(-777), "out of fruit")))
        .typed_method("add", |(one, other): (i64, i64), _| Ok(one + other));
    let _service = Rpc::new(client(bus, "service"), methods);
    let rpc = caller(bus, "caller");
    let code = |method, params: &str| match rpc.call("service", method, params).wait() {
        Err(CallError::Answered(error)) => error.code(),
        other => panic!("{other:?} is not an answer with an error"),
    };
    assert_eq!(code("fail", ""), ErrorCode(-777));
    assert_eq!(code("none", ""), ErrorCode::METHOD_NOT_FOUND);
    assert_eq!(code("add", "x"), ErrorCode::INVALID_PARAMETERS);
    let unpacked = rpc.call_typed::<String>("service", "add", &(40, 2)).wait();
    assert!(matches!(unpacked, Err(CallError::Unpack(_))), "{unpacked:?}");
    let named = rpc.call("service", "a\0b", "").wait();
    assert!(matches!(named, Err(CallError::Method)), "{named:?}");
}

fn a_call_to_nobody_ends_at_once(bus: &mut Bus) {
    let rpc = caller(bus, "caller");
    for outcome in [rpc.call("nobody", "method", "").wait().map(drop), rpc.call0("nobody", "method", "").wait()] {
        let not_there = matches!(outcome, Err(CallError::Send(SendError::Refused(ResultCode::NOT_REGISTERED))));
        assert!(not_there, "{outcome:?}");
    }
    assert_eq!(rpc.notify("nobody", "news").wait(), Err(SendError::Refused(ResultCode::NOT_REGISTERED)));
}

fn a_call_ends_by_its_deadline(bus: &mut Bus) {
    let _deaf = client(bus, "deaf");
    let short = Duration::from_millis(20);
    let rpc = Rpc::builder(client(bus, "caller")).deadline(short).start(());
    for call in [rpc.call("deaf", "method", ""), rpc.call("deaf", "method", "").deadline(short * 2)] {
        let outcome = call.wait();
        assert!(matches!(outcome, Err(CallError::Deadline(_))), "{outcome:?}");
    }
    assert_eq!(rpc.pending_calls(), 0);
}

fn what_needs_no_reply_arrives_in_order(bus: &mut Bus) {
    let (told, tells) = channel();
    let (noticed, frames) = (told.clone(), told.clone());
    let methods = Methods::new()
        .method("note", move |request: Request| {
            assert!(!request.wants_reply());
            let _ = told.send(text(&request.params()));
            Ok("")
        })
        .on_notification(move |notification| drop(noticed.send(text(&notification.payload()))))
        .on_frame(move |_, frame| drop(frames.send(text(frame.payload()))));
    let service = Rpc::new(client(bus, "service"), methods);
    service.client().subscribe("topic").wait().unwrap();
    let rpc = caller(bus, "caller");
    rpc.call0("service", "note", "called").wait().unwrap();
    assert_eq!(tells.recv().unwrap(), "called");
    for number in 0..300 {
        match number % 2 {
            0 => rpc.notify("service", number.to_string()).wait().unwrap(),
            _ => rpc.client().publish("topic", number.to_string()).qos(QoS::Processed).wait().unwrap(),
        }
    }
    for number in 0..300 {
        assert_eq!(tells.recv().unwrap(), number.to_string());
    }
}

fn a_storm_from_eight_threads_is_answered(bus: &mut Bus) {
    const THREADS: usize = 8;
    const CALLS: usize = 100;
    let handled = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&handled);
    let methods = Methods::new().method("echo", move |request: Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(request.params())
    });
    let service = Rpc::new(client(bus, "service"), methods);
    let rpc = caller(bus, "caller");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let rpc = &rpc;
            scope.spawn(move || {
                for number in 0..CALLS {
                    let words = format!("{thread} {number}");
                    assert_eq!(text(&rpc.call("service", "echo", &words).wait().expect("it answers")), words);
                }
            });
        }
    });
    assert_eq!(handled.load(Ordering::Relaxed), THREADS * CALLS);
    assert_eq!((rpc.pending_calls(), rpc.unexpected_replies(), service.refused_requests()), (0, 0, 0));
}

//! Calls, calls without reply, notifications: what goes there and back.

use std::collections::BTreeMap;
use std::future::IntoFuture;

use busway::QoS;
use busway::rpc::{CallError, ErrorCode, Methods, Request, Rpc};
use serde::{Deserialize, Serialize};

use crate::bus::Place;
use crate::expectations::{NOT_REGISTERED, wait_on_this_thread};
use crate::promises::promises;
use crate::service::{answered, caller, echo, expect_nobody, seen, service, text};

promises! {
    everywhere {
        a_call_returns_what_the_handler_returns
        payloads_of_any_size_go_there_and_back
        typed_calls_speak_messagepack
        typed_calls_may_have_neither_parameters_nor_result
        calls_overlap_and_each_gets_its_own_answer
        a_handler_knows_who_calls
        a_client_may_call_itself
        the_broker_answers_calls
        secondaries_are_called_by_their_full_names
        a_call_without_reply_returns_when_it_is_delivered
        a_notification_returns_when_it_is_delivered
        what_is_not_confirmed_is_not_waited_for
        urgency_goes_there_and_back
        a_method_with_a_nul_in_its_name_is_not_called
        a_handler_may_call_others
        two_services_may_call_each_other_at_once
        a_call_needs_no_runtime_where_it_is_waited_for
    }
}

async fn a_call_returns_what_the_handler_returns(place: Place) {
    let bus = place.open().await;
    let methods = echo().method("state", async |_| Ok("on")).method("nothing", async |_| Ok(Vec::new()));
    let _lamp = service(&bus, "lamp", methods).await;
    let rpc = caller(&bus, "caller").await;
    assert_eq!(rpc.call("lamp", "state", "").await.unwrap().as_slice(), b"on");
    assert_eq!(rpc.call("lamp", "echo", [0, 255, 0].as_slice()).await.unwrap().as_slice(), [0, 255, 0]);
    assert!(rpc.call("lamp", "nothing", "something").await.unwrap().is_empty());
    assert_eq!(rpc.pending_calls(), 0);
}

async fn payloads_of_any_size_go_there_and_back(place: Place) {
    let bus = place.open().await;
    let _service = service(&bus, "service", echo()).await;
    let rpc = caller(&bus, "caller").await;
    for size in [0, 1, 127, 4_090, 4_096, 4_103, 8_192, 65_536, 1 << 20] {
        let payload: Vec<u8> = (0..=250).cycle().take(size).collect();
        assert!(rpc.call("service", "echo", &payload).await.unwrap().as_slice() == payload, "{size} bytes");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Level {
    room: String,
    value: f64,
}

async fn typed_calls_speak_messagepack(place: Place) {
    let bus = place.open().await;
    let methods = echo()
        .typed_method("add", async |(one, other): (i64, i64), _| Ok(one + other))
        .typed_method("double", async |level: Level, _| Ok(Level { value: level.value * 2.0, ..level }));
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    let sum: i64 = rpc.call_typed("service", "add", &(40, 2)).await.unwrap();
    assert_eq!(sum, 42);
    let level = Level { room: "hall".to_owned(), value: 1.5 };
    let doubled: Level = rpc.call_typed("service", "double", &level).await.unwrap();
    assert_eq!(doubled, Level { room: "hall".to_owned(), value: 3.0 });
    // Structures travel as maps, so that services in other languages read them by name.
    let map: BTreeMap<String, rmpv::Value> = rpc.call_typed("service", "echo", &level).await.unwrap();
    assert_eq!((&map["room"], &map["value"]), (&"hall".into(), &1.5.into()));
    let wrong = rpc.call_typed::<String>("service", "add", &(1, 1)).await;
    assert!(matches!(wrong, Err(CallError::Unpack(_))), "{wrong:?}");
}

async fn typed_calls_may_have_neither_parameters_nor_result(place: Place) {
    let bus = place.open().await;
    let methods = Methods::new().typed_method("nothing", async |(): (), _| Ok(()));
    let _service = service(&bus, "service", methods.method("raw", async |_| Ok(""))).await;
    let rpc = caller(&bus, "caller").await;
    for method in ["nothing", "raw"] {
        rpc.call_typed::<()>("service", method, &()).await.unwrap();
        rpc.call("service", method, "").await.unwrap();
    }
    assert_eq!(rpc.call_typed::<Option<u8>>("service", "raw", &()).await.unwrap(), None);
}

async fn calls_overlap_and_each_gets_its_own_answer(place: Place) {
    let bus = place.open().await;
    let methods = Methods::new().method("late", async |request: Request| {
        let number: u64 = text(&request.params()).parse().expect("a number");
        // The later, the sooner.
        tokio::time::sleep(std::time::Duration::from_millis(20 - number % 20)).await;
        Ok(number.to_string())
    });
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    let calls: Vec<_> = (0..200_u64)
        .map(|number| {
            let rpc = rpc.clone();
            tokio::spawn(async move { (number, rpc.call("service", "late", number.to_string()).await) })
        })
        .collect();
    for call in calls {
        let (number, answer) = call.await.unwrap();
        assert_eq!(text(&answer.unwrap()), number.to_string());
    }
}

async fn a_handler_knows_who_calls(place: Place) {
    let bus = place.open().await;
    let methods = Methods::new().method("who", async |request: Request| {
        let method = request.method().to_owned();
        Ok(format!("{} {} {method} {}", request.sender(), request.primary_sender(), request.wants_reply()))
    });
    let _service = service(&bus, "service", methods).await;
    let _primary = bus.client("caller").await;
    let rpc = caller(&bus, "caller%%7").await;
    assert_eq!(text(&rpc.call("service", "who", "").await.unwrap()), "caller%%7 caller who true");
}

async fn a_client_may_call_itself(place: Place) {
    let bus = place.open().await;
    let rpc = service(&bus, "self", echo()).await;
    assert_eq!(text(&rpc.call("self", "echo", "hello").await.unwrap()), "hello");
}

async fn the_broker_answers_calls(place: Place) {
    let bus = place.open().await;
    let rpc = caller(&bus, "caller").await;
    assert_eq!(rpc.call(".broker", "test", "").await.unwrap().as_slice(), b"\x81\xA2ok\xC3");
    let test: BTreeMap<String, bool> = rpc.call_typed(".broker", "test", &()).await.unwrap();
    assert_eq!(test, BTreeMap::from([("ok".to_owned(), true)]));
    assert_eq!(answered(rpc.call_typed::<()>(".broker", "test", &17).await).0, ErrorCode::INVALID_PARAMETERS);
    assert_eq!(answered(rpc.call(".broker", "unknown", "").await).0, ErrorCode::METHOD_NOT_FOUND);
}

async fn secondaries_are_called_by_their_full_names(place: Place) {
    let bus = place.open().await;
    let methods =
        || Methods::new().method("name", async |request: Request| Ok(request.rpc().client().name().to_owned()));
    let _services = [service(&bus, "service", methods()).await, service(&bus, "service%%1", methods()).await];
    let rpc = caller(&bus, "caller").await;
    for name in ["service", "service%%1"] {
        assert_eq!(text(&rpc.call(name, "name", "").await.unwrap()), name);
    }
    expect_nobody(rpc.call("service%%2", "name", "").await);
}

async fn a_call_without_reply_returns_when_it_is_delivered(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let methods = Methods::new().method("leap", move |request: Request| {
        told.send(format!("{} {}", text(&request.params()), request.wants_reply())).expect("somebody looks");
        async { Ok("to be thrown away") }
    });
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    rpc.call0("service", "leap", "far").await.unwrap();
    assert_eq!(seen.next().await, "far false");
    rpc.call0("service", "unknown", "").await.unwrap();
    expect_nobody(rpc.call0("nobody", "leap", "").await);
    assert_eq!((rpc.unexpected_replies(), rpc.pending_calls()), (0, 0));
}

async fn a_notification_returns_when_it_is_delivered(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let methods = Methods::new().on_notification(move |notification| {
        let seen = format!("{} from {}", text(&notification.payload()), notification.sender());
        told.send(seen).expect("somebody looks");
        async {}
    });
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    rpc.notify("service", "news").await.unwrap();
    rpc.notify("service", "").await.unwrap();
    assert_eq!((seen.next().await, seen.next().await), ("news from caller".to_owned(), " from caller".to_owned()));
    assert_eq!(rpc.notify("nobody", "news").await, NOT_REGISTERED);
}

async fn what_is_not_confirmed_is_not_waited_for(place: Place) {
    let bus = place.open().await;
    let rpc = caller(&bus, "caller").await;
    for qos in [QoS::No, QoS::Realtime] {
        rpc.call0("nobody", "leap", "").qos(qos).await.unwrap();
        rpc.notify("nobody", "news").qos(qos).await.unwrap();
    }
}

async fn urgency_goes_there_and_back(place: Place) {
    let bus = place.open().await;
    let methods = Methods::new().method("urgent", async |request: Request| Ok(request.is_realtime().to_string()));
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    assert_eq!(text(&rpc.call("service", "urgent", "").await.unwrap()), "false");
    assert_eq!(text(&rpc.call("service", "urgent", "").realtime().await.unwrap()), "true");
}

async fn a_method_with_a_nul_in_its_name_is_not_called(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let methods = Methods::new().otherwise(move |request: Request| {
        told.send(request.method().to_owned()).expect("somebody looks");
        async { Ok("") }
    });
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    assert!(matches!(rpc.call("service", "a\0b", "").await, Err(CallError::Method)));
    assert!(matches!(rpc.call0("service", "a\0b", "").await, Err(CallError::Method)));
    rpc.call("service", "", "").await.unwrap();
    assert_eq!((seen.next().await, seen.rest()), (String::new(), vec![]));
}

/// A service that asks the next one.
fn relay(next: &'static str) -> Methods {
    Methods::new().method("ask", move |request: Request| async move {
        let asked: Vec<u8> = request.rpc().call(next, "ask", request.params()).await?.to_vec();
        Ok(format!("{next} says {}", text(&asked)))
    })
}

async fn a_handler_may_call_others(place: Place) {
    let bus = place.open().await;
    let last = Methods::new().method("ask", async |request: Request| Ok(request.params()));
    let _services = [
        service(&bus, "first", relay("second")).await,
        service(&bus, "second", relay("third")).await,
        service(&bus, "third", last).await,
    ];
    let rpc = caller(&bus, "caller").await;
    assert_eq!(text(&rpc.call("first", "ask", "yes").await.unwrap()), "second says third says yes");
}

async fn two_services_may_call_each_other_at_once(place: Place) {
    let bus = place.open().await;
    let (one, other) = (service(&bus, "one", echo()).await, service(&bus, "other", echo()).await);
    let storm = async |rpc: &Rpc, target: &'static str| {
        for number in 0..200 {
            let answer = rpc.call(target, "echo", number.to_string()).await.unwrap();
            assert_eq!(text(&answer), number.to_string());
        }
    };
    tokio::join!(storm(&one, "other"), storm(&other, "one"));
}

async fn a_call_needs_no_runtime_where_it_is_waited_for(place: Place) {
    let bus = place.open().await;
    let _service = service(&bus, "service", echo()).await;
    let rpc = caller(&bus, "caller").await;
    let called = tokio::task::spawn_blocking(move || {
        std::thread::spawn(move || {
            let echo = wait_on_this_thread(rpc.call("service", "echo", "hello").into_future());
            let nobody = wait_on_this_thread(rpc.call("nobody", "echo", "hello").into_future());
            (echo, nobody)
        })
        .join()
    });
    let (echo, nobody) = called.await.expect("no task panics").expect("it does not panic");
    assert_eq!(text(&echo.unwrap()), "hello");
    expect_nobody(nobody);
}

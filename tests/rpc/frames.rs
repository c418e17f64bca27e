//! Frames and notifications: they reach their handler as they came and in the order in which they came, whatever calls
//! do meanwhile.

use std::sync::Arc;

use busway::rpc::{Methods, Rpc};
use busway::{Frame, FrameKind, QoS};

use crate::bus::{Bus, Place};
use crate::expectations::settle;
use crate::promises::promises;
use crate::service::{caller, echo, gate, seen, service, text};

promises! {
    everywhere {
        publications_broadcasts_and_messages_come_as_they_are
        a_broadcast_that_looks_like_a_request_is_none
        order_holds_among_notifications_and_frames_while_calls_run
        a_handler_that_waits_holds_up_neither_calls_nor_requests
        a_frame_handler_may_call_others
        what_does_not_fit_is_dropped_and_counted
        a_handler_that_panics_does_not_end_the_others
        frames_that_came_before_the_end_are_handled
    }
}

/// A service that tells of each frame and notification.
fn listener(told: tokio::sync::mpsc::UnboundedSender<String>) -> Methods {
    let notified = told.clone();
    echo()
        .on_notification(move |notification| {
            notified.send(format!("notification {}", text(&notification.payload()))).expect("somebody looks");
            async {}
        })
        .on_frame(move |_, frame| {
            told.send(describe(&frame)).expect("somebody looks");
            async {}
        })
}

fn describe(frame: &Frame) -> String {
    let kind = match frame.kind() {
        FrameKind::Publication => "publication",
        FrameKind::Message => "message",
        FrameKind::Broadcast => "broadcast",
    };
    let topic = frame.topic().unwrap_or("-");
    format!("{kind} {} {topic} {:?} {}", frame.sender(), frame.payload().as_slice(), frame.is_realtime())
}

async fn publications_broadcasts_and_messages_come_as_they_are(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let service = service(&bus, "group.service", listener(told)).await;
    service.client().subscribe("light/#").await.unwrap();
    let client = bus.client("sender").await;
    client.publish("light/level", [0, 1, 2].as_slice()).qos(QoS::RealtimeProcessed).await.unwrap();
    client.broadcast("group.*", [1, 0, 0, 0, 0].as_slice()).qos(QoS::Processed).await.unwrap();
    assert_eq!(seen.next().await, "publication sender light/level [0, 1, 2] true");
    assert_eq!(seen.next().await, "broadcast sender - [1, 0, 0, 0, 0] false");
    // No RPC: empty, of an unknown kind, or cut short.
    for message in [&b""[..], b"\x02hello", b"\x77", b"\x01", b"\x01\x01\0\0\0echo", b"\x11\x01", b"\x12\x01\0\0\0\0"] {
        client.send("group.service", message).qos(QoS::Processed).await.unwrap();
        assert_eq!(seen.next().await, format!("message sender - {message:?} false"));
    }
    assert_eq!(seen.rest(), [""; 0]);
}

async fn a_broadcast_that_looks_like_a_request_is_none(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let _service = service(&bus, "service", listener(told)).await;
    let client = bus.client("sender").await;
    let request = [&[1, 7, 0, 0, 0][..], b"echo\0hello"].concat();
    client.broadcast("service", &request).qos(QoS::Processed).await.unwrap();
    assert_eq!(seen.next().await, format!("broadcast sender - {request:?} false"));
    settle(&client).await;
    assert!(client.try_recv().is_none(), "nobody answers a broadcast");
}

async fn order_holds_among_notifications_and_frames_while_calls_run(place: Place) {
    const ROUNDS: usize = 500;
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let service = service(&bus, "service", listener(told)).await;
    service.client().subscribe("light").await.unwrap();
    let rpc = caller(&bus, "caller").await;
    let calls = tokio::spawn({
        let rpc = rpc.clone();
        async move {
            for number in 0..ROUNDS {
                assert_eq!(text(&rpc.call("service", "echo", number.to_string()).await.unwrap()), number.to_string());
            }
        }
    });
    let client = rpc.client();
    for number in 0..ROUNDS {
        rpc.notify("service", number.to_string()).qos(QoS::No).await.unwrap();
        client.publish("light", number.to_string()).await.unwrap();
        client.broadcast("service", number.to_string()).qos(QoS::Realtime).await.unwrap();
        client.send("service", format!("plain {number}")).qos(QoS::Processed).await.unwrap();
    }
    for number in 0..ROUNDS {
        assert_eq!(seen.next().await, format!("notification {number}"));
        for (kind, topic, payload, realtime) in [
            ("publication", "light", number.to_string(), false),
            ("broadcast", "-", number.to_string(), true),
            ("message", "-", format!("plain {number}"), false),
        ] {
            assert_eq!(seen.next().await, format!("{kind} caller {topic} {:?} {realtime}", payload.as_bytes()));
        }
    }
    calls.await.unwrap();
}

async fn a_handler_that_waits_holds_up_neither_calls_nor_requests(place: Place) {
    let bus = place.open().await;
    let (opened, closed) = gate();
    let (told, mut seen) = seen();
    let methods = echo().on_notification(move |notification| {
        let (closed, told) = (Arc::clone(&closed), told.clone());
        async move {
            closed.acquire().await.expect("it opens").forget();
            told.send(text(&notification.payload())).expect("somebody looks");
        }
    });
    let service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    for number in ["one", "two"] {
        rpc.notify("service", number).await.unwrap();
        rpc.call("service", "echo", "").await.unwrap();
        service.call(".broker", "test", "").await.unwrap();
    }
    assert_eq!(seen.rest(), [""; 0]);
    opened.add_permits(2);
    assert_eq!([seen.next().await, seen.next().await], ["one", "two"]);
}

async fn a_frame_handler_may_call_others(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let methods = Methods::new().on_frame(move |rpc: Rpc, frame| {
        let told = told.clone();
        async move {
            let answer = rpc.call("lamp", "echo", frame.payload()).await.expect("the lamp answers");
            told.send(text(&answer)).expect("somebody looks");
        }
    });
    let switch = service(&bus, "switch", methods).await;
    switch.client().subscribe("light").await.unwrap();
    let _lamp = service(&bus, "lamp", echo()).await;
    let client = bus.client("sender").await;
    for level in ["10", "20"] {
        client.publish("light", level).await.unwrap();
        assert_eq!(seen.next().await, level);
    }
}

/// A service whose notification handler waits at a gate, with room for four more.
async fn narrow(bus: &Bus) -> (Rpc, Arc<tokio::sync::Semaphore>, crate::service::Seen) {
    let (opened, closed) = gate();
    let (told, seen) = seen();
    let methods = echo().on_notification(move |notification| {
        let (closed, told) = (Arc::clone(&closed), told.clone());
        async move {
            let words = format!("{} after {}", text(&notification.payload()), notification.lost_before());
            told.send(words).expect("somebody looks");
            closed.acquire().await.expect("it opens").forget();
        }
    });
    let service = Rpc::builder(bus.client("service").await).frame_queue(4, 1 << 20).start(methods);
    (service, opened, seen)
}

async fn what_does_not_fit_is_dropped_and_counted(place: Place) {
    let bus = place.open().await;
    let (service, opened, mut seen) = narrow(&bus).await;
    let rpc = caller(&bus, "caller").await;
    rpc.notify("service", "0").await.unwrap();
    assert_eq!(seen.next().await, "0 after 0");
    for number in 1..=7 {
        rpc.notify("service", number.to_string()).await.unwrap();
    }
    // Answered after all of them were taken from the connection.
    rpc.call("service", "echo", "").await.unwrap();
    assert_eq!((service.lost_frames(), service.client().lost_frames()), (3, 0));
    opened.add_permits(100);
    for number in 1..=4 {
        assert_eq!(seen.next().await, format!("{number} after 0"));
    }
    rpc.notify("service", "8").await.unwrap();
    assert_eq!(seen.next().await, "8 after 3");
}

async fn a_handler_that_panics_does_not_end_the_others(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let notified = told.clone();
    let methods = echo()
        .on_notification(move |notification| {
            let words = text(&notification.payload());
            assert!(!words.contains("bad"), "a bad notification");
            notified.send(words).expect("somebody looks");
            async {}
        })
        .on_frame(move |_, frame| {
            let told = told.clone();
            async move {
                let words = text(frame.payload());
                assert!(!words.contains("bad"), "a bad frame");
                told.send(words).expect("somebody looks");
            }
        });
    let _service = service(&bus, "service", methods).await;
    let rpc = caller(&bus, "caller").await;
    for words in ["bad one", "good one", "bad other", "good other"] {
        rpc.notify("service", words).await.unwrap();
        rpc.client().broadcast("service", format!("frame {words}")).await.unwrap();
    }
    rpc.call("service", "echo", "").await.unwrap();
    for words in ["good one", "frame good one", "good other", "frame good other"] {
        assert_eq!(seen.next().await, words);
    }
}

async fn frames_that_came_before_the_end_are_handled(place: Place) {
    let bus = place.open().await;
    let (service, opened, mut seen) = narrow(&bus).await;
    let rpc = caller(&bus, "caller").await;
    for number in 0..4 {
        rpc.notify("service", number.to_string()).await.unwrap();
    }
    rpc.call("service", "echo", "").await.unwrap();
    service.close().await;
    opened.add_permits(100);
    service.closed().await;
    assert_eq!(seen.rest(), (0..4).map(|number| format!("{number} after 0")).collect::<Vec<_>>());
}

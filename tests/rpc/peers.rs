//! Peers that are not there, that leave, that come again, and that are not who they should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use busway::client::{Reconnect, SendError};
use busway::rpc::{CallError, ErrorCode, Methods, Request, Rpc};
use busway::{FrameKind, Payload, QoS};
use tokio::sync::Notify;

use crate::bus::Place;
use crate::expectations::{next, settle, until};
use crate::promises::promises;
use crate::service::{FOR_EVER, caller, echo, expect_left, expect_nobody, gate, seen, service, silent, text};

promises! {
    everywhere {
        a_call_to_nobody_fails_at_once
        a_call_fails_when_its_peer_leaves
        all_calls_to_a_peer_fail_when_it_leaves_and_no_others
        a_call_to_a_secondary_fails_when_the_primary_leaves
        a_peer_that_comes_again_is_called_again
        a_caller_that_vanishes_does_no_harm
        a_reply_of_a_third_client_does_not_count
        a_reply_that_comes_twice_counts_once
        the_end_of_its_runtime_is_the_end_of_its_handling
    }
    over_sockets {
        a_call_fails_when_the_connection_is_lost
        calls_go_on_after_a_reconnection
    }
    busway_only {
        "the reference does not announce who was replaced": a_call_fails_when_its_peer_is_replaced
    }
}

async fn a_call_to_nobody_fails_at_once(place: Place) {
    let bus = place.open().await;
    let rpc = caller(&bus, "caller").await;
    expect_nobody(rpc.call("nobody", "test", "").await);
    assert_eq!(rpc.call("nobody", "test", "").await.unwrap_err().code(), ErrorCode(-32113));
    assert_eq!(rpc.pending_calls(), 0);
    let address = rpc.call("a\0b", "test", "").await;
    assert!(matches!(address, Err(CallError::Send(SendError::Address(_)))), "{address:?}");
}

async fn a_call_fails_when_its_peer_leaves(place: Place) {
    let bus = place.open().await;
    let rpc = caller(&bus, "caller").await;
    for _ in 0..5 {
        let begun = Arc::default();
        let peer = service(&bus, "peer", silent(&begun)).await;
        let (outcome, ()) = tokio::join!(rpc.call("peer", "wait", ""), async {
            begun.notified().await;
            peer.close().await;
        });
        assert_eq!(outcome.as_ref().unwrap_err().code(), ErrorCode(-32113));
        expect_left(outcome);
        bus.wait_until_gone("peer").await;
    }
    assert_eq!(rpc.pending_calls(), 0);
}

async fn all_calls_to_a_peer_fail_when_it_leaves_and_no_others(place: Place) {
    let bus = place.open().await;
    let rpc = caller(&bus, "caller").await;
    let (opened, closed) = gate();
    let waits = Methods::new().method("wait", move |request: Request| {
        let closed = Arc::clone(&closed);
        async move {
            closed.acquire().await.expect("it opens").forget();
            Ok(request.params())
        }
    });
    // A name that begins like the one that leaves.
    let _stays = service(&bus, "peer.stays", waits).await;
    let reached = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reached);
    let silent = Methods::new().method("wait", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<Payload, _>>()
    });
    let leaves = service(&bus, "peer", silent).await;
    let call = |target: &'static str| {
        let rpc = rpc.clone();
        tokio::spawn(async move { rpc.call(target, "wait", target).await })
    };
    let calls: Vec<_> = (0..100).map(|_| (call("peer"), call("peer.stays"))).collect();
    until(|| reached.load(Ordering::SeqCst) == 100).await;
    leaves.close().await;
    let mut stayed = Vec::new();
    for (left, stays) in calls {
        expect_left(left.await.unwrap());
        stayed.push(stays);
    }
    until(|| rpc.pending_calls() == 100).await;
    opened.add_permits(100);
    for call in stayed {
        assert_eq!(text(&call.await.unwrap().unwrap()), "peer.stays");
    }
}

async fn a_call_to_a_secondary_fails_when_the_primary_leaves(place: Place) {
    let bus = place.open().await;
    let rpc = caller(&bus, "caller").await;
    let primary = bus.client("peer").await;
    let begun = Arc::default();
    let _secondary = service(&bus, "peer%%1", silent(&begun)).await;
    let (outcome, ()) = tokio::join!(rpc.call("peer%%1", "wait", ""), async {
        begun.notified().await;
        primary.close().await;
    });
    expect_left(outcome);
}

async fn a_peer_that_comes_again_is_called_again(place: Place) {
    let bus = place.open().await;
    let rpc = caller(&bus, "caller").await;
    for number in 0..50 {
        // The announcements of the old one's end and the new one's beginning may still be on their way.
        let peer = Rpc::new(bus.successor("peer").await, echo());
        let answer = rpc.call("peer", "echo", number.to_string()).await;
        assert_eq!(text(&answer.expect("the new one is there")), number.to_string());
        peer.close().await;
    }
}

async fn a_caller_that_vanishes_does_no_harm(place: Place) {
    let bus = place.open().await;
    let (opened, closed) = gate();
    let begun = Arc::new(Notify::new());
    let methods = {
        let begun = Arc::clone(&begun);
        echo().method("wait", move |_| {
            let closed = Arc::clone(&closed);
            begun.notify_one();
            async move {
                closed.acquire().await.expect("it opens").forget();
                Ok(vec![0; 100_000])
            }
        })
    };
    let _service = service(&bus, "service", methods).await;
    for _ in 0..3 {
        let vanishing = caller(&bus, "vanishing").await;
        tokio::select! {
            outcome = vanishing.call("service", "wait", "") => panic!("{outcome:?}"),
            () = begun.notified() => {}
        }
        vanishing.close().await;
        bus.wait_until_gone("vanishing").await;
    }
    opened.add_permits(3);
    let rpc = caller(&bus, "caller").await;
    assert_eq!(text(&rpc.call("service", "echo", "hello").await.unwrap()), "hello");
}

async fn a_reply_of_a_third_client_does_not_count(place: Place) {
    let bus = place.open().await;
    let rpc = caller(&bus, "caller").await;
    let peer = bus.client("peer").await;
    let forgers = [bus.client("forger").await, bus.client("peer%%1").await, bus.client("peer.x").await];
    let (outcome, id) = tokio::join!(rpc.call("peer", "secret", "word"), async {
        let request = next(&peer).await;
        let id = request.payload()[1..5].to_vec();
        for forger in &forgers {
            for forged in [[&[0x11], &id[..], b"forged"].concat(), [&[0x12], &id[..], &[0, 0], b"forged"].concat()] {
                forger.send("caller", forged).qos(QoS::Processed).await.unwrap();
            }
            // A broadcast is no reply, whoever it is from.
            peer.broadcast("caller", [&[0x11], &id[..], b"forged"].concat()).qos(QoS::Processed).await.unwrap();
        }
        peer.send("caller", [&[0x11], &id[..], b"genuine"].concat()).qos(QoS::Processed).await.unwrap();
        id
    });
    assert_eq!((text(&outcome.unwrap()), id.len()), ("genuine".to_owned(), 4));
    assert_eq!(rpc.unexpected_replies(), 6);
}

async fn a_reply_that_comes_twice_counts_once(place: Place) {
    let bus = place.open().await;
    let (told, mut seen) = seen();
    let methods = Methods::new().on_frame(move |_, frame| {
        told.send(format!("{:?}", frame.kind() == FrameKind::Message)).expect("somebody looks");
        async {}
    });
    let rpc = service(&bus, "caller", methods).await;
    let peer = bus.client("peer").await;
    let (outcome, ()) = tokio::join!(rpc.call("peer", "once", ""), async {
        let id = next(&peer).await.payload()[1..5].to_vec();
        for words in [&b"first"[..], b"second"] {
            peer.send("caller", [&[0x11], &id[..], words].concat()).qos(QoS::Processed).await.unwrap();
        }
    });
    assert_eq!(text(&outcome.unwrap()), "first");
    until(|| rpc.unexpected_replies() == 1).await;
    settle(rpc.client()).await;
    assert_eq!(seen.rest(), [""; 0], "a reply is no frame for the application");
}

async fn a_call_fails_when_the_connection_is_lost(place: Place) {
    let mut bus = place.open().await;
    let begun = Arc::default();
    let _service = service(&bus, "service", silent(&begun)).await;
    let rpc = caller(&bus, "caller").await;
    let call = tokio::spawn({
        let rpc = rpc.clone();
        async move { rpc.call("service", "wait", "").await }
    });
    begun.notified().await;
    bus.kill();
    let outcome = call.await.unwrap();
    assert!(matches!(outcome, Err(CallError::Send(SendError::Disconnected))), "{outcome:?}");
    rpc.closed().await;
    let again = rpc.call("service", "wait", "").await;
    assert_eq!(again.unwrap_err().code(), ErrorCode(-32115));
}

async fn calls_go_on_after_a_reconnection(place: Place) {
    let mut bus = place.open().await;
    let connect = async |name: &str| {
        let reconnect = Reconnect { first_delay: std::time::Duration::from_millis(5), ..Reconnect::default() };
        bus.builder(name).reconnect(reconnect).connect().await.unwrap()
    };
    let begun = Arc::default();
    let methods = silent(&begun).method("echo", async |request: Request| Ok(request.params()));
    let service = Rpc::new(connect("service").await, methods);
    let rpc = Rpc::builder(connect("caller").await).deadline(FOR_EVER).start(());
    rpc.call("service", "echo", "").await.unwrap();
    let call = tokio::spawn({
        let rpc = rpc.clone();
        async move { rpc.call("service", "wait", "").await }
    });
    begun.notified().await;
    bus.kill();
    assert!(call.await.unwrap().is_err(), "a new connection does not bring the answer");
    bus.process_mut().start_again();
    until(|| rpc.client().is_connected() && service.client().is_connected()).await;
    assert_eq!(text(&rpc.call("service", "echo", "again").await.unwrap()), "again");
    // The announcements come again, too.
    let (outcome, ()) = tokio::join!(rpc.call("service", "wait", ""), async {
        begun.notified().await;
        service.close().await;
    });
    expect_left(outcome);
}

async fn a_call_fails_when_its_peer_is_replaced(place: Place) {
    let bus = place.start_with(&["--force-register"]);
    let rpc = caller(&bus, "caller").await;
    let begun = Arc::default();
    let _old = service(&bus, "peer", silent(&begun)).await;
    let (outcome, new) = tokio::join!(rpc.call("peer", "wait", ""), async {
        begun.notified().await;
        // The broker has confirmed the call, too: before that, whoever comes may be the one that was called.
        rpc.call(".broker", "test", "").await.unwrap();
        service(&bus, "peer", echo()).await
    });
    expect_left(outcome);
    assert_eq!(text(&rpc.call("peer", "echo", "new").await.unwrap()), "new");
    drop(new);
}

async fn the_end_of_its_runtime_is_the_end_of_its_handling(place: Place) {
    let bus = place.open().await;
    let rpc = std::thread::scope(|scope| {
        let start = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { Rpc::new(bus.client("service").await, ()) })
        };
        scope.spawn(start).join().expect("it starts")
    });
    rpc.closed().await;
}

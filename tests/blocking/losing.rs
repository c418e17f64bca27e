//! A broker that goes while threads wait, and one that comes back.

use std::thread;
use std::time::Duration;

use busway::blocking::RecvTimeoutError;
use busway::blocking::rpc::Rpc;
use busway::client::{ConnectError, ConnectionState, Reconnect, SendError};
use busway::rpc::CallError;
use busway::{QoS, ResultCode};

use crate::bus::Bus;
use crate::expectations::DISCONNECTED;
use crate::support::{WATCHDOG, eventually};
use crate::threads::{FOR_EVER, client, is_closed, next_text, subscriber, threads};

threads! {
    everywhere {
        a_close_ends_every_wait
    }
    behind_sockets {
        a_broker_that_is_killed_ends_every_wait
        a_broker_that_is_killed_ends_what_waits_for_room
        a_client_connects_again_and_hears_what_it_has_subscribed_to
        a_broker_that_is_not_there_is_an_error
        a_name_that_is_taken_is_an_error
    }
}

fn a_close_ends_every_wait(bus: &mut Bus) {
    let anna = client(bus, "anna");
    thread::scope(|scope| {
        let waiting = [scope.spawn(|| anna.recv().is_none()), scope.spawn(|| anna.recv().is_none())];
        let changes = anna.state_changes();
        let watching = scope.spawn(move || changes.last());
        anna.close();
        assert!(waiting.into_iter().all(|waiting| waiting.join().expect("no panic")));
        assert!(matches!(watching.join().expect("no panic"), Some(ConnectionState::Closed { .. })));
    });
    assert_eq!(anna.state_changes().next(), None, "nothing changes after the end");
}

fn a_broker_that_is_killed_ends_every_wait(bus: &mut Bus) {
    let anna = bus.builder("anna").0.timeout(FOR_EVER).connect().expect("the broker is there");
    let bert = client(bus, "bert");
    let caller = Rpc::builder(bus.builder("caller").0.timeout(FOR_EVER).connect().expect("the broker is there"));
    let caller = caller.deadline(FOR_EVER).start(());
    // Nobody will answer it, and it takes more than the request.
    let deaf = bus.process().peer("deaf");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| bert.recv().is_none());
        let waiting_a_while = scope.spawn(|| bert.recv_timeout(FOR_EVER).map(drop));
        let calling = scope.spawn(|| caller.call("deaf", "method", "").wait());
        eventually("the call", || caller.pending_calls() == 1);
        // From now on it confirms nothing.
        bus.process().freeze();
        let confirming = scope.spawn(|| anna.send("bert", "unconfirmed").qos(QoS::Processed).wait());
        let subscribing = scope.spawn(|| anna.subscribe("topic").wait());
        bus.kill();
        assert!(waiting.join().expect("no panic"));
        assert_eq!(waiting_a_while.join().expect("no panic"), Err(RecvTimeoutError::Disconnected));
        assert_eq!(confirming.join().expect("no panic"), DISCONNECTED);
        assert_eq!(subscribing.join().expect("no panic"), DISCONNECTED);
        let called = calling.join().expect("no panic");
        assert!(matches!(called, Err(CallError::Send(SendError::Disconnected))), "{called:?}");
    });
    drop(deaf);
    assert!(is_closed(&anna) && is_closed(&bert) && is_closed(caller.client()));
}

fn a_broker_that_is_killed_ends_what_waits_for_room(bus: &mut Bus) {
    let sender = bus.builder("sender").0.send_queue(4, 1 << 20).connect().expect("the broker is there");
    bus.process().freeze();
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            loop {
                if let Err(error) = sender.publish("bulk", vec![b'.'; 100_000]).wait() {
                    return error;
                }
            }
        });
        // Until there is no room any more.
        eventually("a full queue", || sender.publish("bulk", vec![b'.'; 100_000]).try_enqueue().is_err());
        bus.kill();
        assert_eq!(sending.join().expect("no panic"), SendError::Disconnected);
    });
}

fn a_client_connects_again_and_hears_what_it_has_subscribed_to(bus: &mut Bus) {
    let again = Reconnect { first_delay: Duration::from_millis(10), max_delay: Duration::from_millis(50) };
    let anna = bus.builder("anna").0.reconnect(again).connect().expect("the broker is there");
    anna.subscribe("light/#").wait().expect("it is confirmed");
    let mut changes = anna.state_changes();
    bus.kill();
    assert!(matches!(changes.next(), Some(ConnectionState::Disconnected { .. })));
    assert_eq!(anna.send("anna", "x").qos(QoS::Processed).wait(), DISCONNECTED);
    assert_eq!(changes.next_timeout(Duration::from_millis(1)), None, "nothing has changed");
    bus.process_mut().start_again();
    assert_eq!(changes.next_timeout(WATCHDOG), Some(ConnectionState::Connected));
    let publisher = client(bus, "publisher");
    publisher.publish("light/level", "87").qos(QoS::Processed).wait().expect("it is confirmed");
    assert_eq!(next_text(&anna), "87");
    anna.close();
    assert!(matches!(changes.next(), Some(ConnectionState::Closed { .. })));
    assert_eq!(changes.next(), None);
}

fn a_broker_that_is_not_there_is_an_error(bus: &mut Bus) {
    let builder = bus.builder("anna").0;
    bus.kill();
    let refused = builder.connect();
    assert!(matches!(refused, Err(ConnectError::Unreachable { .. })), "{refused:?}");
}

fn a_name_that_is_taken_is_an_error(bus: &mut Bus) {
    let _anna = subscriber(bus, "anna", &[]);
    let refused = bus.builder("anna").0.connect();
    assert!(matches!(refused, Err(ConnectError::Refused { code: ResultCode::BUSY, .. })), "{refused:?}");
}

//! Confirmations: waited for at once, later, or not at all.

use busway::QoS;
use busway::client::{SendError, TryErrorKind};

use crate::bus::{Bus, Place};
use crate::expectations::{DISCONNECTED, EVERY_QOS, NOT_REGISTERED};
use crate::support::eventually;
use crate::threads::{client, next_text, subscriber, threads};

threads! {
    everywhere {
        confirmations_can_be_waited_for_later_and_in_any_order
        a_message_to_nobody_is_an_error
        after_the_end_everything_fails_at_once
        what_cannot_be_sent_comes_back
    }
    behind_sockets {
        a_full_queue_gives_back_what_was_to_be_sent_and_room_comes
    }
    alone {
        a_message_that_its_receiver_has_no_room_for_is_an_error
    }
}

fn confirmations_can_be_waited_for_later_and_in_any_order(bus: &mut Bus) {
    let (anna, bert) = (client(bus, "anna"), client(bus, "bert"));
    let mut confirmations = Vec::new();
    for number in 0..50 {
        let target = if number % 2 == 0 { "bert" } else { "nobody" };
        let sent = anna.send(target, number.to_string()).qos(QoS::Processed).enqueue();
        confirmations.push((number, sent.expect("it is accepted")));
    }
    for (number, confirmation) in confirmations.into_iter().rev() {
        let expected = if number % 2 == 0 { Ok(()) } else { NOT_REGISTERED };
        // Every third is not waited for.
        if number % 3 != 0 {
            assert_eq!(confirmation.wait(), expected);
        }
    }
    for number in (0..50).step_by(2) {
        assert_eq!(next_text(&bert), number.to_string());
    }
}

fn a_message_to_nobody_is_an_error(bus: &mut Bus) {
    let anna = client(bus, "anna");
    for qos in EVERY_QOS {
        let expected = if qos.is_confirmed() { NOT_REGISTERED } else { Ok(()) };
        assert_eq!(anna.send("nobody", "hello").qos(qos).wait(), expected);
    }
}

fn after_the_end_everything_fails_at_once(bus: &mut Bus) {
    let anna = subscriber(bus, "anna", &["topic"]);
    anna.close();
    for qos in EVERY_QOS {
        assert_eq!(anna.publish("topic", "x").qos(qos).wait(), DISCONNECTED);
        assert_eq!(anna.send("anna", "x").qos(qos).enqueue().map(drop), DISCONNECTED);
    }
    assert_eq!(anna.subscribe("other").wait(), DISCONNECTED);
    assert_eq!(anna.flush(), DISCONNECTED);
    assert!(!anna.is_connected());
}

fn what_cannot_be_sent_comes_back(bus: &mut Bus) {
    let anna = client(bus, "anna");
    let refused = anna.publish(&"long".repeat(1_000), "payload").try_enqueue().unwrap_err();
    assert_eq!(refused.payload.as_slice(), b"payload");
    assert!(matches!(refused.error, TryErrorKind::Failed(SendError::Address(_))), "{refused:?}");
    anna.send("anna", "in time").qos(QoS::Processed).try_enqueue().expect("there is room").wait().expect("it is there");
    assert_eq!(anna.try_recv().expect("it has arrived").payload().as_slice(), b"in time");
}

fn a_message_that_its_receiver_has_no_room_for_is_an_error() {
    for place in [Place::BUSWAY_UNIX, Place::BUSWAY_LANE, Place::BUSWAY_TCP, Place::REFERENCE_UNIX] {
        let bus = place.start_with(&["--queue-size", "8"]);
        let anna = client(&bus, "anna");
        // It does not read, so that the broker's queue for it fills.
        let _deaf = bus.process().peer("deaf");
        let payload = vec![b'x'; 60_000];
        let mut last = Ok(());
        eventually("a full queue", || {
            last = (0..50).try_for_each(|_| anna.send("deaf", &payload).qos(QoS::Processed).wait());
            last.is_err()
        });
        let code = last.expect_err("it was full").code();
        // The broker cuts it for that; who looks a moment later finds nobody.
        assert!([0x77, 0x71].contains(&code.0), "{place}: {code}");
    }
}

fn a_full_queue_gives_back_what_was_to_be_sent_and_room_comes(bus: &mut Bus) {
    let receiver = subscriber(bus, "receiver", &["bulk"]);
    let sender = bus.builder("sender").0.send_queue(4, 1 << 20).connect().expect("the broker is there");
    bus.process().freeze();
    let mut accepted = 0_usize;
    let refused = loop {
        match sender.publish("bulk", vec![b'.'; 100_000]).try_enqueue() {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((refused.error, refused.payload.len()), (TryErrorKind::Full, 100_000));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sender.publish("bulk", "the last").wait());
        bus.thaw();
        assert_eq!(waiting.join().expect("no panic"), Ok(()));
    });
    for _ in 0..accepted {
        assert_eq!(receiver.recv().expect("it was accepted").payload().len(), 100_000);
    }
    assert_eq!(next_text(&receiver), "the last");
}

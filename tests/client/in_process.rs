//! Clients without a socket, among themselves and together with remote ones.

use busway::broker::{Broker, RegisterError};
use busway::client::SendError;
use busway::{Client, FrameKind, NameFault, QoS, ResultCode};

use crate::expectations::{
    NOT_REGISTERED, expect, expect_closed, expect_message, expect_nothing, expect_publication, next, next_text, settle,
};
use crate::promises::promises;
use crate::support::TemporaryDirectory;

promises! {
    alone {
        a_receiver_that_does_not_read_is_not_cut_but_counted
        an_overflow_of_publications_is_counted_too
        the_queue_is_bounded_in_bytes
        a_remote_sender_is_told_of_an_overflow
        in_process_and_remote_clients_reach_each_other
        an_in_process_sender_keeps_its_order_to_remote_receivers
        large_payloads_cross_between_memory_and_socket
        names_are_checked_and_taken_once
        an_in_process_client_keeps_its_name_against_a_remote_one
        the_broker_answers_in_process_callers
        clients_work_without_a_runtime
    }
}

const FULL: Result<(), SendError> = Err(SendError::Refused(ResultCode::NOT_DELIVERED));

async fn with_queue(frames: usize, bytes: usize) -> Broker {
    Broker::builder().queue(frames, bytes).start().await.expect("nothing to bind, nothing to fail")
}

/// Frames for a client that the broker counts as lost.
fn lost(broker: &Broker, name: &str) -> u64 {
    let clients = broker.clients().clients;
    clients.iter().find(|client| client.name == name).expect("it is registered").lost_frames
}

async fn a_receiver_that_does_not_read_is_not_cut_but_counted() {
    let broker = with_queue(4, 1 << 20).await;
    let (sender, receiver) = (register(&broker, "sender"), register(&broker, "receiver"));
    for number in 0..4 {
        assert_eq!(sender.send("receiver", number.to_string()).qos(QoS::Processed).await, Ok(()));
    }
    for _ in 0..3 {
        assert_eq!(sender.send("receiver", "too much").qos(QoS::Processed).await, FULL);
    }
    assert_eq!(sender.send("receiver", "not confirmed").await, Ok(()));
    assert_eq!((lost(&broker, "receiver"), receiver.lost_frames()), (4, 4));
    assert_eq!(broker.stats().lost_frames, 4);
    assert!(receiver.is_connected());
    for number in 0..4 {
        let frame = next(&receiver).await;
        assert_eq!((frame.lost_before(), frame.payload().as_slice()), (0, number.to_string().as_bytes()));
    }
    assert_eq!(sender.send("receiver", "after").qos(QoS::Processed).await, Ok(()));
    assert_eq!(next(&receiver).await.lost_before(), 4);
    assert_eq!(broker.stats().cut_clients, 0);
}

async fn an_overflow_of_publications_is_counted_too() {
    let broker = with_queue(2, 1 << 20).await;
    let (sender, receiver) = (register(&broker, "sender"), register(&broker, "group.receiver"));
    receiver.subscribe("light").await.expect("it is confirmed");
    for number in 0..5 {
        let operation = if number % 2 == 0 { sender.publish("light", "") } else { sender.broadcast("group.*", "") };
        assert_eq!(operation.qos(QoS::Processed).await, Ok(()), "only messages have a receiver to speak of");
    }
    assert_eq!(lost(&broker, "group.receiver"), 3);
}

async fn the_queue_is_bounded_in_bytes() {
    let broker = with_queue(1_000, 10_000).await;
    let (sender, receiver) = (register(&broker, "sender"), register(&broker, "receiver"));
    assert_eq!(sender.send("receiver", vec![0; 1 << 20]).qos(QoS::Processed).await, Ok(()), "an empty queue takes any");
    assert_eq!(sender.send("receiver", "").qos(QoS::Processed).await, FULL);
    assert_eq!(next(&receiver).await.payload().len(), 1 << 20);
    assert_eq!(sender.send("receiver", "").qos(QoS::Processed).await, Ok(()));
}

/// A broker with a socket, and a remote client of it.
async fn mixed(queue: usize) -> (Broker, Client, TemporaryDirectory) {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    let broker = Broker::builder().unix(&path).queue(queue, 64 << 20).start().await.expect("a fresh path can be bound");
    let remote = Client::connect(path, "remote").await.expect("the broker is there");
    (broker, remote, directory)
}

async fn a_remote_sender_is_told_of_an_overflow() {
    let (broker, remote, _directory) = mixed(4).await;
    let receiver = register(&broker, "receiver");
    for _ in 0..4 {
        assert_eq!(remote.send("receiver", "").qos(QoS::Processed).await, Ok(()));
    }
    assert_eq!(remote.send("receiver", "").qos(QoS::Processed).await, FULL);
    assert_eq!(lost(&broker, "receiver"), 1);
    assert!(receiver.is_connected() && remote.is_connected());
}

async fn in_process_and_remote_clients_reach_each_other() {
    let (broker, remote, _directory) = mixed(1_000).await;
    let local = register(&broker, "local");
    local.subscribe("light/#").await.expect("it is confirmed");
    remote.subscribe("light/#").await.expect("it is confirmed");
    for (from, to, name) in [(&local, &remote, "local"), (&remote, &local, "remote")] {
        from.send(to.name(), "message").qos(QoS::RealtimeProcessed).await.expect("it is there");
        assert!(expect_message(to, name, "message").await.is_realtime());
        from.broadcast(to.name(), "broadcast").qos(QoS::Processed).await.expect("it is confirmed");
        expect(to, FrameKind::Broadcast, name, "broadcast").await;
        from.publish_for("light/level", to.name(), "for one").qos(QoS::Processed).await.expect("it is confirmed");
        expect_publication(to, name, "light/level", "for one").await;
        from.publish("light/level", "for all").await.expect("it is accepted");
        for client in [to, from] {
            expect_publication(client, name, "light/level", "for all").await;
        }
        assert_eq!(from.send("nobody", "").qos(QoS::Processed).await, NOT_REGISTERED);
        expect_nothing(to).await;
    }
}

async fn an_in_process_sender_keeps_its_order_to_remote_receivers() {
    const FRAMES: usize = 20_000;
    let (broker, _, directory) = mixed(2 * FRAMES).await;
    let builder = Client::builder(directory.join("bus.sock"), "receiver").receive_queue(FRAMES, 64 << 20);
    let remote = builder.connect().await.expect("the broker is there");
    let local = register(&broker, "local");
    let receiving = tokio::spawn(async move {
        for number in 0..FRAMES {
            assert_eq!(next_text(&remote).await, number.to_string());
        }
    });
    for number in 0..FRAMES {
        let qos = crate::expectations::EVERY_QOS[number % 4];
        local.send("receiver", number.to_string()).qos(qos).await.expect("it is there");
        if number % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    receiving.await.expect("all came in order");
}

async fn large_payloads_cross_between_memory_and_socket() {
    let (broker, remote, _directory) = mixed(1_000).await;
    let local = register(&broker, "local");
    let payload: Vec<u8> = (0..8_u32 << 18).flat_map(u32::to_le_bytes).collect();
    for (from, to) in [(&local, &remote), (&remote, &local)] {
        from.send(to.name(), &payload).qos(QoS::Processed).await.expect("it is there");
        assert!(next(to).await.payload().as_slice() == payload);
    }
}

fn register(broker: &Broker, name: &str) -> Client {
    broker.client(name).unwrap_or_else(|error| panic!("{error}"))
}

async fn names_are_checked_and_taken_once() {
    let broker = with_queue(10, 1_000).await;
    let long = "x".repeat(256);
    for (name, expected) in [
        ("", NameFault::Empty),
        (".broker", NameFault::LeadingDot),
        ("an\0na", NameFault::Nul),
        (long.as_str(), NameFault::TooLong { length: 256, limit: 255 }),
    ] {
        match broker.client(name) {
            Err(RegisterError::Name(fault)) => assert_eq!(fault, expected),
            other => panic!("{other:?} for {name:?}"),
        }
    }
    let anna = register(&broker, "anna");
    match broker.client("anna") {
        Err(error @ RegisterError::Refused { code: ResultCode::BUSY, .. }) => {
            assert!(error.to_string().contains("anna"), "{error}");
        }
        other => panic!("{other:?} for a taken name"),
    }
    anna.close().await;
    register(&broker, "anna");
    // That one was dropped at once.
    register(&broker, "anna");
}

async fn an_in_process_client_keeps_its_name_against_a_remote_one() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    let broker = Broker::builder().unix(&path).force_register(true).start().await.expect("a fresh path can be bound");
    let local = register(&broker, "anna");
    assert!(Client::connect(&path, "anna").await.is_err(), "a part of the program is not pushed out");
    expect_nothing(&local).await;
    let older = Client::connect(&path, "bert").await.expect("the name is free");
    let newer = Client::connect(&path, "bert").await.expect("the newer one takes the name");
    expect_closed(&older).await;
    expect_nothing(&newer).await;
}

async fn the_broker_answers_in_process_callers() {
    let broker = with_queue(10, 1 << 20).await;
    let anna = register(&broker, "anna");
    let request = [&[0x01, 7, 0, 0, 0][..], b"test\0"].concat();
    anna.send(".broker", request).qos(QoS::Processed).await.expect("it is there");
    let reply = next(&anna).await;
    assert_eq!((reply.sender(), &reply.payload()[..5]), (".broker", &[0x11, 7, 0, 0, 0][..]));
    settle(&anna).await;
}

async fn clients_work_without_a_runtime() {
    let broker = with_queue(100, 1 << 20).await;
    let (anna, bert) = (register(&broker, "anna"), register(&broker, "bert"));
    // A plain thread, as a program's real-time part might be.
    let thread = std::thread::spawn(move || {
        for number in 0..50 {
            anna.send("bert", format!("{number}")).qos(QoS::Processed).try_enqueue().expect("there is room");
        }
        anna
    });
    for number in 0..50 {
        assert_eq!(next_text(&bert).await, number.to_string());
    }
    drop(thread.join().expect("no panic"));
    assert_eq!(bert.send("anna", "").qos(QoS::Processed).await, NOT_REGISTERED);
}

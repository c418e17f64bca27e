//! A broker as a part of a program: how it starts, whom it serves, how it ends.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use busway::broker::{BindError, Broker};
use busway::client::ConnectionState;
use busway::{Client, Endpoint, QoS};

use crate::expectations::{
    DISCONNECTED, expect_closed, expect_message, expect_nothing, expect_publication, next, until,
};
use crate::promises::promises;
use crate::support::{self, Call, Delivery, Request, TemporaryDirectory, WirePeer};

promises! {
    alone {
        a_broker_without_endpoints_serves_its_own_program
        a_broker_serves_every_endpoint_it_was_given
        endpoints_may_have_schemes
        a_port_of_nothing_becomes_a_real_one
        an_embedded_broker_serves_raw_peers
        two_brokers_in_one_program_know_nothing_of_each_other
        a_task_that_publishes_in_a_loop_lets_others_run
        a_program_can_be_a_client_of_its_own_socket
        shutting_down_ends_every_client
        dropping_the_broker_ends_every_client
        whoever_watches_the_state_of_an_in_process_client_learns_of_the_end
        a_handshake_that_was_under_way_leads_nowhere_after_the_end
        the_socket_is_removed_and_the_place_free_at_the_end
        a_start_that_fails_leaves_nothing_behind
        clients_are_listed_with_what_they_are
        a_broker_serves_sockets_that_its_program_has_bound
        what_is_written_to_a_fifo_reaches_clients_in_the_program
    }
}

fn register(broker: &Broker, name: &str) -> Client {
    broker.client(name).unwrap_or_else(|error| panic!("{error}"))
}

/// A broker on a path of its own.
async fn on_a_path() -> (Broker, TemporaryDirectory) {
    let directory = TemporaryDirectory::new();
    let broker = Broker::builder().unix(directory.join("bus.sock")).start().await;
    (broker.expect("a fresh path can be bound"), directory)
}

async fn a_broker_without_endpoints_serves_its_own_program() {
    let broker = Broker::builder().start().await.expect("nothing to bind, nothing to fail");
    assert!(broker.endpoints().is_empty());
    let (anna, bert) = (register(&broker, "anna"), register(&broker, "bert"));
    anna.send("bert", "hello").qos(QoS::Processed).await.expect("bert is there");
    expect_message(&bert, "anna", "hello").await;
    broker.shut_down().await;
}

async fn a_broker_serves_every_endpoint_it_was_given() {
    let directory = TemporaryDirectory::new();
    let (one, two) = (directory.join("one.sock"), directory.join("two.sock"));
    let broker = Broker::builder().unix(&one).unix(&two).tcp("127.0.0.1:0").tcp("127.0.0.1:0").start().await;
    let broker = broker.expect("there is room");
    let mut clients = vec![register(&broker, "in process")];
    for endpoint in broker.endpoints() {
        let client = Client::connect(endpoint.clone(), &format!("over {endpoint}")).await.expect("it listens");
        clients.push(client);
    }
    assert_eq!(clients.len(), 5);
    for from in &clients {
        for to in &clients {
            from.send(to.name(), "hello").qos(QoS::Processed).await.expect("it is there");
            expect_message(to, from.name(), "hello").await;
        }
    }
}

async fn endpoints_may_have_schemes() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus");
    let path = path.to_str().expect("paths of tests are text");
    let builder = Broker::builder().endpoint(format!("unix:{path}")).endpoint("tcp://127.0.0.1:0");
    let broker = builder.tcp("tcp://127.0.0.1:0").start().await.expect("it is free");
    assert_eq!(broker.endpoints()[0], Endpoint::Unix(path.into()));
    let port = |number: usize| format!("tcp://{}", broker.endpoints()[number]);
    for endpoint in [format!("unix:{path}"), format!("unix://{path}"), port(1), port(2)] {
        let client = Client::connect(&endpoint, "anna").await.unwrap_or_else(|error| panic!("{endpoint}: {error}"));
        client.close().await;
        until(|| broker.clients().clients.iter().all(|client| client.name != "anna")).await;
    }
    let error = Client::connect("http://localhost:80", "anna").await.expect_err("it is no endpoint").to_string();
    assert!(error.contains("http://localhost:80") && error.ends_with("unix:PATH"), "{error}");
    let error = Broker::builder().endpoint("http://localhost:80").start().await.expect_err("it is no endpoint");
    assert!(matches!(error, BindError::NoEndpoint { .. }) && error.to_string().contains("unix:PATH"), "{error}");
}

async fn a_port_of_nothing_becomes_a_real_one() {
    let broker = Broker::builder().tcp("127.0.0.1:0").start().await.expect("a port is free");
    let Endpoint::Tcp(address) = &broker.endpoints()[0] else { panic!("it was a port") };
    assert!(!address.ends_with(":0"), "{address}");
    TcpStream::connect(address).expect("it listens");
}

async fn an_embedded_broker_serves_raw_peers() {
    let (broker, directory) = on_a_path().await;
    let local = register(&broker, "local");
    local.subscribe("light").await.expect("it is confirmed");
    let path = directory.join("bus.sock");
    // The peer blocks its thread; the broker has others.
    let peer = tokio::task::spawn_blocking(move || {
        let mut peer = WirePeer::new(support::Stream::unix(&path).expect("it listens"));
        assert_eq!(peer.introduce("raw"), support::code::OK);
        peer.perform(Request::message("local", "hello"));
        peer.perform(Request::publish("light", "on"));
        let call = Call::new(1, "test");
        assert!(peer.call(&call).is_ok(), "the broker answers");
        peer.send(&Request::message("local", "bye"));
        peer.expect(&Delivery::message("bye").from("local"));
        peer.expect_nothing();
    });
    expect_message(&local, "raw", "hello").await;
    expect_publication(&local, "raw", "light", "on").await;
    expect_message(&local, "raw", "bye").await;
    local.send("raw", "bye").qos(QoS::Processed).await.expect("it is there");
    peer.await.expect("the raw peer saw what it should");
}

async fn two_brokers_in_one_program_know_nothing_of_each_other() {
    let ((one, _first), (two, _second)) = (on_a_path().await, on_a_path().await);
    // The same names, twice.
    let mut clients = Vec::new();
    for broker in [&one, &two] {
        let local = register(broker, "local");
        local.subscribe("light").await.expect("it is confirmed");
        let remote = Client::connect(broker.endpoints()[0].clone(), "remote").await.expect("it listens");
        clients.push((local, remote));
    }
    let [(local_one, remote_one), (local_two, _remote_two)] = &clients[..] else { panic!("two brokers") };
    local_one.publish("light", "only here").qos(QoS::Processed).await.expect("it is confirmed");
    expect_publication(local_one, "local", "light", "only here").await;
    expect_nothing(local_two).await;
    one.shut_down().await;
    expect_closed(remote_one).await;
    assert!(!local_one.is_connected() && local_two.is_connected());
    expect_nothing(local_two).await;
    assert_eq!(two.clients().clients.len(), 3, "the broker itself and two clients");
}

async fn a_program_can_be_a_client_of_its_own_socket() {
    let (broker, _directory) = on_a_path().await;
    let remote = Client::connect(broker.endpoints()[0].clone(), "remote").await.expect("it listens");
    for number in 0..100 {
        remote.send("remote", number.to_string()).qos(QoS::Processed).await.expect("it is there");
        expect_message(&remote, "remote", &number.to_string()).await;
    }
    broker.shut_down().await;
    while remote.recv().await.is_some() {}
}

/// In process, over UNIX and over TCP.
async fn one_client_of_each_kind() -> (Broker, [Client; 3], TemporaryDirectory) {
    let directory = TemporaryDirectory::new();
    let broker = Broker::builder().unix(directory.join("bus.sock")).tcp("127.0.0.1:0").start().await;
    let broker = broker.expect("there is room");
    let clients = [
        register(&broker, "local"),
        Client::connect(broker.endpoints()[0].clone(), "unix").await.expect("it listens"),
        Client::connect(broker.endpoints()[1].clone(), "tcp").await.expect("it listens"),
    ];
    (broker, clients, directory)
}

async fn expect_ended(clients: &[Client]) {
    for client in clients {
        assert!(client.recv().await.is_none());
        until(|| !client.is_connected()).await;
        assert!(!expect_closed(client).await.is_empty());
        assert_eq!(client.publish("light", "on").await, DISCONNECTED);
        assert_eq!(client.subscribe("light").await, DISCONNECTED);
        client.close().await;
    }
}

async fn shutting_down_ends_every_client() {
    let (broker, clients, _directory) = one_client_of_each_kind().await;
    for client in &clients {
        broker.clients();
        client.send(client.name(), "kept").qos(QoS::Processed).await.expect("it reaches itself");
    }
    broker.shut_down().await;
    for client in &clients {
        expect_message(client, client.name(), "kept").await;
        let farewell = next(client).await;
        assert_eq!((farewell.sender(), farewell.topic()), (".broker", Some(".broker/warn")));
    }
    expect_ended(&clients).await;
}

async fn dropping_the_broker_ends_every_client() {
    let (broker, clients, _directory) = one_client_of_each_kind().await;
    drop(broker);
    expect_ended(&clients).await;
}

async fn whoever_watches_the_state_of_an_in_process_client_learns_of_the_end() {
    let broker = Broker::builder().start().await.expect("nothing to bind, nothing to fail");
    let anna = register(&broker, "anna");
    let mut state = anna.state();
    assert_eq!(*state.borrow_and_update(), ConnectionState::Connected);
    let watching =
        tokio::spawn(
            async move { state.wait_for(|state| matches!(state, ConnectionState::Closed { .. })).await.is_ok() },
        );
    tokio::task::yield_now().await;
    broker.shut_down().await;
    assert!(watching.await.expect("no task panics"));
}

async fn end(broker: Broker, is_orderly: bool) {
    if is_orderly {
        broker.shut_down().await;
    }
}

async fn a_handshake_that_was_under_way_leads_nowhere_after_the_end() {
    for is_orderly in [true, false] {
        let (broker, directory) = on_a_path().await;
        let path = directory.join("bus.sock");
        let peer = tokio::task::spawn_blocking(move || {
            let mut peer = WirePeer::new(support::Stream::unix(&path).expect("it listens"));
            peer.expect_greeting();
            peer
        });
        let mut peer = peer.await.expect("it is greeted");
        end(broker, is_orderly).await;
        let end = tokio::task::spawn_blocking(move || {
            // Perhaps nobody reads it any more.
            let _ = peer.try_write([&support::GREETING[..], &support::registration(b"late")].concat());
            peer.drain()
        });
        end.await.expect("the connection ends");
    }
}

async fn the_socket_is_removed_and_the_place_free_at_the_end() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    for is_orderly in [true, false, true] {
        let broker = Broker::builder().unix(&path).start().await.expect("the path is free");
        let remote = Client::connect(&path, "remote").await.expect("it listens");
        end(broker, is_orderly).await;
        until(|| !path.exists()).await;
        expect_closed(&remote).await;
    }
}

async fn a_start_that_fails_leaves_nothing_behind() {
    let directory = TemporaryDirectory::new();
    let (free, taken) = (directory.join("free.sock"), directory.join("taken.sock"));
    let owner = Broker::builder().unix(&taken).start().await.expect("a fresh path can be bound");
    let error = Broker::builder().unix(&free).unix(&taken).start().await.expect_err("one path is taken");
    assert!(matches!(&error, BindError::Live(path) if *path == taken), "{error}");
    assert!(!free.exists() && UnixStream::connect(&free).is_err());
    let client = Client::connect(&taken, "anna").await.expect("the owner goes on");
    expect_nothing(&client).await;
    drop(owner);
}

async fn clients_are_listed_with_what_they_are() {
    let (broker, clients, _directory) = one_client_of_each_kind().await;
    let list = broker.clients().clients;
    let seen: Vec<_> = list.iter().map(|client| (client.name.as_str(), client.kind.as_str())).collect();
    assert_eq!(seen, [(".broker", "internal"), ("local", "internal"), ("tcp", "tcp"), ("unix", "local_ipc")]);
    let unix = &list[3];
    assert_eq!(unix.pid, i32::try_from(std::process::id()).ok());
    assert_eq!(unix.port, Some(broker.endpoints()[0].to_string()));
    assert!(list[2].source.as_ref().is_some_and(|source| source.starts_with("127.0.0.1:")));
    assert_eq!(broker.stats().lost_frames, 0);
    for client in clients {
        client.close().await;
    }
    until(|| broker.clients().clients.len() == 1).await;
}

async fn a_broker_serves_sockets_that_its_program_has_bound() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    let unix = std::os::unix::net::UnixListener::bind(&path).expect("a socket can be bound");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = tcp.local_addr().expect("a listener has an address").to_string();
    let broker = Broker::builder().unix_listener(unix).tcp_listener(tcp).start().await.expect("both listen");
    assert_eq!(broker.endpoints(), [Endpoint::Unix(path.clone()), Endpoint::Tcp(address)]);
    for (name, endpoint) in ["one", "other"].into_iter().zip(broker.endpoints()) {
        Client::connect(endpoint.clone(), name).await.unwrap_or_else(|error| panic!("{endpoint}: {error}"));
    }
    broker.shut_down().await;
    assert!(path.exists(), "the path is the program's");
}

async fn what_is_written_to_a_fifo_reaches_clients_in_the_program() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("fifo");
    let broker = Broker::builder().fifo(&path).start().await.expect("a FIFO can be made");
    let anna = register(&broker, "anna");
    anna.subscribe("light").await.expect("the broker is there");
    let written = path.clone();
    let writing = tokio::task::spawn_blocking(move || std::fs::write(written, "anna two words\n=light on\n"));
    writing.await.expect("no panic").expect("the broker reads the FIFO");
    expect_message(&anna, ".broker", "two words").await;
    expect_publication(&anna, ".broker", "light", "on").await;
    let Err(error) = Broker::builder().fifo(&path).start().await else { panic!("one reader is enough") };
    assert!(matches!(&error, BindError::BeingRead(place) if *place == path), "{error}");
    broker.shut_down().await;
    assert!(!path.exists(), "the FIFO is removed");
}

async fn a_task_that_publishes_in_a_loop_lets_others_run() {
    let (ended, has_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be started").block_on(async {
            let broker = Broker::builder().start().await.expect("nothing to bind, nothing to fail");
            let anna = register(&broker, "anna");
            let for_ever = async {
                loop {
                    anna.publish("light", "on").await.expect("it is accepted");
                }
            };
            let _: Result<(), _> = tokio::time::timeout(std::time::Duration::from_millis(20), for_ever).await;
            ended.send(()).expect("somebody waits");
        });
    });
    has_ended.recv_timeout(support::WATCHDOG).expect("the time is noticed");
}

//! Connecting, and what can be in the way.

use std::time::Duration;

use busway::client::ConnectError;
use busway::{Client, Endpoint, NameFault, ResultCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::bus::Place;
use crate::expectations::{expect_message, expect_nothing};
use crate::fake_broker::{FakeBroker, delivery};
use crate::promises::promises;
use crate::support::{GREETING, TemporaryDirectory};

promises! {
    everywhere {
        a_taken_name_is_refused
        a_name_may_have_any_letters
    }
    over_sockets {
        a_refusal_names_the_endpoint_the_name_and_the_reason
        many_clients_connect_at_once
    }
    alone {
        names_that_no_broker_takes_are_refused_before_connecting
        a_path_where_nothing_is_cannot_be_reached
        a_file_that_is_no_socket_cannot_be_reached
        a_port_where_nobody_listens_cannot_be_reached
        a_host_that_does_not_exist_cannot_be_reached
        a_web_server_is_no_broker
        another_version_of_the_protocol_is_no_broker
        a_server_that_hangs_up_is_a_lost_connection
        a_server_that_says_nothing_times_out
        a_broker_that_stops_amid_the_handshake_times_out
        a_broker_that_refuses_the_version_is_heard
        frames_that_come_with_the_handshake_are_received
        a_handshake_in_single_bytes_succeeds
    }
}

async fn a_taken_name_is_refused(place: Place) {
    let bus = place.open().await;
    let anna = bus.client("anna").await;
    assert_eq!(bus.attempt("anna").await.err(), Some(ResultCode::BUSY));
    expect_nothing(&anna).await;
}

async fn a_name_may_have_any_letters(place: Place) {
    let bus = place.open().await;
    for name in ["größe", "with spaces", "a/b+#*?", "\u{1F50C}", "%", "tab\tand newline\n"] {
        let client = bus.client(name).await;
        client.send(name, "hello").await.expect("it is accepted");
        expect_message(&client, name, "hello").await;
    }
}

async fn a_refusal_names_the_endpoint_the_name_and_the_reason(place: Place) {
    let bus = place.open().await;
    let _anna = bus.client("anna").await;
    for (name, expected) in [("anna", ResultCode::BUSY), ("nobody%%1", ResultCode::NOT_REGISTERED)] {
        let error = bus.builder(name).connect().await.expect_err("the broker refuses");
        let text = error.to_string();
        match error {
            ConnectError::Refused { endpoint, name: refused, code } => {
                assert_eq!((endpoint, refused.as_str(), code), (bus.endpoint(), name, expected));
            }
            other => panic!("{other:?} is not a refusal"),
        }
        assert!(text.contains(&bus.endpoint().to_string()) && text.contains(name), "{text}");
    }
}

async fn many_clients_connect_at_once(place: Place) {
    let bus = place.open().await;
    let tasks: Vec<_> =
        (0..100).map(|number| tokio::spawn(bus.builder(&format!("client.{number}")).connect())).collect();
    let mut clients = Vec::new();
    for task in tasks {
        clients.push(task.await.expect("no task panics").expect("there is room for all"));
    }
    for client in &clients {
        expect_nothing(client).await;
    }
}

async fn names_that_no_broker_takes_are_refused_before_connecting() {
    let long = "x".repeat(256);
    for (name, expected) in [
        ("", NameFault::Empty),
        (".broker", NameFault::LeadingDot),
        ("an\0na", NameFault::Nul),
        (long.as_str(), NameFault::TooLong { length: 256, limit: 255 }),
    ] {
        // Nobody listens there: nothing was tried.
        match Client::connect("/nowhere/bus.sock", name).await {
            Err(ConnectError::Name(fault)) => assert_eq!(fault, expected),
            other => panic!("{other:?} for the name {name:?}"),
        }
    }
}

/// What `main` shows of an error that it returns is for people.
#[test]
fn errors_read_the_same_wherever_they_are_shown() {
    use busway::client::SendError;
    let endpoint = Endpoint::from("/nowhere/bus.sock");
    let unreachable = ConnectError::Unreachable { endpoint, source: std::io::ErrorKind::NotFound.into() };
    let errors: [Box<dyn std::error::Error>; 5] = [
        Box::new(unreachable),
        Box::new(ConnectError::Name(NameFault::Empty)),
        Box::new(SendError::Refused(ResultCode::NOT_DELIVERED)),
        Box::new(busway::LaneOff::Negotiating),
        Box::new(busway::broker::BindError::Live("/nowhere/bus.sock".into())),
    ];
    for error in errors {
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}

/// Where a child of the next test is to find a broker.
const DEFAULT: &str = "BUSWAY_TEST_OF_DEFAULT_SOCKET";

#[test]
#[allow(clippy::print_stdout, reason = "a child tells what it has found")]
fn a_broker_at_a_default_socket_is_found() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    if let Ok(way) = std::env::var(DEFAULT) {
        let found = if way == "blocking" {
            busway::blocking::Client::connect_default("anna").map(|client| client.name().to_owned())
        } else {
            runtime.block_on(Client::connect_default("anna")).map(|client| client.name().to_owned())
        };
        println!("found: {found:?}");
        return;
    }
    if std::os::unix::net::UnixStream::connect("/run/busway/busway.sock").is_ok() {
        // The system's broker goes first.
        return;
    }
    let session = TemporaryDirectory::new();
    let ask = |way: &str| {
        let mut child = std::process::Command::new(std::env::current_exe().expect("it runs"));
        child.args(["--exact", "connecting::a_broker_at_a_default_socket_is_found", "--nocapture"]);
        let asked = child.env(DEFAULT, way).env("XDG_RUNTIME_DIR", session.as_ref()).output().expect("it runs");
        String::from_utf8_lossy(&asked.stdout).into_owned()
    };
    let alone = ask("async");
    let own = session.join("busway.sock").display().to_string();
    assert!(
        alone.contains("found: Err(no broker at the default sockets (/run/busway/") && alone.contains(&own),
        "{alone}"
    );
    let broker = runtime.block_on(busway::broker::Broker::builder().unix(session.join("busway.sock")).start());
    let _broker = broker.expect("a fresh path can be bound");
    for way in ["async", "blocking"] {
        let found = ask(way);
        assert!(found.contains("found: Ok(\"anna\")"), "{found}");
    }
}

/// Nobody is there: the error names the place and says so.
async fn expect_unreachable(endpoint: impl Into<Endpoint>) {
    let endpoint = endpoint.into();
    let error = Client::connect(endpoint.clone(), "anna").await.expect_err("nobody is there");
    assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
    assert!(matches!(&error, ConnectError::Unreachable { endpoint: named, .. } if *named == endpoint), "{error:?}");
}

async fn a_path_where_nothing_is_cannot_be_reached() {
    let directory = TemporaryDirectory::new();
    expect_unreachable(directory.join("bus.sock")).await;
    expect_unreachable(directory.join("missing/bus.sock")).await;
    expect_unreachable(format!("/{}.sock", "x".repeat(300))).await;
}

async fn a_file_that_is_no_socket_cannot_be_reached() {
    let directory = TemporaryDirectory::new();
    let file = directory.join("file.sock");
    std::fs::write(&file, "text").expect("a file can be written");
    expect_unreachable(file).await;
    expect_unreachable(directory.as_ref().to_owned()).await;
    // A socket that its owner left behind.
    let stale = directory.join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("a fresh path can be bound"));
    expect_unreachable(stale).await;
}

async fn a_port_where_nobody_listens_cannot_be_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    expect_unreachable(address).await;
}

async fn a_host_that_does_not_exist_cannot_be_reached() {
    expect_unreachable("no-such-host.invalid:9924").await;
    expect_unreachable("127.0.0.1:notaport").await;
    expect_unreachable("127.0.0.1").await;
}

async fn a_web_server_is_no_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection comes");
        let _ = stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n").await;
        let _ = stream.read(&mut [0; 64]).await;
    });
    let error = Client::connect(address.as_str(), "anna").await.expect_err("it is no broker");
    assert!(matches!(error, ConnectError::NotBroker { .. }), "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
    server.await.expect("no task panics");
}

/// For what ends by the timeout alone.
const SHORT: Duration = Duration::from_millis(200);
/// For what has to end by itself.
const LONG: Duration = Duration::from_secs(3_600);

/// What connecting to a server comes to that says this and then nothing more.
async fn attempt(bytes: &[u8], timeout: Duration) -> ConnectError {
    let broker = FakeBroker::start();
    let (client, _peer) = tokio::join!(broker.builder("anna").timeout(timeout).connect(), async {
        let mut peer = broker.accept_silently().await;
        // On a loaded machine the client may have given up before.
        let _ = peer.try_write(bytes).await;
        peer
    });
    client.expect_err("the handshake is never completed")
}

async fn another_version_of_the_protocol_is_no_broker() {
    for greeting in [[0xEB, 2, 0], [0xEB, 1, 1], [0xEC, 1, 0], [0, 0, 0]] {
        let error = attempt(&greeting, LONG).await;
        assert!(matches!(error, ConnectError::NotBroker { .. }), "{error:?}");
    }
}

async fn a_server_that_hangs_up_is_a_lost_connection() {
    let broker = FakeBroker::start();
    for greeting in [&[][..], &GREETING[..1], &GREETING] {
        let (client, ()) = tokio::join!(broker.builder("anna").connect(), async {
            let mut peer = broker.accept_silently().await;
            peer.write(greeting).await;
        });
        let error = client.expect_err("nobody goes on");
        assert!(matches!(error, ConnectError::Lost { .. }), "{error:?}");
    }
}

async fn a_server_that_says_nothing_times_out() {
    let error = attempt(&[], SHORT).await;
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
}

async fn a_broker_that_stops_amid_the_handshake_times_out() {
    for bytes in [&GREETING[..2], &GREETING, &[0xEB, 1, 0, 1]] {
        let error = attempt(bytes, SHORT).await;
        assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
    }
}

async fn a_broker_that_refuses_the_version_is_heard() {
    let error = attempt(&[0xEB, 1, 0, 0x75], LONG).await;
    assert!(matches!(error, ConnectError::Refused { code: ResultCode::NOT_SUPPORTED, .. }), "{error:?}");
}

async fn frames_that_come_with_the_handshake_are_received() {
    let broker = FakeBroker::start();
    let (client, _peer) = tokio::join!(broker.builder("anna").connect(), async {
        let mut peer = broker.accept_silently().await;
        let frames = [delivery(0x12, b"bert\0first"), delivery(0x12, &[b"bert\0", &[b'x'; 100_000][..]].concat())];
        peer.write(&[&GREETING[..], &[1, 1], &frames.concat()].concat()).await;
        peer
    });
    let client = client.expect("all of the handshake is there");
    expect_message(&client, "bert", "first").await;
    expect_message(&client, "bert", &"x".repeat(100_000)).await;
}

async fn a_handshake_in_single_bytes_succeeds() {
    let broker = FakeBroker::start();
    let (client, peer) = tokio::join!(broker.builder("anna").connect(), async {
        let mut peer = broker.accept_silently().await;
        for byte in GREETING {
            peer.write(&[byte]).await;
            tokio::task::yield_now().await;
        }
        peer.expect_hello().await;
        peer.write(&[1]).await;
        peer.expect_name().await;
        peer.write(&[1]).await;
        peer
    });
    assert_eq!((client.expect("it succeeds").name(), peer.name.as_str()), ("anna", "anna"));
}

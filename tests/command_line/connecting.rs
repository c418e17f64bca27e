//! Where the command line looks for a broker, and what it says when there is none.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::thread;

use crate::program::{Busway, endpoint};
use crate::support::{Delivery, Flavor, Setup, TemporaryDirectory, Transport, promises};

promises! {
    everywhere {
        the_environment_says_where_the_broker_is
        the_command_line_overrides_the_environment
        the_place_may_have_a_scheme
        a_name_that_is_taken_is_refused
        a_name_that_is_none_is_refused
    }
    busway_only {
        "the reference takes any number of clients": a_broker_that_takes_no_more_clients_is_told_of
    }
}

fn the_environment_says_where_the_broker_is(setup: &Setup) {
    let broker = setup.start();
    let mut anna = broker.peer("anna");
    let send = Busway::new(&["-n", "cli", "send", "anna", "hello"]);
    assert_eq!(send.environment("BUSWAY_CONNECT", endpoint(setup, &broker)).output(), "OK\n");
    anna.expect(&Delivery::message("hello").from("cli"));
}

fn the_command_line_overrides_the_environment(setup: &Setup) {
    let broker = setup.start();
    let test = Busway::on(setup, &broker, &["broker", "test"]);
    test.environment("BUSWAY_CONNECT", "/nowhere/bus.sock").output();
}

fn the_place_may_have_a_scheme(setup: &Setup) {
    let broker = setup.start();
    let place = endpoint(setup, &broker);
    let schemes = if setup.transport == Transport::Unix { &["unix:", "unix://"][..] } else { &["tcp://"] };
    for scheme in schemes {
        let place = format!("{scheme}{place}");
        Busway::new(&["-c", &place, "broker", "test"]).output();
        Busway::new(&["broker", "test"]).environment("BUSWAY_CONNECT", place).output();
    }
}

#[test]
fn another_scheme_is_wrong_usage() {
    for place in ["http://localhost:80", "ws://localhost/bus.sock", "tcp://localhost"] {
        let finished = Busway::new(&["-c", place, "broker", "test"]).run();
        assert_eq!((finished.code, finished.stdout.as_str()), (2, ""), "{finished:?}");
        assert!(finished.stderr.contains(place) && finished.stderr.contains("HOST:PORT"), "{finished:?}");
    }
}

fn a_name_that_is_taken_is_refused(setup: &Setup) {
    let broker = setup.start();
    let _anna = broker.peer("anna");
    for command in [&["listen"][..], &["send", "anna", "hello"], &["publish", "light", "on"], &["broker", "test"]] {
        let finished = Busway::on(setup, &broker, &[&["-n", "anna"], command].concat()).run();
        finished.expect_failure(1, &["anna", "taken", &endpoint(setup, &broker)]);
    }
}

fn a_name_that_is_none_is_refused(setup: &Setup) {
    let broker = setup.start();
    for (name, reason) in [("", "empty"), (".broker", "'.'"), (&"x".repeat(256), "256 bytes")] {
        Busway::on(setup, &broker, &["-n", name, "broker", "test"]).run().expect_wrong_usage(&["--name", reason]);
    }
    let finished = Busway::on(setup, &broker, &["-n", "nobody%%1", "broker", "test"]).run();
    finished.expect_failure(1, &["nobody%%1", "no such client"]);
}

fn a_broker_that_takes_no_more_clients_is_told_of(setup: &Setup) {
    let broker = setup.start_with(&["--max-clients", "1"]);
    let _anna = broker.peer("anna");
    let finished = Busway::on(setup, &broker, &["-n", "bert", "broker", "test"]).run();
    finished.expect_failure(1, &["bert", "--max-clients"]);
}

#[test]
fn nobody_there_is_told_with_the_place() {
    let directory = TemporaryDirectory::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let path = directory.join("bus.sock");
    for place in [path.to_str().expect("paths of tests are text"), &port, "no-such-host.invalid:9924"] {
        for command in [&["listen"][..], &["send", "anna", "hello"], &["publish", "light", "on"], &["broker", "test"]] {
            let finished = Busway::new(&[&["-c", place], command].concat()).run();
            finished.expect_failure(3, &[place, "cannot connect"]);
        }
    }
}

const SYSTEM: &str = "/run/busway/busway.sock";

#[test]
fn without_a_place_every_default_socket_is_tried() {
    let session = TemporaryDirectory::new();
    let finished = Busway::new(&["broker", "test"])
        .environment("XDG_RUNTIME_DIR", session.as_ref())
        .environment("HOME", session.as_ref())
        .run();
    let own = session.join("busway.sock");
    let temporary = format!("/tmp/busway-{}/busway.sock", rustix::process::getuid().as_raw());
    if finished.code == 0 {
        // Somebody runs a broker on this machine: then that is what is found.
        assert!(UnixStream::connect(SYSTEM).is_ok() || UnixStream::connect(&temporary).is_ok());
        return;
    }
    let own = own.to_str().expect("paths of tests are text");
    finished.expect_failure(3, &[SYSTEM, own, "buswayd", "-c", "BUSWAY_CONNECT"]);
    // Where nobody can write but this user; what others may make there is not looked at.
    let has_directory = std::path::Path::new(&temporary).parent().is_some_and(std::path::Path::is_dir);
    assert_eq!(finished.stderr.contains(&temporary), has_directory, "{}", finished.stderr);
}

#[test]
fn the_default_socket_of_the_session_is_found() {
    if UnixStream::connect(SYSTEM).is_ok() {
        // The system's broker goes first.
        return;
    }
    let broker = Setup { flavor: Flavor::Busway, transport: Transport::Unix }.start();
    let mut anna = broker.peer("anna");
    let session = TemporaryDirectory::new();
    symlink(broker.socket(), session.join("busway.sock")).expect("a link can be made");
    let send = Busway::new(&["-n", "cli", "send", "anna", "hello"]);
    assert_eq!(send.environment("XDG_RUNTIME_DIR", session.as_ref()).output(), "OK\n");
    anna.expect(&Delivery::message("hello").from("cli"));
    // A variable that is set to nothing is as good as none.
    let test = Busway::new(&["broker", "test"]).environment("BUSWAY_CONNECT", "");
    test.environment("XDG_RUNTIME_DIR", session.as_ref()).output();
}

#[test]
fn something_that_is_no_broker_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let place = listener.local_addr().expect("it is bound").to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection comes");
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
        let _ = stream.read(&mut [0; 64]);
    });
    Busway::new(&["-c", &place, "broker", "test"]).run().expect_failure(3, &[&place, "not a BUS/RT broker"]);
    server.join().expect("no panic");
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let place = listener.local_addr().expect("it is bound").to_string();
    let finished = Busway::new(&["-c", &place, "--timeout", "0.2", "broker", "test"]).run();
    finished.expect_failure(3, &[&place, "in time"]);
}

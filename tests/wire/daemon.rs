//! Where a broker may listen: it takes nothing that is not its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support::{Outcome, Setup, TemporaryDirectory, promises};

promises! {
    everywhere {
        a_taken_port_is_an_error
        an_unknown_option_is_an_error
        the_options_of_deployed_brokers_are_accepted
        one_worker_is_enough
    }
    busway_unix_only {
        "the reference takes the path over and leaves its predecessor deaf": two_brokers_on_one_path_are_one_too_many
        "the reference takes the path over from any program": a_socket_that_another_program_serves_is_left_to_it
        "the reference removes whatever lies at the path": a_file_at_the_path_is_left_alone
        "the reference removes whatever lies at the path": a_link_at_the_path_is_left_alone
        "the reference panics": a_path_in_no_directory_is_named_in_the_error
        "the reference creates its socket as the umask has it": the_socket_has_mode_0660_unless_told_otherwise
    }
    busway_tcp_only {
        "the reference panics": a_taken_port_is_named_in_the_error
        "the reference panics": an_address_that_is_none_is_named_in_the_error
    }
    reference_only {
        the_reference_removes_a_file_at_the_path
    }
}

/// Starts a broker where none can be and returns what it said on stderr.
fn expect_refusal(setup: &Setup, address: &str) -> String {
    let outcome = Outcome::of(setup.flavor, &["-B", address]);
    assert!(!outcome.status.success(), "the broker has to say that it failed: {}", outcome.status);
    assert!(outcome.status.code().is_some(), "the broker ends by itself: {}", outcome.status);
    outcome.stderr
}

/// As `expect_refusal`, with a message that a person can use.
fn expect_message(setup: &Setup, address: &str) {
    let outcome = Outcome::of(setup.flavor, &["-B", address]);
    assert!(outcome.status.code().is_some_and(|code| code != 0), "{}", outcome.status);
    assert!(outcome.stderr.contains(address), "the message names {address}:\n{}", outcome.stderr);
    assert!(!outcome.stderr.contains("panicked") && !outcome.stdout.contains("panicked"), "{}", outcome.stderr);
}

fn a_taken_port_is_an_error(setup: &Setup) {
    let broker = setup.start();
    expect_refusal(setup, &format!("127.0.0.1:{}", broker.port()));
    broker.expect_service();
}

fn a_taken_port_is_named_in_the_error(setup: &Setup) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    expect_message(setup, &address.to_string());
}

fn an_address_that_is_none_is_named_in_the_error(setup: &Setup) {
    for address in ["127.0.0.1:99999", "nowhere"] {
        expect_message(setup, address);
    }
}

fn an_unknown_option_is_an_error(setup: &Setup) {
    let outcome = Outcome::of(setup.flavor, &["--no-such-option"]);
    assert_eq!(outcome.status.code(), Some(2), "{}", outcome.status);
    assert!(outcome.stderr.contains("--no-such-option"), "{}", outcome.stderr);
}

fn the_options_of_deployed_brokers_are_accepted(setup: &Setup) {
    let options =
        ["-w", "2", "-t", "2.5", "--buf-size", "4096", "--buf-ttl", "50", "--queue-size", "1000", "--log-syslog"];
    setup.start_with(&options).expect_service();
    setup.start_with(&["--verbose", "--force-register"]).expect_service();
}

fn one_worker_is_enough(setup: &Setup) {
    setup.start_with(&["-w", "1"]).expect_service();
}

fn two_brokers_on_one_path_are_one_too_many(setup: &Setup) {
    let broker = setup.start();
    let mut peer = broker.peer("anna");
    expect_message(setup, text(&broker.socket()));
    // The first one goes on, for who was there and for who comes.
    peer.expect_nothing();
    broker.expect_service();
}

fn a_socket_that_another_program_serves_is_left_to_it(setup: &Setup) {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    let _listener = UnixListener::bind(&path).expect("a socket can be made");
    expect_message(setup, text(&path));
    assert!(fs::metadata(&path).expect("the socket is still there").file_type().is_socket());
}

fn a_file_at_the_path_is_left_alone(setup: &Setup) {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    fs::write(&path, "the only copy").expect("a file can be written");
    expect_message(setup, text(&path));
    assert_eq!(fs::read_to_string(&path).expect("the file is still there"), "the only copy");
}

fn a_link_at_the_path_is_left_alone(setup: &Setup) {
    let directory = TemporaryDirectory::new();
    let (path, file) = (directory.join("bus.sock"), directory.join("file"));
    fs::write(&file, "the only copy").expect("a file can be written");
    std::os::unix::fs::symlink(&file, &path).expect("a link can be made");
    expect_message(setup, text(&path));
    assert_eq!(fs::read_link(&path).expect("the link is still there"), file);
    assert_eq!(fs::read_to_string(&file).expect("the file is still there"), "the only copy");
}

fn a_path_in_no_directory_is_named_in_the_error(setup: &Setup) {
    let directory = TemporaryDirectory::new();
    expect_message(setup, text(&directory.join("missing").join("bus.sock")));
}

fn the_socket_has_mode_0660_unless_told_otherwise(setup: &Setup) {
    let mode = |path: &Path| fs::metadata(path).expect("the socket is there").permissions().mode() & 0o777;
    assert_eq!(mode(&setup.start().socket()), 0o660);
    assert_eq!(mode(&setup.start_with(&["--socket-mode", "0600"]).socket()), 0o600);
}

fn the_reference_removes_a_file_at_the_path(setup: &Setup) {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    fs::write(&path, "the only copy").expect("a file can be written");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("a listener has an address").to_string();
    // The taken port comes second and ends it, by which time the file is gone.
    Outcome::of(setup.flavor, &["-B", text(&path), "-B", &address]);
    assert!(fs::read_to_string(&path).is_err(), "there is no file any more");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

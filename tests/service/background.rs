//! `buswayd -D`.

use std::fs;
use std::net::TcpListener;
use std::process::Output;

use rustix::process::Signal;

use crate::program::{Place, Stranger, read_pid};
use crate::support::{Flavor, Outcome};

/// Runs `buswayd -D` until whoever started it has its shell back.
fn start(place: &Place, options: &[&str]) -> Output {
    let pid_file = place.pid_file();
    let output = place.buswayd().args(["-D", "-P"]).arg(pid_file).args(options).output();
    output.expect("buswayd can be started")
}

fn daemon(place: &Place) -> Stranger {
    let output = start(place, &[]);
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Stranger(read_pid(&place.pid_file()).expect("the pid file is written before the shell goes on"))
}

#[test]
fn a_daemon_listens_when_whoever_started_it_goes_on() {
    let place = Place::new();
    let daemon = daemon(&place);
    assert!(place.serves(), "at once, without a wait");
    assert!(daemon.is_alive());
}

#[test]
fn a_daemon_has_let_go_of_the_terminal() {
    let place = Place::new();
    let daemon = daemon(&place);
    let process = format!("/proc/{}", daemon.0);
    let status = fs::read_to_string(format!("{process}/stat")).expect("it runs");
    let fields: Vec<&str> = status.rsplit(')').next().expect("the name comes first").split_whitespace().collect();
    let number = daemon.0.to_string();
    assert_eq!(fields[3], number, "it leads a session of its own");
    assert_eq!(fields[4], "0", "no terminal controls it");
    for descriptor in ["0", "1", "2"] {
        let target = fs::read_link(format!("{process}/fd/{descriptor}")).expect("it is open");
        assert_eq!(target.to_str(), Some("/dev/null"), "descriptor {descriptor}");
    }
}

#[test]
fn a_daemon_without_a_configuration_file_does_not_mind_a_hangup() {
    let place = Place::new();
    let daemon = daemon(&place);
    for _ in 0..3 {
        rustix::process::kill_process(daemon.0, Signal::HUP).expect("it is there");
    }
    assert!(place.serves() && daemon.is_alive());
    daemon.end(Signal::TERM);
    assert!(!place.socket().exists() && !place.pid_file().exists());
}

#[test]
fn a_daemon_that_is_asked_to_end_removes_its_pid_file_and_its_socket() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        daemon(&place).end(signal);
        assert!(!place.pid_file().exists(), "the pid file is removed");
        assert!(!place.socket().exists(), "the socket is removed");
    }
}

#[test]
fn a_daemon_that_cannot_listen_says_so_on_the_terminal_and_in_its_exit_code() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("a listener has an address").to_string();
    let output = start(&place, &["-B", &address]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("taken"), "{said}");
    assert!(!place.pid_file().exists() && !place.socket().exists(), "nothing is left behind");
}

#[test]
fn a_wrong_command_line_of_a_daemon_is_told_as_any_other() {
    let outcome = Outcome::of(Flavor::Busway, &["-D", "--no-such-option"]);
    assert_eq!(outcome.status.code(), Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--no-such-option"), "{}", outcome.stderr);
}

#[test]
fn a_second_daemon_on_the_same_pid_file_is_one_too_many() {
    let place = Place::new();
    let daemon = daemon(&place);
    let output = start(&place, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&daemon.0.to_string()) && said.contains("buswayd.pid"), "{said}");
    assert!(place.serves() && daemon.is_alive(), "the first one goes on");
    assert_eq!(read_pid(&place.pid_file()), Some(daemon.0), "the pid file is still the first one's");
}

#[test]
fn a_daemon_that_was_killed_can_be_started_again() {
    let place = Place::new();
    daemon(&place).end(Signal::KILL);
    assert!(place.pid_file().exists() && place.socket().exists(), "a killed daemon leaves both behind");
    let daemon = daemon(&place);
    assert!(place.serves() && daemon.is_alive());
}

//! What a service manager is told: the messages of sd_notify(3).

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use rustix::process::Signal;

use crate::program::{Place, Running, clean};
use crate::support::{Flavor, WATCHDOG, next_datagram};

/// A service manager that listens.
struct Manager {
    place: Place,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let place = Place::new();
        let socket = UnixDatagram::bind(place.directory.join("notify")).expect("a socket can be made");
        socket.set_read_timeout(Some(WATCHDOG)).expect("a timeout can be set");
        Self { place, socket }
    }

    fn service(&self) -> Command {
        let mut command = self.place.buswayd();
        command.env("NOTIFY_SOCKET", self.place.directory.join("notify"));
        command
    }

    /// The next message.
    fn hear(&self) -> String {
        next_datagram(&self.socket).trim_end().to_owned()
    }
}

#[test]
fn a_service_is_ready_when_it_listens_and_says_when_it_stops() {
    let manager = Manager::new();
    let mut service = Running::start(&mut manager.service());
    assert_eq!(manager.hear(), "READY=1");
    assert!(manager.place.serves(), "at once, without a wait");
    service.signal(Signal::TERM);
    assert_eq!(manager.hear(), "STOPPING=1");
    assert_eq!(service.end_by_itself(), Some(0));
}

#[test]
fn a_service_stays_in_the_foreground_whatever_its_file_says() {
    let manager = Manager::new();
    // What systemd says to the process that it starts.
    let mut shell = clean("sh");
    shell.args(["-c", "SYSTEMD_EXEC_PID=$$ exec \"$@\"", "sh"]).arg(Flavor::Busway.program()).arg("-D");
    shell.arg("-B").arg(manager.place.socket()).env("NOTIFY_SOCKET", manager.place.directory.join("notify"));
    let mut service = Running::start(&mut shell);
    assert_eq!(manager.hear(), "READY=1");
    assert!(manager.place.serves(), "at once, without a wait");
    service.signal(Signal::TERM);
    assert_eq!(manager.hear(), "STOPPING=1", "it is the process that was started");
    assert_eq!(service.end_by_itself(), Some(0));
}

#[test]
fn a_service_that_cannot_listen_is_never_ready() {
    let manager = Manager::new();
    let output = manager.service().args(["-B", "/nowhere/bus.sock"]).output().expect("buswayd can be started");
    assert_eq!(output.status.code(), Some(1));
    manager.socket.set_nonblocking(true).expect("a socket can be asked not to wait");
    assert!(manager.socket.recv(&mut [0; 100]).is_err(), "it has ended and has said nothing");
}

#[test]
fn a_service_gives_signs_of_life_when_it_is_asked_to() {
    let manager = Manager::new();
    let mut service = Running::start(manager.service().env("WATCHDOG_USEC", "200000"));
    assert_eq!(manager.hear(), "READY=1");
    for _ in 0..5 {
        assert_eq!(manager.hear(), "WATCHDOG=1");
    }
    service.signal(Signal::TERM);
    while manager.hear() != "STOPPING=1" {}
    assert_eq!(service.end_by_itself(), Some(0));
}

#[test]
fn signs_of_life_that_were_asked_of_another_process_are_not_given() {
    let manager = Manager::new();
    let asked = [("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let service = Running::start(manager.service().envs(asked));
    assert_eq!(manager.hear(), "READY=1");
    // Hundreds of them would have come by the time that a client is through.
    while !manager.place.serves() {}
    service.signal(Signal::TERM);
    assert_eq!(manager.hear(), "STOPPING=1");
}

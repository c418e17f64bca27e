//! Sockets that a service manager has bound (LISTEN_FDS).

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::program::{Place, Running, clean, greets};
use crate::support::{Flavor, Stream, eventually};

/// Binds what it is told, passes it the way systemd does and becomes the program.
const LAUNCHER: &str = r#"
import os, socket, sys

kinds = {
    'unix': (socket.AF_UNIX, socket.SOCK_STREAM), 'datagram': (socket.AF_UNIX, socket.SOCK_DGRAM),
    'tcp': (socket.AF_INET, socket.SOCK_STREAM), 'silent': (socket.AF_UNIX, socket.SOCK_STREAM),
}
passed = []
for word in sys.argv[1].split():
    kind, _, where = word.partition('=')
    one = socket.socket(*kinds[kind])
    one.bind(('127.0.0.1', 0) if kind == 'tcp' else where)
    if kind in ('unix', 'tcp'):
        one.listen()
    if kind == 'tcp':
        with open(where, 'w') as file:
            file.write(str(one.getsockname()[1]))
    passed.append(os.dup2(one.fileno(), 100 + len(passed), inheritable=False))
for number, descriptor in enumerate(passed):
    os.dup2(descriptor, 3 + number)
os.environ['LISTEN_FDS'] = str(len(passed))
os.environ['LISTEN_PID'] = str(os.getpid() + int(sys.argv[2]))
os.execv(sys.argv[3], sys.argv[3:])
"#;

/// What starts `buswayd` with such sockets; `offset` is added to the number of the process they are for.
fn launcher(place: &Place, sockets: &str, offset: &str) -> Command {
    let mut command = clean("python3");
    command.args(["-c", LAUNCHER, sockets, offset]).arg(Flavor::Busway.program()).current_dir(&place.directory);
    // Where its default socket would be.
    command.env("RUNTIME_DIRECTORY", place.directory.join("runtime"));
    fs::create_dir_all(place.directory.join("runtime")).expect("a directory can be made");
    command
}

fn default_socket(place: &Place) -> PathBuf {
    place.directory.join("runtime").join("busway.sock")
}

fn port(place: &Place) -> Option<u16> {
    fs::read_to_string(place.directory.join("port")).ok()?.parse().ok()
}

#[test]
fn clients_are_served_on_the_sockets_that_were_passed_and_there_alone() {
    let place = Place::new();
    let mut service = Running::start(&mut launcher(&place, "unix=bus.sock tcp=port", "0"));
    eventually("clients are served over UNIX", || place.serves());
    eventually("and over TCP", || port(&place).is_some_and(|port| greets(Stream::tcp(port))));
    assert!(!default_socket(&place).exists(), "they replace the default socket");
    assert_eq!(service.end(), Some(0));
}

#[test]
fn a_passed_socket_stays_where_it_is_and_serves_the_next_broker() {
    let place = Place::new();
    let inode = || fs::metadata(place.socket()).map(|metadata| metadata.ino()).ok();
    let mut service = Running::start(&mut launcher(&place, "unix=bus.sock", "0"));
    eventually("clients are served", || place.serves());
    let before = inode();
    assert_eq!(service.end(), Some(0));
    assert!(before.is_some() && inode() == before, "its path is the service manager's");
}

#[test]
fn endpoints_on_the_command_line_come_beside_the_sockets_that_were_passed() {
    let place = Place::new();
    let more = place.directory.join("more.sock");
    let _service = Running::start(launcher(&place, "unix=bus.sock", "0").arg("-B").arg(&more));
    eventually("clients are served on both", || place.serves() && greets(Stream::unix(&more)));
}

#[test]
fn a_socket_that_was_passed_may_be_asked_for_as_well() {
    let place = Place::new();
    let (own, more) = (place.directory.join("bus.sock"), place.directory.join("more.sock"));
    let sockets = format!("unix={}", own.display());
    let _service = Running::start(launcher(&place, &sockets, "0").arg("-B").arg(&own).arg("-B").arg(&more));
    eventually("clients are served on both", || greets(Stream::unix(&own)) && greets(Stream::unix(&more)));
}

#[test]
fn sockets_for_another_process_are_not_touched() {
    let place = Place::new();
    let _service = Running::start(&mut launcher(&place, "tcp=port", "1"));
    eventually("the default socket is served", || greets(Stream::unix(&default_socket(&place))));
    // It is open in the broker, inherited, and nobody accepts.
    let port = port(&place).expect("it was bound");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the system takes the connection");
    stream.set_nonblocking(true).expect("a socket can be asked not to wait");
    let read = std::io::Read::read(&mut stream, &mut [0; 3]);
    assert_eq!(read.map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
}

#[test]
fn a_service_has_its_default_socket_in_its_runtime_directory() {
    let place = Place::new();
    let mut service = Running::start(&mut launcher(&place, "", "1"));
    eventually("clients are served", || greets(Stream::unix(&default_socket(&place))));
    service.signal(Signal::TERM);
    assert_eq!(service.end_by_itself(), Some(0));
    assert!(!default_socket(&place).exists(), "this one is its own");
}

#[test]
fn a_passed_socket_that_takes_no_connections_is_an_error() {
    for (sockets, words) in [("datagram=a", "stream socket"), ("silent=a", "does not listen")] {
        let place = Place::new();
        let output = launcher(&place, &format!("unix=bus.sock {sockets}"), "0").output().expect("python3 is there");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

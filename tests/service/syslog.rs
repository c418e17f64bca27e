//! `--log-syslog` and `-D`: what a syslog daemon receives at `/dev/log`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use crate::program::{Place, Running, Stranger, clean, read_pid};
use crate::support::{Flavor, GREETING, Request, Stream, WATCHDOG, eventually, next_datagram, registration};

/// The client that asks for it breaks the protocol.
const UNKNOWN_OPERATION: u8 = 0x07;

/// Gives the program a `/dev` of its own, in a mount namespace: `$1`, with some devices and whatever lies there.
const OWN_DEV: &str = "
  dev=$1; shift
  mount --make-rprivate /
  for name in null zero urandom random; do touch $dev/$name; mount --bind /dev/$name $dev/$name; done
  mount --rbind $dev /dev
  exec \"$@\"";

/// A syslog daemon that listens, as far as `buswayd` can see.
struct Syslog {
    place: Place,
    socket: UnixDatagram,
}

impl Syslog {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir(place.directory.join("dev")).expect("a directory can be made");
        let socket = UnixDatagram::bind(place.directory.join("dev").join("log")).expect("a socket can be made");
        socket.set_read_timeout(Some(WATCHDOG)).expect("a timeout can be set");
        Self { place, socket }
    }

    fn buswayd(&self) -> Command {
        let mut command = clean("unshare");
        command.args(["-m", "sh", "-ec", OWN_DEV, "sh"]).arg(self.place.directory.join("dev"));
        command.arg(Flavor::Busway.program()).arg("-B").arg(self.place.socket());
        command
    }

    /// The first message with these words.
    fn hear(&self, words: &str) -> String {
        loop {
            let message = next_datagram(&self.socket);
            if message.contains(words) {
                return message;
            }
        }
    }
}

/// Whether this process may give others a `/dev` of their own; says so if not.
fn may_mount() -> bool {
    let may = Command::new("unshare")
        .args(["-m", "mount", "--make-rprivate", "/"])
        .status()
        .is_ok_and(|status| status.success());
    if !may {
        #[allow(clippy::print_stderr, reason = "a test that was not run says so")]
        {
            eprintln!("not run: a syslog of its own needs mount namespaces (unshare -m)");
        }
    }
    may
}

/// How many messages wait for a syslog daemon before who sends them has to.
fn waiting_datagrams() -> usize {
    let limit = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").expect("the system says how many");
    limit.trim().parse().expect("it is a number")
}

/// daemon.notice and daemon.err, as the system numbers them.
const NOTICE: &str = "<29>";
const ERROR: &str = "<27>";

#[test]
fn the_log_goes_to_syslog_with_its_severity_and_the_process_id() {
    if !may_mount() {
        return;
    }
    let syslog = Syslog::new();
    let output = syslog.place.directory.join("stderr");
    let stderr = fs::File::create(&output).expect("output can be kept");
    let mut running = Running::start_with(syslog.buswayd().arg("--log-syslog"), stderr);
    let message = syslog.hear("listening on");
    assert!(message.starts_with(NOTICE), "{message}");
    assert!(message.contains(&format!("buswayd[{}]: ", running.0.id())), "{message}");
    assert!(message.contains(syslog.place.socket().to_str().expect("the path is text")), "{message}");
    assert_eq!(running.end(), Some(0));
    syslog.hear("SIGTERM: ending");
    assert_eq!(fs::read_to_string(output).expect("output is text"), "", "nothing is said twice");
}

#[test]
fn a_syslog_that_stands_still_stops_nobody() {
    if !may_mount() {
        return;
    }
    let syslog = Syslog::new();
    let mut running = Running::start(syslog.buswayd().arg("--log-syslog"));
    eventually("the broker listens", || syslog.place.serves());
    // Each is logged, and nobody reads.
    let offenders = waiting_datagrams() + 20;
    for _ in 0..offenders {
        let mut offender = Stream::unix(&syslog.place.socket()).expect("the broker listens");
        let mut answers = [0; 3 + 1 + 1];
        offender.write_all(&GREETING).expect("the broker is there");
        offender.write_all(&registration(b"offender")).expect("the broker is there");
        offender.read_exact(&mut answers).expect("the broker registers it");
        offender.write_all(&Request::raw(UNKNOWN_OPERATION, b"").bytes()).expect("the broker is there");
        offender.read_to_end(&mut Vec::new()).expect("the broker closes");
    }
    for _ in 0..offenders {
        syslog.hear("disconnected: protocol violation");
    }
    assert_eq!(running.end(), Some(0));
    syslog.hear("SIGTERM: ending");
}

#[test]
fn what_keeps_a_broker_from_starting_is_in_syslog_and_on_the_terminal() {
    if !may_mount() {
        return;
    }
    let syslog = Syslog::new();
    for option in ["--log-syslog", "-D"] {
        let output =
            syslog.buswayd().args(["-B", "/nowhere/bus.sock", option]).output().expect("buswayd can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("nowhere"), "{option}: {said}");
        let message = syslog.hear("nowhere");
        assert!(message.starts_with(ERROR), "{option}: {message}");
    }
}

#[test]
fn a_daemon_logs_to_syslog() {
    if !may_mount() {
        return;
    }
    let syslog = Syslog::new();
    let pid_file = syslog.place.pid_file();
    let output = syslog.buswayd().args(["-D", "-P"]).arg(&pid_file).output().expect("buswayd can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let daemon = Stranger(read_pid(&pid_file).expect("the pid file is there"));
    let message = syslog.hear("listening on");
    assert!(message.starts_with(NOTICE) && message.contains(&format!("buswayd[{}]: ", daemon.0)), "{message}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "nothing on the terminal when all is well");
    daemon.end(rustix::process::Signal::TERM);
    syslog.hear("SIGTERM: ending");
}

#[test]
fn where_there_is_no_syslog_the_log_goes_to_standard_error_and_says_why() {
    if !may_mount() {
        return;
    }
    let syslog = Syslog::new();
    fs::remove_file(syslog.place.directory.join("dev").join("log")).expect("the socket can be removed");
    let output = syslog.place.directory.join("stderr");
    let stderr = fs::File::create(&output).expect("output can be kept");
    let _running = Running::start_with(syslog.buswayd().arg("--log-syslog"), stderr);
    eventually("the log is on standard error", || {
        let said = fs::read_to_string(&output).unwrap_or_default();
        said.contains("there is no syslog") && said.contains("listening on")
    });
}

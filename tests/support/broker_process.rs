//! A running broker with a socket and a port of its own.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{self, Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::outcome::wait;
use super::stream::Stream;
use super::{
    Call, Delivery, GREETING, Kind, Request, Setup, TemporaryDirectory, Transport, WATCHDOG, WirePeer, code, eventually,
};

pub(crate) struct BrokerProcess {
    setup: Setup,
    directory: TemporaryDirectory,
    port: Port,
    options: Vec<String>,
    /// A program that starts the broker, and its first arguments.
    starter: Vec<String>,
    child: Child,
}

impl BrokerProcess {
    /// Starts a broker on a fresh socket and a free port and waits until both accept.
    pub(crate) fn start(setup: Setup, options: &[&str]) -> Self {
        Self::start_by(setup, &[], options)
    }

    /// As `start`, by another program, which is given the broker's command line after its own first arguments.
    pub(crate) fn start_by(setup: Setup, starter: &[&str], options: &[&str]) -> Self {
        let starter: Vec<String> = starter.iter().map(|argument| (*argument).to_owned()).collect();
        let mut options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        if !options.iter().any(|option| option == "-t") {
            // A test that stops for a while on a loaded machine is not a silent client.
            options.extend(["-t".to_owned(), "30".to_owned()]);
        }
        for _ in 0..10 {
            let directory = TemporaryDirectory::new();
            let port = Port::free();
            let child = spawn((setup, &starter), &directory, port.number, &options);
            let (options, starter) = (options.clone(), starter.clone());
            let mut broker = Self { setup, directory, port, options, starter, child };
            match broker.wait_until_it_accepts() {
                Ok(()) => return broker,
                // Somebody else took the port between our look and the broker's.
                Err(log) if log.contains("in use") || log.contains("taken") => {}
                Err(log) => panic!("{setup}: the broker ended before it accepted:\n{log}"),
            }
        }
        panic!("{setup}: no free port in ten attempts");
    }

    /// Starts again after an end, on the same path and port.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn((self.setup, &self.starter), &self.directory, self.port.number, &self.options);
        if let Err(log) = self.wait_until_it_accepts() {
            panic!("{}: the broker did not start again:\n{log}", self.setup);
        }
    }

    fn wait_until_it_accepts(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while !self.accepts() {
            if self.child.try_wait().expect("a child can be waited for").is_some() {
                return Err(self.log());
            }
            assert!(started.elapsed() < WATCHDOG, "{}: the broker does not accept:\n{}", self.setup, self.log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn accepts(&self) -> bool {
        [Stream::unix(&self.socket()), Stream::tcp(self.port.number)].into_iter().all(|stream| {
            stream.is_ok_and(|mut stream| {
                let mut greeting = [0; 3];
                // A broker that found its port taken goes with its first connections.
                stream.read_exact(&mut greeting).is_ok() && greeting == GREETING
            })
        })
    }
}

/// Peers.
impl BrokerProcess {
    /// A connection over the transport of the setup, before its handshake.
    pub(crate) fn connect(&self) -> WirePeer {
        self.connect_by(self.setup.transport)
    }

    /// A connection over a transport, before its handshake.
    pub(crate) fn connect_by(&self, transport: Transport) -> WirePeer {
        let stream = match transport {
            Transport::Unix => Stream::unix(&self.socket()),
            Transport::Tcp => Stream::tcp(self.port.number),
        };
        WirePeer::new(stream.expect("the broker accepts"))
    }

    /// A registered client.
    pub(crate) fn peer(&self, name: &str) -> WirePeer {
        let mut peer = self.connect();
        let code = peer.introduce(name);
        assert_eq!(code, code::OK, "the broker refused {name} with {code:#04x}");
        peer
    }

    /// A registered client that wants these topics.
    pub(crate) fn subscriber(&self, name: &str, topics: &[&str]) -> WirePeer {
        let mut peer = self.peer(name);
        peer.perform(Request::subscribe(topics));
        peer
    }

    /// A client that registers under a name which another connection has given up, or is about to.
    pub(crate) fn successor(&self, name: &str) -> WirePeer {
        let mut registered = None;
        eventually("the name is free again", || {
            let mut peer = self.connect();
            if peer.introduce(name) == code::OK {
                registered = Some(peer);
            }
            registered.is_some()
        });
        registered.expect("it registered")
    }

    /// Tries to register and has to fail: the code, after which the connection has to be closed.
    pub(crate) fn refusal(&self, name: &str) -> u8 {
        let mut peer = self.connect();
        let code = peer.introduce(name);
        peer.expect_closed();
        code
    }

    /// Waits until nobody has that name any more.
    pub(crate) fn wait_until_gone(&self, name: &str) {
        let mut observer = self.successor("observer of the departed");
        eventually("the client is gone", || observer.confirm(Request::message(name, "")) == code::NOT_REGISTERED);
    }

    /// Proves that the broker still serves: two new clients reach each other, and `.broker` answers.
    pub(crate) fn expect_service(&self) {
        let mut first = self.successor("service.first");
        let mut second = self.successor("service.second");
        first.perform(Request::message("service.second", "still there?"));
        second.expect(&Delivery::message("still there?").from("service.first"));
        let call = Call::new(1, "test");
        second.send(&call.request());
        let reply = loop {
            // A broker that has just cut a slow client says so to everybody.
            let delivery = second.receive_delivery();
            if delivery.kind != Kind::Publication {
                break delivery;
            }
        };
        assert!(call.reply(&reply).is_ok(), "the broker answers");
    }
}

/// The process.
impl BrokerProcess {
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("bus.sock")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the broker has said so far, both streams.
    pub(crate) fn log(&self) -> String {
        fs::read(self.directory.join("log"))
            .map_or_else(|_| String::new(), |log| String::from_utf8_lossy(&log).into_owned())
    }

    /// Waits for a line of the log with all of these words. The broker writes its log on a thread of its own, a moment
    /// after what it tells of.
    #[allow(dead_code, reason = "for the suites that read the log")]
    pub(crate) fn expect_logged(&self, words: &[&str]) {
        eventually(&format!("a line of the log with the words {words:?}"), || {
            self.log().lines().any(|line| words.iter().all(|word| line.contains(word)))
        });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process has an id");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// From now on the broker does nothing at all, and ends nothing either. The threads of a process stop one after the
    /// other; this waits for the last.
    #[allow(dead_code, reason = "for the suites whose clients are programs")]
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.id());
        eventually("every thread of the broker stands still", || {
            fs::read_dir(&tasks).expect("the broker is there").flatten().all(|task| {
                // A thread that has just ended does nothing either.
                let status = fs::read_to_string(task.path().join("stat"));
                status.is_ok_and(|status| status.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")))
            })
        });
    }

    /// Waits for the end of the broker.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the broker is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has a resident size");
        let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number of kibibytes");
        kibibytes * 1024
    }

    /// The number of open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("the broker is alive").count()
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            #[allow(clippy::print_stderr, reason = "the log of the broker is half of the diagnosis")]
            {
                eprintln!("the log of the broker ({}):\n{}", self.setup, self.log());
            }
        }
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(Signal::TERM);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn spawn((setup, starter): (Setup, &[String]), directory: &TemporaryDirectory, port: u16, options: &[String]) -> Child {
    let mut command = match starter {
        [] => Command::new(setup.flavor.program()),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(setup.flavor.program());
            command
        }
    };
    let log = OpenOptions::new().create(true).append(true).open(directory.join("log")).expect("a log can be kept");
    command
        .arg("-B")
        .arg(directory.join("bus.sock"))
        .args(["-B", &format!("127.0.0.1:{port}")])
        .args(options)
        .stdout(log.try_clone().expect("a log can be shared"))
        .stderr(log)
        .spawn()
        .expect("the broker can be started")
}

/// A port that is this test's alone for as long as it is held.
struct Port {
    number: u16,
    /// A name without a file, which the system gives to one process at a time: other suites run on the same machine.
    _claim: UnixListener,
}

impl Port {
    /// A port nobody listens on, below those which the system hands out to clients, so that no peer of another test
    /// sits on it.
    fn free() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        const FIRST: u16 = 10_000;
        const COUNT: u16 = 20_000;
        let start = u16::try_from(process::id() % u32::from(COUNT)).expect("less than the count");
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let number = FIRST + (start + step) % COUNT;
            let name = SocketAddr::from_abstract_name(format!("busway test port {number}")).expect("a legal name");
            if let Ok(claim) = UnixListener::bind_addr(&name)
                && TcpListener::bind(("127.0.0.1", number)).is_ok()
            {
                return Self { number, _claim: claim };
            }
        }
        panic!("every port is taken");
    }
}

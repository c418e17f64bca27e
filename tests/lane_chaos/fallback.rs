//! Where the lane lacks something, everything goes on over sockets or as copies, and says why.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use busway::client::Transport;
use busway::{Client, QoS, ShmTrust};

use crate::child::Actor;
use crate::place::{broker, broker_by, listed, places};
use crate::support::{BrokerProcess, TemporaryDirectory, WATCHDOG};

fn run(play: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(WATCHDOG, play).await.expect("watchdog: somebody waits for good");
    });
}

/// A client whose lane has been decided.
async fn decided(socket: PathBuf, name: &str) -> Client {
    decided_by(Client::builder(socket, name)).await
}

async fn decided_by(builder: busway::client::Builder) -> Client {
    let client = builder.timeout(WATCHDOG).connect().await.expect("it connects");
    // Either way: whether it is on the lane is what the promises are about.
    let _ = client.wait_for_lane(WATCHDOG).await;
    client
}

fn payload(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|position| (position / 61 + number).to_le_bytes()[0]).collect()
}

/// Payloads of this length arrive; says how many in place.
async fn exchange(from: &Client, to: &Client, count: usize, length: usize) -> usize {
    let topic = format!("to/{}", to.name());
    to.subscribe(topic.as_str()).await.expect("it subscribes");
    let mut in_place = 0;
    for number in 0..count {
        from.publish(&topic, payload(number, length)).qos(QoS::Processed).await.expect("it is confirmed");
        let frame = to.recv().await.expect("it arrives");
        assert_eq!(frame.payload().as_slice(), payload(number, length));
        in_place += usize::from(frame.payload().is_in_place());
    }
    in_place
}

/// Both ends say the same reason, and payloads arrive.
fn expect_reason(broker: &BrokerProcess, reason: &str) {
    run(async {
        let from = decided(broker.socket(), "from").await;
        let to = decided(broker.socket(), "to").await;
        assert_eq!(to.transport(), Transport::Unix);
        assert_eq!(to.lane_off_reason().map(|reason| reason.to_string()).as_deref(), Some(reason));
        assert_eq!(listed(broker, "to"), ("unix".to_owned(), Some(reason.to_owned())));
        for length in [10, 5_000, 3 << 20] {
            assert_eq!(exchange(&from, &to, 3, length).await, 0);
        }
    });
}

#[test]
fn a_broker_with_the_lane_switched_off_says_so() {
    expect_reason(&broker(&["--shm", "off"]), "it is switched off at the broker");
}

#[test]
fn a_broker_with_little_memory_for_lanes_says_so() {
    let reason = "the broker's memory for lanes is used up (raise --shm-bytes)";
    expect_reason(&broker(&["--shm-bytes", "64K"]), reason);
}

#[test]
fn a_limit_of_64_descriptors_is_shared_out_and_then_said_to_be_used_up() {
    let broker = broker_by(&["sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\""], &[]);
    run(async {
        let mut clients = Vec::new();
        for number in 0..12 {
            clients.push(decided(broker.socket(), &format!("client.{number}")).await);
        }
        let on_lane = clients.iter().filter(|client| client.transport() == Transport::Lane).count();
        assert!((1..12).contains(&on_lane), "{on_lane} of 12 are on the lane");
        let last = clients.last().expect("twelve");
        let reason = "the broker's descriptors for lanes are used up (raise its limit of open files)";
        assert_eq!(last.lane_off_reason().map(|reason| reason.to_string()).as_deref(), Some(reason));
        assert_eq!(listed(&broker, "client.11"), ("unix".to_owned(), Some(reason.to_owned())));
        for length in [10, 5_000, 3 << 20] {
            exchange(&clients[0], &clients[11], 3, length).await;
            exchange(&clients[10], &clients[1], 3, length).await;
        }
        assert!(clients.iter().all(Client::is_connected));
    });
}

#[test]
fn with_no_trust_every_payload_is_copied() {
    let broker = broker(&["--shm-trust", "none"]);
    run(async {
        let (from, to) = (decided(broker.socket(), "from").await, decided(broker.socket(), "to").await);
        assert_eq!((from.transport(), to.transport()), (Transport::Lane, Transport::Lane));
        for length in [10, 5_000, 3 << 20] {
            assert_eq!(exchange(&from, &to, 20, length).await, 0);
        }
        let (in_place, copied) = places(&broker, "to");
        assert_eq!(in_place, 0);
        // Of the large ones, those that came before their sender had an arena do not count.
        assert!((1..=40).contains(&copied), "{copied} copied");
    });
}

#[test]
fn a_small_budget_for_arenas_means_copies_beyond_it() {
    let broker = broker(&["--shm-client-bytes", "16M"]);
    run(async {
        let (from, to) = (decided(broker.socket(), "from").await, decided(broker.socket(), "to").await);
        assert_eq!((from.transport(), to.transport()), (Transport::Lane, Transport::Lane));
        assert_eq!(exchange(&from, &to, 4, 24 << 20).await, 0);
        let in_place = exchange(&from, &to, 50, 100_000).await;
        assert!(in_place > 0, "what fits goes in place");
        assert_eq!(places(&broker, "to").0, in_place as u64, "as the broker counts");
    });
}

/// What passes bytes on, and no descriptor.
fn proxy(target: &Path, listener: &UnixListener) {
    for client in listener.incoming().map_while(Result::ok) {
        let broker = UnixStream::connect(target).expect("the broker accepts");
        for (mut from, mut to) in
            [(client.try_clone().expect("a duplicate"), broker.try_clone().expect("a duplicate")), (broker, client)]
        {
            thread::spawn(move || {
                let _ = std::io::copy(&mut Plain(&mut from), &mut Plain(&mut to));
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
        }
    }
}

/// Keeps the standard library from doing more than reading and writing.
struct Plain<'a>(&'a mut UnixStream);

impl std::io::Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl std::io::Write for Plain<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_proxy_that_passes_no_descriptors_means_sockets() {
    let broker = broker(&[]);
    let directory = TemporaryDirectory::new();
    let path = directory.join("proxy.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let target = broker.socket();
    thread::spawn(move || proxy(&target, &listener));
    run(async {
        let from = decided(broker.socket(), "from").await;
        let to = decided(path, "behind").await;
        let reason = "the client could not take it over";
        assert_eq!(to.transport(), Transport::Unix);
        assert_eq!(to.lane_off_reason().map(|reason| reason.to_string()).as_deref(), Some(reason));
        for length in [10, 5_000, 3 << 20] {
            assert_eq!(exchange(&from, &to, 5, length).await, 0);
            exchange(&to, &from, 5, length).await;
        }
        assert_eq!(listed(&broker, "behind"), ("unix".to_owned(), Some(reason.to_owned())));
    });
}

/// A reporter of another user, a copy of this program where that user can start it, and a parent with this trust, at a
/// broker with these options; whether the parent reads in place.
fn expect_echoes_of_another_user(options: &[&str], trust: ShmTrust, in_place: bool) {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return crate::strangers::skip("another user", "only root can start processes of others");
    }
    let broker = broker(&[&["--socket-mode", "0666"], options].concat());
    let directory = TemporaryDirectory::new();
    let program = directory.join("as-nobody");
    std::fs::copy(std::env::current_exe().expect("a test knows its program"), &program).expect("it can be copied");
    let mut actor = Actor::start_as(NOBODY, &program, "reporter", &broker.socket());
    actor.expect("lane ");
    expect_echoes(&broker, trust, in_place);
    // It trusts its own user alone.
    actor.expect("in place 0");
    actor.kill();
}

#[test]
fn another_user_gets_a_lane_and_only_copies() {
    expect_echoes_of_another_user(&[], ShmTrust::SameUser, false);
}

#[test]
fn payloads_of_another_user_are_read_in_place_where_the_broker_and_the_client_trust_all() {
    expect_echoes_of_another_user(&["--shm-trust", "all"], ShmTrust::All, true);
}

#[test]
fn one_of_the_two_that_trusts_all_is_not_enough() {
    expect_echoes_of_another_user(&[], ShmTrust::All, false);
    expect_echoes_of_another_user(&["--shm-trust", "all"], ShmTrust::SameUser, false);
}

/// Starts a program under a filter that lets it make no memfd.
const WITHOUT_MEMFD: &str = r#"
import ctypes, os, platform, struct, sys
number = {"x86_64": 319, "aarch64": 279}[platform.machine()]
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
code = b"".join(struct.pack("HBBI", *step) for step in steps)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
program = Program(len(steps), code)
if libc.prctl(38, 1, None, 0, 0) or libc.prctl(22, 2, ctypes.addressof(program), 0, 0):
    sys.exit("no filter: " + os.strerror(ctypes.get_errno()))
try:
    os.memfd_create("probe")
except PermissionError:
    os.execv(sys.argv[1], sys.argv[1:])
sys.exit("the filter does not work")
"#;

/// The broker makes all segments, so that a client needs no permission to.
#[test]
fn a_client_that_may_make_no_memfd_gets_a_lane() {
    let broker = broker(&[]);
    let mut command = Command::new("python3");
    command.args(["-c", WITHOUT_MEMFD]).arg(std::env::current_exe().expect("a test knows its program"));
    let mut actor = Actor::start_by(command, "reporter", &broker.socket());
    actor.expect("lane ");
    expect_echoes(&broker, ShmTrust::SameUser, true);
    assert_ne!(actor.hear(), "in place 0");
    actor.kill();
}

#[test]
fn a_broker_that_may_make_no_memfd_serves_sockets_and_says_so() {
    let broker = broker_by(&["python3", "-c", WITHOUT_MEMFD], &[]);
    expect_reason(&broker, "the system refused to make the shared memory");
}

/// Ten payloads to a reporter and back; whether some of those that come back are read in place.
fn expect_echoes(broker: &BrokerProcess, trust: ShmTrust, in_place: bool) {
    run(async {
        let parent = decided_by(Client::builder(broker.socket(), "parent").shm_trust(trust)).await;
        parent.subscribe("from/reporter").await.expect("it subscribes");
        let mut places = 0;
        for number in 0..10 {
            let sent = payload(number, 200_000);
            parent.publish("to/reporter", sent.as_slice()).qos(QoS::Processed).await.expect("it is confirmed");
            let frame = parent.recv().await.expect("the echo arrives");
            assert_eq!(frame.payload().as_slice(), sent);
            places += u32::from(frame.payload().is_in_place());
        }
        assert_eq!(places > 0, in_place, "{places} of 10 in place");
    });
}

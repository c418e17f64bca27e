//! Who may listen where.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::{env, fs};

use busway_net::link::{BindError, Endpoint, Listener, Origin, Socket};
use tokio::runtime::Handle;

use super::support::{TemporaryDirectory, watched};

fn bind(path: &Path) -> Result<Listener, BindError> {
    Listener::bind(&path.into(), 0o660)
}

#[tokio::test]
async fn a_live_socket_is_not_taken_from_another_broker() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    let first = bind(&path).expect("nothing is there");
    assert!(matches!(bind(&path), Err(BindError::Live(at)) if at == path));
    // Nor is the first one disturbed by the attempt.
    let endpoint = first.local_endpoint();
    let (connected, accepted) = tokio::join!(Socket::connect(&endpoint), first.accept());
    assert!(connected.is_ok() && accepted.is_ok());
    assert_eq!(directory.files(), ["bus.sock", "bus.sock.lock"]);
}

#[tokio::test]
async fn a_live_socket_of_another_make_is_not_taken_and_leaves_no_lock() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    let other = UnixListener::bind(&path).expect("nothing is there");
    assert!(matches!(bind(&path), Err(BindError::Live(at)) if at == path));
    assert_eq!(directory.files(), ["bus.sock"]);
    drop(other);
    bind(&path).expect("nobody serves it any longer");
}

#[tokio::test]
async fn a_broker_that_is_too_busy_to_accept_is_alive() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    let busy = listen_without_accepting(&path);
    let _waiting = Socket::connect(&Endpoint::from(path.clone())).await.expect("the queue takes one");
    assert!(matches!(bind(&path), Err(BindError::Live(at)) if at == path));
    drop(busy);
}

#[tokio::test]
async fn a_dead_socket_is_replaced() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    drop(UnixListener::bind(&path).expect("nothing is there"));
    assert!(path.exists(), "a plain listener leaves its file behind");
    // As does a broker that was killed, with its lock.
    fs::write(directory.join("bus.sock.lock"), b"").expect("a file");
    let listener = bind(&path).expect("nobody serves it");
    let endpoint = listener.local_endpoint();
    let (connected, accepted) = tokio::join!(Socket::connect(&endpoint), listener.accept());
    assert!(connected.is_ok() && accepted.is_ok());
}

#[tokio::test]
async fn what_is_not_a_socket_is_left_as_it_is() {
    let directory = TemporaryDirectory::new();
    let file = directory.join("bus.sock");
    fs::write(&file, b"precious").expect("a file");
    let link = directory.join("link.sock");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    let dangling = directory.join("dangling.sock");
    std::os::unix::fs::symlink(directory.join("nothing"), &dangling).expect("a link");
    let folder = directory.join("folder.sock");
    fs::create_dir(&folder).expect("a directory");
    for path in [&file, &link, &dangling, &folder] {
        assert!(matches!(bind(path), Err(BindError::NotASocket(at)) if at == *path), "{}", path.display());
    }
    assert_eq!(fs::read(&file).expect("it is there"), b"precious");
    assert_eq!(directory.files(), ["bus.sock", "dangling.sock", "folder.sock", "link.sock"]);
}

#[tokio::test]
async fn a_path_that_cannot_be_bound_leaves_nothing_behind() {
    let directory = TemporaryDirectory::new();
    // A UNIX socket's path has 107 bytes at most, a file's name 255.
    let path = directory.join(&format!("{}.sock", "n".repeat(150)));
    assert!(matches!(bind(&path), Err(BindError::System { .. })));
    assert!(matches!(bind(&directory.join("no/such/directory.sock")), Err(BindError::System { .. })));
    assert_eq!(directory.files(), [""; 0]);
}

#[tokio::test]
async fn socket_and_lock_go_with_the_listener() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    for _ in 0..3 {
        let listener = bind(&path).expect("nothing is there");
        assert_eq!(directory.files(), ["bus.sock", "bus.sock.lock"]);
        drop(listener);
        assert_eq!(directory.files(), [""; 0]);
    }
}

#[tokio::test]
async fn a_listener_does_not_remove_the_socket_of_its_successor() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    let listener = bind(&path).expect("nothing is there");
    // The reference broker takes a path whoever serves it.
    fs::remove_file(&path).expect("it is there");
    let _successor = UnixListener::bind(&path).expect("nothing is there");
    drop(listener);
    assert_eq!(directory.files(), ["bus.sock"]);
}

const CHILD: &str = "BUSWAY_NET_UMASK_TEST_PATH";

/// Run by the next test in processes of their own: the mask is a process's, not a thread's.
#[tokio::test]
async fn mode_under_a_mask() {
    let Some(path) = env::var_os(CHILD) else { return };
    let path = Path::new(&path);
    for mode in [0o660, 0o600, 0o666] {
        let listener = Listener::bind(&path.into(), mode).expect("nothing is there");
        let metadata = fs::symlink_metadata(path).expect("it is bound");
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o7777, mode);
        drop(listener);
    }
}

#[test]
fn the_mode_is_what_was_asked_for_whatever_the_mask() {
    let directory = TemporaryDirectory::new();
    for mask in ["000", "022", "077", "777"] {
        let status = Command::new("sh")
            .args(["-c", "umask $0 && exec \"$@\"", mask])
            .arg(env::current_exe().expect("this test has a path"))
            .args(["--exact", "listener::mode_under_a_mask"])
            .env(CHILD, directory.join("bus.sock"))
            .output()
            .expect("there is a shell");
        assert!(status.status.success(), "umask {mask}: {}", String::from_utf8_lossy(&status.stdout));
        assert!(String::from_utf8_lossy(&status.stdout).contains("1 passed"));
    }
}

/// Lets eight threads bind one path at once; how many could.
fn winners(path: &Path) -> usize {
    let (runtime, start, end) = (Handle::current(), Barrier::new(8), Barrier::new(8));
    let count = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let _guard = runtime.enter();
                start.wait();
                let bound = bind(path);
                match &bound {
                    Ok(_) => drop(count.fetch_add(1, Ordering::SeqCst)),
                    Err(BindError::Live(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                end.wait();
            });
        }
    });
    count.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_that_bind_at_once_exactly_one_wins() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    for round in 0..60 {
        if round % 2 == 0 {
            drop(UnixListener::bind(&path).expect("nothing is there"));
        }
        assert_eq!(winners(&path), 1, "round {round}");
        assert_eq!(directory.files(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_come_and_go_never_serve_one_path_together() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    let (runtime, is_served) = (Handle::current(), Arc::new(AtomicBool::new(false)));
    let bound = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _guard = runtime.enter();
                for _ in 0..5000 {
                    match bind(&path) {
                        Ok(listener) => {
                            assert!(!is_served.swap(true, Ordering::SeqCst), "two at a time");
                            bound.fetch_add(1, Ordering::SeqCst);
                            assert!(path.exists());
                            is_served.store(false, Ordering::SeqCst);
                            drop(listener);
                        }
                        Err(BindError::Live(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert!(bound.into_inner() > 0);
    assert_eq!(directory.files(), [""; 0]);
}

#[tokio::test]
async fn a_tcp_port_has_one_broker_and_is_told() {
    let first = Listener::bind(&"127.0.0.1:0".into(), 0).expect("there are free ports");
    let endpoint = first.local_endpoint();
    let Endpoint::Tcp(address) = &endpoint else { panic!("a TCP endpoint: {endpoint}") };
    assert!(!address.ends_with(":0"));
    assert!(matches!(Listener::bind(&endpoint, 0), Err(BindError::AddressTaken(at)) if at == *address));
    let (connected, accepted) = tokio::join!(Socket::connect(&endpoint), first.accept());
    let (socket, origin) = accepted.expect("accepted");
    assert!(matches!(origin, Origin::Tcp(address) if address.ip().is_loopback()));
    assert_eq!(socket.identity(), None, "TCP tells nobody's");
    drop(connected);
}

#[tokio::test]
async fn an_address_that_is_none_is_told() {
    for address in ["127.0.0.1", "127.0.0.1:notaport", "no such host:1", ""] {
        assert!(matches!(Listener::bind(&address.into(), 0), Err(BindError::BadAddress { .. })), "{address:?}");
    }
}

#[tokio::test]
async fn whoever_connects_is_known_by_user_group_and_process() {
    let directory = TemporaryDirectory::new();
    let listener = bind(&directory.join("bus.sock")).expect("nothing is there");
    let endpoint = listener.local_endpoint();
    let (connected, accepted) = tokio::join!(Socket::connect(&endpoint), listener.accept());
    let (socket, origin) = accepted.expect("accepted");
    let Origin::Unix(Some(identity)) = origin else { panic!("{origin:?}") };
    assert_eq!(identity.uid, rustix::process::geteuid().as_raw());
    assert_eq!(identity.gid, rustix::process::getegid().as_raw());
    assert_eq!(identity.pid, i32::try_from(std::process::id()).expect("a process id"));
    assert_eq!(socket.identity(), Some(identity));
    drop(connected);
}

#[tokio::test]
async fn a_connection_to_where_nobody_listens_is_refused() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    assert!(Socket::connect(&Endpoint::from(path.clone())).await.is_err());
    drop(UnixListener::bind(&path).expect("nothing is there"));
    assert!(Socket::connect(&Endpoint::from(path)).await.is_err());
}

#[tokio::test]
async fn who_finds_the_queue_of_new_connections_full_is_let_in_later() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    let slow = listen_without_accepting(&path);
    let endpoint = Endpoint::from(path);
    let _first = Socket::connect(&endpoint).await.expect("the queue takes one");
    let second = Socket::connect(&endpoint);
    let mut second = std::pin::pin!(second);
    let early = tokio::time::timeout(std::time::Duration::from_millis(30), &mut second).await;
    assert!(early.is_err(), "the queue is full");
    let _accepted = rustix::net::accept(&slow).expect("the first");
    watched("the second", second).await.expect("there is room now");
}

/// A socket that lets one connection wait.
fn listen_without_accepting(path: &Path) -> OwnedFd {
    let address = rustix::net::SocketAddrUnix::new(path).expect("a short path");
    let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None);
    let socket = socket.expect("a socket");
    rustix::net::bind(&socket, &address).expect("nothing is there");
    rustix::net::listen(&socket, 0).expect("it is bound");
    socket
}

#[tokio::test]
async fn many_may_wait_to_be_accepted_over_tcp() {
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux tells");
    let count = limit.trim().parse::<usize>().expect("a number").min(400);
    let listener = Listener::bind(&Endpoint::Tcp("127.0.0.1:0".to_owned()), 0).expect("a port is free");
    let Endpoint::Tcp(address) = listener.local_endpoint() else { panic!("it is a TCP listener") };
    let address = address.parse().expect("an address");
    // Nobody accepts them: one that finds no room is tried again by the system after a second, and longer.
    let connect = || std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_secs(20));
    let waiting: Vec<_> =
        (0..count).map(|number| connect().unwrap_or_else(|error| panic!("{number}: {error}"))).collect();
    assert_eq!(waiting.len(), count);
}

#[tokio::test]
async fn the_system_chooses_the_buffers_of_a_tcp_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let stream = std::net::TcpStream::connect(listener.local_addr().expect("it has an address")).expect("it listens");
    let before = rustix::net::sockopt::socket_send_buffer_size(&stream).expect("it can be asked");
    let socket = Socket::from_tcp(stream.into()).expect("it can be taken over");
    assert_eq!(rustix::net::sockopt::socket_send_buffer_size(&socket).expect("it can be asked"), before);
}

/// That the kernel keeps to it takes a minute and a host that vanishes.
#[tokio::test]
async fn a_client_waits_a_minute_for_a_host_that_is_silent() {
    let listener = Listener::bind(&Endpoint::Tcp("127.0.0.1:0".to_owned()), 0).expect("a port is free");
    let endpoint = Endpoint::Tcp(listener.local_endpoint().to_string());
    let (connected, accepted) = tokio::join!(Socket::connect(&endpoint), listener.accept());
    let patience = |socket: &Socket| rustix::net::sockopt::tcp_user_timeout(socket).expect("it can be asked");
    assert_eq!(patience(&connected.expect("it listens")), 60_000);
    assert_eq!(patience(&accepted.expect("somebody connects").0), 0, "the broker has deadlines of its own");
}

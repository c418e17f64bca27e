//! Descriptors of every kind that nobody asked for, attached to whatever a stranger may send. Who merely closes some
//! of them is held up for as long as their maker likes.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::applicant::{Applicant, REQUEST};
use crate::lane_peer::LanePeer;
use crate::place::{Holdings, broker, expect_return_to, wait_until_gone};
use crate::support::{BrokerProcess, GREETING, Request, registration};
use crate::witness::Witness;

const LINGERING: &str = "lingering socket";
const KINDS: &[&str] = &[
    "pipe to read",
    "pipe to write",
    "eventfd",
    "socket",
    "sparse memfd",
    "huge pages",
    "file",
    "directory",
    "sealed segment",
    LINGERING,
];

/// A descriptor, and what has to live beside it; `None` where the system has none of that kind.
fn make(kind: &str) -> Option<(OwnedFd, Vec<OwnedFd>)> {
    let memfd = |flags| rustix::fs::memfd_create("stranger", MemfdFlags::CLOEXEC | flags);
    Some(match kind {
        "pipe to read" | "pipe to write" => {
            let (read, write) = std::io::pipe().expect("a pipe");
            if kind == "pipe to read" { (read.into(), vec![write.into()]) } else { (write.into(), vec![read.into()]) }
        }
        "eventfd" => (rustix::event::eventfd(7, rustix::event::EventfdFlags::CLOEXEC).expect("an eventfd"), vec![]),
        "socket" => {
            let (one, other) = UnixStream::pair().expect("a pair");
            (one.into(), vec![other.into()])
        }
        "sparse memfd" => {
            let memfd = memfd(MemfdFlags::empty()).expect("a memfd");
            rustix::fs::ftruncate(&memfd, 1 << 40).expect("a length");
            (memfd, vec![])
        }
        "huge pages" => (memfd(MemfdFlags::HUGETLB).ok()?, vec![]),
        "file" => (File::open("/proc/self/maps").expect("a file").into(), vec![]),
        "directory" => (File::open("/").expect("a directory").into(), vec![]),
        "sealed segment" => (busway_shm::create_for_peer(c"busway-up", 4096).expect("a segment"), vec![]),
        LINGERING => lingering(),
        _ => panic!("there is no kind '{kind}'"),
    })
}

/// A socket whose last close waits: its receiver takes nothing, and it lingers for two minutes.
fn lingering() -> (OwnedFd, Vec<OwnedFd>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let sender = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (receiver, _) = listener.accept().expect("a connection");
    sender.set_nonblocking(true).expect("it does not block");
    while (&sender).write(&[0; 65_536]).is_ok() {}
    rustix::net::sockopt::set_socket_linger(&sender, Some(Duration::from_secs(120))).expect("it lingers");
    (sender.into(), vec![receiver.into(), listener.into()])
}

pub(crate) fn skip(what: &str, why: &str) {
    #[allow(clippy::print_stderr, reason = "whoever reads the results has to know what was not tried")]
    {
        eprintln!("not tried: {what}: {why}");
    }
}

/// Sends bytes with descriptors attached, which are this process's last ones, or the bytes alone where the broker's
/// system lets no descriptor through. Says whether it did.
#[allow(clippy::needless_pass_by_value, reason = "closes them")]
fn attach(socket: &UnixStream, bytes: &[u8], descriptors: Vec<OwnedFd>) -> bool {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)), "they fit");
    match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
        Ok(count) => {
            assert_eq!(count, bytes.len());
            true
        }
        Err(rustix::io::Errno::PERM) => {
            // This process is not to wait, either.
            for descriptor in &descriptors {
                let _ = rustix::net::sockopt::set_socket_linger(descriptor, None);
            }
            (&*socket).write_all(bytes).expect("the bytes alone are taken");
            false
        }
        Err(error) => panic!("descriptors cannot be sent: {error}"),
    }
}

/// The moments at which a stranger can attach something.
fn at_each_moment(broker: &BrokerProcess, name: &str, kind: &str) {
    let mut beside = Vec::new();
    let mut make = || {
        let (descriptor, others) = make(kind).expect("there was one before");
        beside.extend(others);
        descriptor
    };
    // With the greeting; and nothing more is said.
    let silent = UnixStream::connect(broker.socket()).expect("the broker accepts");
    attach(&silent, &GREETING[..2], vec![make()]);
    drop(silent);
    // With the name.
    let named = UnixStream::connect(broker.socket()).expect("the broker accepts");
    (&named).write_all(&GREETING).expect("it takes the greeting");
    let mut answer = [0; 4];
    (&named).read_exact(&mut answer).expect("it is greeted and answered");
    attach(&named, &registration(name.as_bytes()), vec![make()]);
    drop(named);
    wait_until_gone(broker, name);
    // With pings, frames, and steps of the negotiation.
    let applicant = Applicant::register(&broker.socket(), name);
    for bytes in [&[0; 9][..], REQUEST, &Request::message("nobody", "hello").bytes()] {
        attach(&applicant.socket, bytes, vec![make()]);
        attach(&applicant.socket, &[0; 9], (0..8).map(|_| make()).collect());
    }
    let mut peer = LanePeer::map(applicant).switch();
    peer.expect_served();
    // Beside the lane.
    attach(&peer.applicant.socket, &[0; 9], vec![make()]);
    peer.expect_served();
}

/// Before that, only the sender decides what is sent.
fn is_before_6_16() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a system has a release");
    let mut numbers = release.split(['.', '-']).map(|number| number.trim().parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) < (Some(6), Some(16))
}

/// Whether descriptors of strangers come as far as the broker.
fn let_through(broker: &BrokerProcess) -> bool {
    let socket = UnixStream::connect(broker.socket()).expect("the broker accepts");
    attach(&socket, &GREETING, vec![make("eventfd").expect("an eventfd").0])
}

/// One worker, so that whoever holds it up holds everybody up.
#[test]
fn descriptors_that_nobody_asked_for_harm_nobody() {
    let broker = broker(&["-w", "1"]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    let is_let_through = let_through(&broker);
    assert!(!is_let_through || is_before_6_16(), "descriptors of strangers come as far as the broker");
    for (number, kind) in KINDS.iter().enumerate() {
        if make(kind).is_none_or(|(descriptor, _)| {
            let _ = rustix::net::sockopt::set_socket_linger(&descriptor, None);
            false
        }) {
            skip(kind, "the system has none");
            continue;
        }
        if *kind == LINGERING && is_let_through {
            skip(kind, "before Linux 6.16 a broker cannot keep descriptors out");
            continue;
        }
        at_each_moment(&broker, &format!("stranger.{number}"), kind);
        witness.goes_on();
        expect_return_to(&broker, before);
    }
    witness.finish();
}

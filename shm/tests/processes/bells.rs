//! Bells: who rings never waits, and who sleeps is woken.

use std::os::fd::AsFd;

use busway_shm::{DownBell, DownWaiter, UpBell};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::peer::{Line, Peer};

/// More rings than any pipe of an ordinary size holds.
const MANY: usize = 100_000;

fn has_rung(bell: impl AsFd) -> bool {
    let mut watched = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::ZERO).expect("a bell can be watched") == 1
}

/// A broker that rings at a client which is not there; a signal would end it.
pub(crate) fn play_ringer() {
    // SAFETY: the default action is no function that could do anything wrong.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.expect("a signal has its default action");
    let bell = DownBell::new().expect("a pipe");
    let client = bell.waiting_end().try_clone_to_owned().expect("a descriptor");
    bell.ring();
    drop(client);
    (0..MANY).for_each(|_| bell.ring());
}

#[test]
fn ringing_at_nobody_raises_no_signal() {
    Peer::start("ringer").ends();
}

/// A client that makes its end of the bell as unpleasant as it can, and hears nothing.
pub(crate) fn play_deaf(line: &Line) {
    let end = line.receive();
    fcntl(&end, FcntlArg::F_SETFL(OFlag::empty())).expect("flags");
    let _ = fcntl(&end, FcntlArg::F_SETPIPE_SZ(4096));
    line.say(b'r');
    line.hear();
}

#[test]
fn ringing_at_a_deaf_client_never_waits() {
    let bell = DownBell::new().unwrap();
    let peer = Peer::start("deaf");
    peer.line.send(bell.waiting_end());
    assert_eq!(peer.line.hear(), b'r');
    (0..MANY).for_each(|_| bell.ring());
    peer.line.say(b'e');
    peer.ends();
    (0..MANY).for_each(|_| bell.ring());
    assert!(has_rung(bell.waiting_end()));
}

#[test]
fn a_hushed_bell_is_quiet_until_it_rings_again() {
    let bell = DownBell::new().unwrap();
    let client = DownWaiter::received(bell.waiting_end().try_clone_to_owned().unwrap()).unwrap().into_descriptor();
    assert!(!has_rung(&client));
    DownWaiter::hush(&client);
    // Also a pipe that is larger than it was made, and full.
    fcntl(&client, FcntlArg::F_SETPIPE_SZ(64 << 10)).unwrap();
    for rings in [1, 3, MANY] {
        (0..rings).for_each(|_| bell.ring());
        assert!(has_rung(&client));
        DownWaiter::hush(&client);
        assert!(!has_rung(&client), "all of {rings} rings were taken");
    }
}

#[test]
fn each_ring_wakes_a_broker_that_never_reads() {
    let bell = UpBell::new().unwrap();
    let client = UpBell::received(bell.as_fd().try_clone_to_owned().unwrap());
    let watcher = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    watcher.add(bell.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 7)).unwrap();
    let mut events = [EpollEvent::empty(); 2];
    let mut woken = || watcher.wait(&mut events, EpollTimeout::ZERO).unwrap();
    assert_eq!(woken(), 0);
    for _ in 0..3 {
        client.ring();
        client.ring();
        assert_eq!((woken(), woken()), (1, 0), "a ring wakes once");
    }
}

/// A counter that is full makes a client's own ringing useless, not slow.
#[test]
fn a_bell_that_was_rung_too_often_does_not_stop_who_rings() {
    let bell = UpBell::new().unwrap();
    nix::unistd::write(bell.as_fd(), &(u64::MAX - 1).to_ne_bytes()).unwrap();
    bell.ring();
    assert!(has_rung(bell.as_fd()));
}

//! Bells: who rings never waits, and who sleeps is woken.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use busway_shm::{DownBell, DownWaiter, UpBell};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{MsgFlags, send};

use crate::peer::{Line, Peer};

const MANY: usize = 100_000;

fn has_rung(bell: impl AsFd) -> bool {
    let mut watched = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::ZERO).expect("a bell can be watched") == 1
}

fn watch(bell: impl AsFd) -> Epoll {
    let watcher = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    watcher.add(bell, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 7)).unwrap();
    watcher
}

fn woken(watcher: &Epoll) -> usize {
    watcher.wait(&mut [EpollEvent::empty(), EpollEvent::empty()], EpollTimeout::ZERO).unwrap()
}

#[test]
fn each_ring_wakes_a_broker_that_never_reads() {
    let bell = UpBell::new().unwrap();
    let client = UpBell::received(bell.as_fd().try_clone_to_owned().unwrap());
    let watcher = watch(&bell);
    assert_eq!(woken(&watcher), 0);
    for _ in 0..3 {
        client.ring();
        client.ring();
        assert_eq!((woken(&watcher), woken(&watcher)), (1, 0), "a ring wakes once");
    }
}

#[test]
fn each_ring_wakes_a_client() {
    for make in [DownBell::new, DownBell::of_trusted] {
        let (bell, end) = make().unwrap();
        let (waiter, watcher) = (DownWaiter::of(&end).unwrap(), watch(&end));
        assert_eq!(woken(&watcher), 0);
        for _ in 0..MANY {
            bell.ring();
            assert_eq!(woken(&watcher), 1);
            assert_eq!(woken(&watcher), 0, "a ring wakes once");
            assert!(waiter.hush(&end));
        }
        // Many that were not waited for are one, and the next is heard, too.
        (0..MANY).for_each(|_| bell.ring());
        assert_eq!((woken(&watcher), woken(&watcher)), (1, 0));
        assert!(waiter.hush(&end));
        assert_eq!(woken(&watcher), 0);
        bell.ring();
        assert_eq!(woken(&watcher), 1);
    }
}

#[test]
fn a_socket_tells_of_the_end_of_its_broker() {
    let (bell, end) = DownBell::new().unwrap();
    let (waiter, watcher) = (DownWaiter::of(&end).unwrap(), watch(&end));
    bell.ring();
    drop(bell);
    assert_eq!(woken(&watcher), 1);
    assert!(waiter.hush(&end), "the ring before it");
    assert!(has_rung(&end) && !waiter.hush(&end));
}

/// What a client says to its bell takes no memory of the broker's.
#[test]
fn nobody_hears_what_a_client_says() {
    let (_bell, end) = DownBell::new().unwrap();
    // The signal for nobody listening is not what is asked about.
    let said = send(end.as_raw_fd(), b"hello", MsgFlags::MSG_NOSIGNAL);
    assert_eq!(said, Err(Errno::EPIPE));
}

/// A counter that is full makes a client's own ringing useless, not slow.
#[test]
fn a_bell_that_was_rung_too_often_does_not_stop_who_rings() {
    let bell = UpBell::new().unwrap();
    nix::unistd::write(bell.as_fd(), &(u64::MAX - 1).to_ne_bytes()).unwrap();
    bell.ring();
    assert!(has_rung(bell.as_fd()));
}

#[test]
fn ringing_at_nobody_is_nothing() {
    Peer::start("ringer").ends();
}

/// A broker that rings at a client which is not there; a signal would end it.
pub(crate) fn play_ringer() {
    // SAFETY: the default action is no function that could do anything wrong.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.expect("a signal has its default action");
    for make in [DownBell::new, DownBell::of_trusted] {
        let (bell, end) = make().expect("a bell");
        bell.ring();
        drop(end);
        (0..MANY).for_each(|_| bell.ring());
    }
}

/// A client that takes rings in the most unpleasant way: they are to go to memory that never comes, and the kernel holds
/// the lock of its end until then. Says `r` then, or `n` where this user may not have such memory.
pub(crate) fn play_holder(line: &Line) {
    let end = line.receive();
    let Some((faults, memory)) = memory_that_never_comes() else { return line.say(b'n') };
    let place = memory as usize;
    thread::spawn(move || {
        // SAFETY: the place is a page of this process that nothing else uses; the kernel writes one byte there.
        unsafe { libc::read(end.as_raw_fd(), place as *mut libc::c_void, 1) }
    });
    poll(&mut [PollFd::new(faults.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).expect("a fault");
    line.say(b'r');
    // Until it is killed, or told to end.
    line.hear();
}

/// A page that userfaultfd(2) watches, and that nobody fills.
fn memory_that_never_comes() -> Option<(OwnedFd, *mut libc::c_void)> {
    const API: libc::Ioctl = 0xc018_aa3f_u32 as libc::Ioctl;
    const REGISTER: libc::Ioctl = 0xc020_aa00_u32 as libc::Ioctl;
    // SAFETY: a system call without pointers; what it returns is checked.
    let faults = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
    let faults = i32::try_from(faults).ok().filter(|faults| *faults >= 0)?;
    // SAFETY: a descriptor that was just made, and that nobody else has.
    let faults = unsafe { OwnedFd::from_raw_fd(faults) };
    let mut api = [0xaa_u64, 0, 0];
    // SAFETY: the kernel reads and writes the three words of `struct uffdio_api`.
    if unsafe { libc::ioctl(faults.as_raw_fd(), API, api.as_mut_ptr()) } != 0 {
        return None;
    }
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, which replaces none.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED);
    // Missing pages (mode 1) of that range.
    let mut range = [page as u64, 4096, 1, 0];
    // SAFETY: the kernel reads and writes the four words of `struct uffdio_register`.
    let is_watched = unsafe { libc::ioctl(faults.as_raw_fd(), REGISTER, range.as_mut_ptr()) } == 0;
    is_watched.then_some((faults, page))
}

#[test]
fn ringing_at_a_client_that_holds_its_end_never_waits() {
    let (bell, end) = DownBell::new().unwrap();
    let peer = Peer::start("holder");
    peer.line.send(&end);
    drop(end);
    // There has to be something to take.
    bell.ring();
    match peer.line.hear() {
        // This user may not have such memory, and nothing is tested.
        b'n' => {}
        _ => {
            let (done, rung) = mpsc::channel();
            thread::spawn(move || {
                (0..MANY).for_each(|_| bell.ring());
                drop(bell);
                let _ = done.send(());
            });
            assert!(rung.recv_timeout(Duration::from_secs(20)).is_ok(), "who rings or closes it waits for the client");
            peer.line.say(b'e');
        }
    }
    peer.ends();
}

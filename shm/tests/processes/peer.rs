//! Another process, which plays a role in a test: this program once more, with a socket as its standard input.

use std::env;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::{bells, forks, lane, limits, segments};

/// Tells a process which role it plays.
const ROLE: &str = "BUSWAY_SHM_ROLE";
/// Ends a test that hangs.
const WATCHDOG: Duration = Duration::from_secs(120);

/// The line to the other process.
#[derive(Debug)]
pub(crate) struct Line(UnixStream);

impl Line {
    fn new(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(WATCHDOG)).expect("a socket has a timeout");
        Self(socket)
    }

    pub(crate) fn say(&self, word: u8) {
        (&self.0).write_all(&[word]).expect("the other process listens");
    }

    #[track_caller]
    pub(crate) fn hear(&self) -> u8 {
        let mut word = [0];
        (&self.0).read_exact(&mut word).expect("the other process says something");
        word[0]
    }

    pub(crate) fn send(&self, descriptor: impl AsFd) {
        let descriptors = [descriptor.as_fd().as_raw_fd()];
        let control = [ControlMessage::ScmRights(&descriptors)];
        let sent = sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(b"d")], &control, MsgFlags::empty(), None);
        assert_eq!(sent, Ok(1));
    }

    #[track_caller]
    pub(crate) fn receive(&self) -> OwnedFd {
        let (mut word, mut space) = ([0], nix::cmsg_space!([std::os::fd::RawFd; 1]));
        let mut slices = [IoSliceMut::new(&mut word)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = loop {
            match recvmsg::<()>(self.0.as_raw_fd(), &mut slices, Some(&mut space), flags) {
                // A machine that was frozen and goes on ends the waiting for sockets with a timeout, see signal(7).
                Err(Errno::EINTR) => {}
                received => break received.expect("a message"),
            }
        };
        let descriptors = message.cmsgs().expect("whole control data").flat_map(|control| match control {
            ControlMessageOwned::ScmRights(descriptors) => descriptors,
            _ => Vec::new(),
        });
        let [descriptor] = descriptors.collect::<Vec<_>>()[..] else { panic!("one descriptor is expected") };
        // SAFETY: the kernel has just made the descriptor for this process, and nothing else knows it.
        unsafe { OwnedFd::from_raw_fd(descriptor) }
    }
}

/// The other process, seen from the test.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    pub(crate) line: Line,
}

impl Peer {
    pub(crate) fn start(role: &str) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let child = Command::new(env::current_exe().expect("a test knows its program"))
            .args(["--exact", "peer::a_process_plays_its_role", "--nocapture"])
            .env(ROLE, role)
            .env("RUST_BACKTRACE", "0")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .expect("a test can start its program");
        Self { child, line: Line::new(ours) }
    }

    /// It comes to its end by itself.
    #[track_caller]
    pub(crate) fn ends(mut self) {
        let status = self.child.wait().expect("a child ends");
        assert!(status.success(), "the other process has failed, see above: {status}");
    }

    /// `kill -9`; it is gone for good when this returns.
    pub(crate) fn kill(mut self) -> ExitStatus {
        self.child.kill().expect("a child can be killed");
        let status = self.child.wait().expect("a child ends");
        assert_eq!(status.signal(), Some(9), "it was there to be killed");
        status
    }
}

/// A test that fails leaves no process behind.
impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Started by a test it plays the role; started by the harness it shows that a role is played.
#[test]
fn a_process_plays_its_role() {
    let Ok(role) = env::var(ROLE) else {
        let peer = Peer::start("echo");
        peer.line.say(7);
        assert_eq!(peer.line.hear(), 7);
        return peer.ends();
    };
    // SAFETY: the test that started this process has put the socket there.
    let socket = unsafe { BorrowedFd::borrow_raw(0) }.try_clone_to_owned().expect("a socket");
    let line = Line::new(socket.into());
    match role.as_str() {
        "echo" => line.say(line.hear()),
        "writer" => segments::play_writer(&line),
        "sparse writer" => segments::play_sparse_writer(&line),
        "reader" => segments::play_reader(&line),
        "forker" => forks::play_forker(),
        "client" => lane::play_client(&line),
        "ringer" => bells::play_ringer(),
        "holder" => bells::play_holder(&line),
        "limited" => limits::play_limited(),
        _ => panic!("there is no role '{role}'"),
    }
}

//! Another process that plays a role and can be killed or stopped: this program once more, with lines of text in both
//! directions.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::roles;
use crate::support::WATCHDOG;

const ROLE: &str = "BUSWAY_CHAOS_ROLE";
const SOCKET: &str = "BUSWAY_CHAOS_SOCKET";
/// Lines of a role begin with this; the harness prints others.
const MARK: &str = "role: ";

pub(crate) struct Actor {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Actor {
    pub(crate) fn start(role: &str, socket: &Path) -> Self {
        let program = env::current_exe().expect("a test knows its program");
        Self::spawn(Command::new(program), role, socket)
    }

    /// As another user; the program has to be one that it can read.
    pub(crate) fn start_as(user: u32, program: &Path, role: &str, socket: &Path) -> Self {
        let mut command = Command::new(program);
        command.uid(user).gid(user);
        Self::spawn(command, role, socket)
    }

    /// By another program that starts this one.
    pub(crate) fn start_by(command: Command, role: &str, socket: &Path) -> Self {
        Self::spawn(command, role, socket)
    }

    fn spawn(mut command: Command, role: &str, socket: &Path) -> Self {
        command
            .args(["--exact", "child::a_process_plays_its_role", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(SOCKET, socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = loop {
            match command.spawn() {
                // Another test that was starting a program has inherited the descriptor by which this one was copied.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                child => break child.expect("a test can start its program"),
            }
        };
        let stdin = child.stdin.take().expect("it was piped");
        let lines = lines_of(child.stdout.take().expect("it was piped"));
        Self { child, stdin, lines }
    }

    /// What it says next.
    pub(crate) fn hear(&self) -> String {
        self.lines.recv_timeout(WATCHDOG).expect("watchdog: the other process says nothing")
    }

    #[track_caller]
    pub(crate) fn expect(&self, line: &str) {
        assert_eq!(self.hear(), line);
    }

    /// Everything that it has said and that was not heard; after its end, all that it ever said.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("the other process listens");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a child can be signalled");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process has an id")
    }

    /// `kill -9`; it is gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child ends");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // The harness writes before, on the same line.
            if let Some((_, line)) = line.split_once(MARK)
                && sender.send(line.to_owned()).is_err()
            {
                return;
            }
        }
    });
    receiver
}

/// The parent's end, for a role.
pub(crate) struct Director {
    pub(crate) socket: std::path::PathBuf,
}

impl Director {
    #[allow(clippy::print_stdout, clippy::unused_self, reason = "the line to the parent")]
    pub(crate) fn say(&self, line: &str) {
        println!("\n{MARK}{line}");
    }

    /// What the parent says next; `None` when it has gone.
    #[allow(clippy::unused_self, reason = "the line to the parent")]
    pub(crate) fn hear(&self) -> Option<String> {
        let mut line = String::new();
        let count = std::io::stdin().lock().read_line(&mut line).expect("lines are text");
        (count > 0).then(|| line.trim().to_owned())
    }

    /// Stays until it is killed.
    pub(crate) fn stay(&self) {
        while self.hear().is_some() {}
    }
}

/// Started by a test it plays the role; started by the harness it shows that a role is played.
#[test]
fn a_process_plays_its_role() {
    let Ok(role) = env::var(ROLE) else {
        let mut actor = Actor::start("echo", Path::new("/nowhere"));
        actor.say("hello");
        actor.expect("hello");
        return;
    };
    let director = Director { socket: env::var_os(SOCKET).expect("a role has a socket").into() };
    roles::play(&role, &director);
}

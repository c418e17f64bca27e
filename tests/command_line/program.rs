//! One run of the command line.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{BrokerProcess, Setup, Transport, WATCHDOG, eventually};

/// Where a broker is, as `-c` takes it.
pub(crate) fn endpoint(setup: &Setup, broker: &BrokerProcess) -> String {
    match setup.transport {
        Transport::Unix => broker.socket().to_str().expect("paths of tests are text").to_owned(),
        Transport::Tcp => format!("127.0.0.1:{}", broker.port()),
    }
}

/// The program, about to be run.
pub(crate) struct Busway {
    command: Command,
    stdin: Vec<u8>,
}

impl Busway {
    /// Without anything of the environment that would change what it does.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let program = option_env!("CARGO_BIN_EXE_busway").map(PathBuf::from).filter(|path| path.is_file());
        let mut command = Command::new(program.expect("busway missing: run cargo test --features server,cli"));
        for variable in ["BUSWAY_CONNECT", "XDG_RUNTIME_DIR", "RUST_LOG"] {
            command.env_remove(variable);
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, stdin: Vec::new() }
    }

    /// Connected to that broker.
    pub(crate) fn on(setup: &Setup, broker: &BrokerProcess, arguments: &[&str]) -> Self {
        let mut busway = Self::new(&["-c", &endpoint(setup, broker)]);
        busway.command.args(arguments);
        busway
    }

    pub(crate) fn environment(mut self, variable: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(variable, value);
        self
    }

    pub(crate) fn standard_input(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = bytes.as_ref().to_vec();
        self
    }

    /// In place of what collects the output.
    pub(crate) fn standard_output(mut self, output: impl Into<Stdio>) -> Self {
        self.command.stdout(output);
        self
    }

    pub(crate) fn standard_error(mut self, output: impl Into<Stdio>) -> Self {
        self.command.stderr(output);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Finished {
        self.start().finish()
    }

    /// Runs it to its end, which has to be a good one; what it printed.
    pub(crate) fn output(self) -> String {
        let finished = self.run();
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "the program succeeds");
        finished.stdout
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = self.command.spawn().expect("the program can be started");
        let mut stdin = child.stdin.take().expect("it is piped");
        let bytes = self.stdin;
        thread::spawn(move || {
            // A program that reads nothing, or not all, is free not to.
            let _ = stdin.write_all(&bytes);
        });
        let stderr = child.stderr.take().map(lines);
        let stdout = child.stdout.take().map(BufReader::new);
        Running { child, stdout, stderr, said: String::new() }
    }
}

/// Hands on a stream line by line, so that waiting for one can end.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The program while it runs.
pub(crate) struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<Receiver<String>>,
    said: String,
}

impl Running {
    /// The next line on standard error.
    pub(crate) fn next_remark(&mut self) -> String {
        let remarks = self.stderr.as_ref().expect("it is piped");
        let line = remarks.recv_timeout(WATCHDOG).expect("the program says something");
        self.said.push_str(&line);
        self.said.push('\n');
        line
    }

    /// Waits until a listener listens.
    pub(crate) fn listening(mut self, name: &str) -> Self {
        assert_eq!(self.next_remark(), format!("listening as {name}"));
        self
    }

    /// The next line on standard output.
    pub(crate) fn next_line(&mut self) -> String {
        let stdout = self.stdout.as_mut().expect("it is piped");
        if stdout.buffer().is_empty() {
            let patience = Timespec::try_from(WATCHDOG).expect("a minute is not too long");
            let ready = poll(&mut [PollFd::new(stdout.get_ref(), PollFlags::IN)], Some(&patience));
            assert_eq!(ready, Ok(1), "watchdog: the program prints nothing");
        }
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the output is text");
        line.trim_end_matches('\n').to_owned()
    }

    /// Waits until the output stands still: more was to be printed than the pipe holds.
    pub(crate) fn wait_until_stuck(&self) {
        const LOOKS: u32 = 20;
        let stdout = self.stdout.as_ref().expect("it is piped");
        let (mut before, mut same) = (0, 0);
        eventually("the output stands still", || {
            let unread = ioctl_fionread(stdout.get_ref()).expect("a pipe knows what is in it");
            same = if unread > 0 && unread == before { same + 1 } else { 0 };
            before = unread;
            same == LOOKS
        });
    }

    /// Waits for the end, which comes although nobody reads the output.
    pub(crate) fn finish_unread(mut self) -> Finished {
        eventually("the end of the program", || self.has_ended());
        self.finish()
    }

    /// As a reader does that has had enough.
    pub(crate) fn close_output(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process has an id");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Waits for the end and takes what is left of the output.
    pub(crate) fn finish(mut self) -> Finished {
        let stdout: Option<JoinHandle<Vec<u8>>> = self.stdout.take().map(|mut stdout| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                stdout.read_to_end(&mut bytes).expect("output can be read");
                bytes
            })
        });
        eventually("the end of the program", || self.has_ended());
        let status = self.child.wait().expect("it has ended");
        let stdout = stdout.map(|reader| reader.join().expect("the output is read")).unwrap_or_default();
        while let Some(Ok(line)) = self.stderr.as_ref().map(Receiver::recv) {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        let stderr = std::mem::take(&mut self.said);
        assert!(!stderr.contains("panicked"), "no panic, whatever happens:\n{stderr}");
        let code = status.code().unwrap_or_else(|| panic!("the program was ended by a signal: {status}\n{stderr}"));
        Finished { code, stdout: String::from_utf8(stdout).expect("the output is text"), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How the program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// It was used wrongly, and said so; nothing else was printed.
    pub(crate) fn expect_wrong_usage(&self, words: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word} is missing: {self:?}");
        }
    }

    /// It failed with that code and said why in one message of its own; nothing else was printed.
    pub(crate) fn expect_failure(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{self:?}");
        assert!(self.stderr.starts_with("busway: ") && self.stderr.ends_with('\n'), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word} is missing: {self:?}");
        }
    }
}

/// One JSON object a line.
pub(crate) fn objects(output: &str) -> Vec<Value> {
    let parse = |line| match serde_json::from_str(line) {
        Ok(object @ Value::Object(_)) => object,
        other => panic!("{other:?} in {line}"),
    };
    output.lines().map(parse).collect()
}

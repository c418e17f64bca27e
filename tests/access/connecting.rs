//! Who may connect, and from where.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::DENIED;
use crate::ruled::{Ruled, text_of};
use crate::support::{TemporaryDirectory, Transport, code, eventually};

const OK: u8 = code::OK;

const RULES: &str = r#"
[access."open.*"]

[access."local.*"]
hosts = ["127.0.0.0/8"]

[access.elsewhere]
hosts = ["10.0.0.0/8", "127.0.0.2", "::1"]

[access.unix]
users = "any"

[access.tcp]
hosts = "any"

[access.both]
hosts = "any"
users = "any"

[access.nobody]
users = "none"
"#;

#[test]
fn who_is_not_listed_or_comes_from_another_host_is_refused() {
    let ruled = Ruled::start(RULES);
    for (name, unix, tcp) in [
        // Before its primary, whose end the broker may not have noticed yet.
        ("open.a%%1", code::NOT_REGISTERED, code::NOT_REGISTERED),
        ("open.a", OK, OK),
        ("open", DENIED, DENIED),
        ("stranger", DENIED, DENIED),
        ("stranger%%1", DENIED, DENIED),
        ("opener.a", DENIED, DENIED),
        // What names hosts is closed to UNIX sockets, and the other way round.
        ("local.a", DENIED, OK),
        ("elsewhere", DENIED, DENIED),
        ("unix", OK, DENIED),
        ("tcp", DENIED, OK),
        ("both", OK, OK),
        ("nobody", DENIED, DENIED),
        // What is no name at all stays what it was.
        ("", code::DATA, code::DATA),
        (".broker", code::DATA, code::DATA),
    ] {
        assert_eq!(ruled.answer(Transport::Unix, name), unix, "{name:?} over UNIX");
        assert_eq!(ruled.answer(Transport::Tcp, name), tcp, "{name:?} over TCP");
    }
    ruled.broker.expect_logged(&["stranger", "access denied"]);
}

#[test]
fn a_secondary_is_refused_where_its_primary_would_be() {
    let ruled = Ruled::start(RULES);
    let _primary = ruled.peer("unix");
    assert_eq!(ruled.answer(Transport::Unix, "unix%%1"), OK);
    assert_eq!(ruled.answer(Transport::Tcp, "unix%%1"), DENIED);
}

#[test]
fn an_empty_table_of_rules_refuses_everybody() {
    let ruled = Ruled::start("[access]\n");
    assert_eq!(ruled.answer(Transport::Unix, "anna"), DENIED);
}

/// What `busway` is told when another user runs it.
struct Visitor {
    program: PathBuf,
    _directory: TemporaryDirectory,
}

impl Visitor {
    /// A copy of the program where that user can start it.
    fn new() -> Self {
        let program = option_env!("CARGO_BIN_EXE_busway").map(PathBuf::from).filter(|path| path.is_file());
        let directory = TemporaryDirectory::new();
        let copy = directory.join("busway");
        fs::copy(program.expect("busway missing: run cargo test --features server,cli"), &copy)
            .expect("it can be copied");
        Self { program: copy, _directory: directory }
    }

    /// Whether it may connect, once the last one of that name has left.
    fn is_admitted(&self, ruled: &Ruled, name: &str, who: (u32, u32)) -> bool {
        let mut answer = None;
        eventually("the name is free", || {
            answer = self.visit(ruled, name, who);
            answer.is_some()
        });
        answer.expect("it is free")
    }

    /// Whether it may connect; `None` when the name is taken.
    fn visit(&self, ruled: &Ruled, name: &str, (user, group): (u32, u32)) -> Option<bool> {
        let socket = ruled.broker.socket();
        let mut command = Command::new(&self.program);
        command.args(["-c", text_of(&socket), "-n", name, "send", name]);
        command.env_remove("RUST_LOG").stdin(std::process::Stdio::null()).uid(user).gid(group);
        let output = loop {
            match command.output() {
                // Another test that was starting a program has inherited the descriptor by which it was copied.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                output => break output.expect("the program can be started"),
            }
        };
        let stderr = String::from_utf8_lossy(&output.stderr);
        if stderr.contains("(code 0x76)") {
            return None;
        }
        assert!(output.status.success() || stderr.contains("access denied (code 0x79)"), "{}: {stderr}", output.status);
        Some(output.status.success())
    }
}

const USERS: &str = r#"
[access.guest]
users = [65534]
message = "any"

[access.crew]
groups = [54321]
message = "any"

[access.admin]
users = ["root"]
message = "any"

[access.wheel]
groups = ["root"]
message = "any"
"#;

#[test]
fn another_user_or_another_group_is_refused() {
    if !rustix::process::geteuid().is_root() {
        #[allow(clippy::print_stderr, reason = "whoever reads the results has to know what was not tried")]
        {
            eprintln!("not tried: other users: only root can start processes of others");
        }
        return;
    }
    let ruled = Ruled::start_with(USERS, &["--socket-mode", "0666"]);
    let visitor = Visitor::new();
    for (name, is_by_user, user, group) in [
        ("guest", true, 65_534, 65_534),
        ("guest", true, 65_534, 0),
        ("guest", false, 65_533, 65_534),
        ("guest", false, 0, 0),
        ("crew", true, 65_533, 54_321),
        ("crew", false, 65_533, 65_533),
        ("crew", false, 54_321, 65_533),
        ("admin", true, 0, 0),
        ("admin", true, 0, 54_321),
        ("admin", false, 65_534, 0),
        ("wheel", true, 65_534, 0),
        ("wheel", false, 65_534, 65_534),
    ] {
        assert_eq!(visitor.is_admitted(&ruled, name, (user, group)), is_by_user, "{name} by {user}:{group}");
        // Over TCP nobody knows who it is.
        assert_eq!(ruled.answer(Transport::Tcp, name), DENIED, "{name} over TCP");
    }
}

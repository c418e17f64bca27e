//! `--check`, and files that are wrong.

use std::fs;
use std::path::Path;

use crate::ruled::{Ruled, text_of};
use crate::support::{Flavor, Outcome, Request, TemporaryDirectory, Transport, code};

/// What `buswayd` says of a file.
fn check(config: &str) -> (Outcome, String) {
    let directory = TemporaryDirectory::new();
    let file = directory.join("buswayd.toml");
    fs::write(&file, config).expect("a file can be written");
    (Outcome::of(Flavor::Busway, &["--config", text_of(&file), "--check"]), text_of(&file).to_owned())
}

#[test]
fn a_correct_file_is_said_to_be_correct() {
    let (outcome, file) = check("timeout = 7.5\nqueue-bytes = \"1M\"\n[access.\"a.*\"]\npublish = \"any\"\n");
    assert_eq!((outcome.status.code(), outcome.stdout), (Some(0), format!("{file}: correct\n")), "{}", outcome.stderr);
}

#[test]
fn a_section_that_locks_everybody_out_is_warned_of() {
    for (config, is_warned_of) in [("[access]\n", true), ("[access.a]\n", false), ("timeout = 5\n", false)] {
        let (outcome, file) = check(config);
        assert_eq!((outcome.status.code(), outcome.stdout), (Some(0), format!("{file}: correct\n")), "{config}");
        let words = format!("buswayd: warning: {file}: the section [access] lists nobody");
        assert_eq!(outcome.stderr.contains(&words), is_warned_of, "{config}: {}", outcome.stderr);
        assert!(is_warned_of || outcome.stderr.is_empty(), "{config}: {}", outcome.stderr);
    }
}

#[test]
fn a_topic_rule_that_looks_like_a_mistake_is_warned_of() {
    for (config, words) in [
        (
            "[access.\"a.*\"]\nsubscribe = [\"x#\"]\n",
            "[access.\"a.*\"] subscribe \"x#\": + and # stand for whole levels",
        ),
        ("[access.a]\npublish = [\"b/#\", \"a+/b\"]\n", "[access.\"a\"] publish \"a+/b\": + and #"),
        ("[access.a]\npublish = [\"a/*\"]\n", "[access.\"a\"] publish \"a/*\": "),
        ("[access.a]\nsubscribe = [\"\"]\n", "[access.\"a\"] subscribe \"\": it is empty"),
    ] {
        let (outcome, file) = check(config);
        assert_eq!((outcome.status.code(), outcome.stdout), (Some(0), format!("{file}: correct\n")), "{config}");
        let words = format!("buswayd: warning: {file}: {words}");
        assert!(outcome.stderr.contains(&words) && outcome.stderr.lines().count() == 1, "{words}: {}", outcome.stderr);
    }
}

#[test]
fn a_broker_that_starts_with_nobody_listed_says_so() {
    let directory = TemporaryDirectory::new();
    let (file, socket) = (directory.join("buswayd.toml"), directory.join("bus.sock"));
    // A file at its place ends the broker after it has said what there is to say of its rules.
    fs::write(&socket, "").expect("a file can be written");
    fs::write(&file, "[access]\n").expect("a file can be written");
    let outcome = Outcome::of(Flavor::Busway, &["--config", text_of(&file), "-B", text_of(&socket)]);
    assert_eq!(outcome.status.code(), Some(1), "{}", outcome.stderr);
    let said = [outcome.stdout, outcome.stderr].concat();
    assert!(said.contains("[access] lists nobody, so nobody may connect"), "{said}");
}

#[test]
fn the_example_is_correct() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/buswayd/buswayd.toml");
    let outcome = Outcome::of(Flavor::Busway, &["--config", text_of(&example), "--check"]);
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_what_would_be_right() {
    for (config, expected) in [
        ("timeout = 5\nno-such = 1\n", ":2:1: unknown field `no-such`, expected one of `bind`"),
        ("[access.a]\n\nread = []\n", ":3:1: unknown field `read`, expected one of `hosts`"),
        ("timeout = 0\n", ":1:11: 0: must be between 0.01 and 86400 seconds"),
        ("workers = \"two\"\n", ":1:11: invalid type: string \"two\", expected a number from 1 to 1024"),
        ("queue-bytes = \"64T\"\n", ":1:15: \"64T\": the suffixes are K, M and G"),
        ("max-payload = \"3G\"\n", ":1:15: \"3G\": must be from 1 byte to 2G"),
        ("queue-bytes = 0\n", ":1:15: 0: must be from 1 byte to 18446744073709551615 bytes"),
        ("bind = \"bus.sock\"\n", "expected a list of endpoints in brackets, as in [\"/run/bus.sock\"]"),
        ("socket-mode = 660\n", "expected an octal mode in quotes, as in \"0660\""),
        ("shm-trust = \"root\"\n", ":1:13: \"root\": must be same-user, all or none"),
        ("bind = [\n  7,\n]\n", ":2:3: "),
        ("[access.a]\nmessage = [\"b*\"]\n", ":2:12: \"b*\": '*' and '?' stand for whole parts"),
        ("[access.\"cam?\"]\n", ":1:9: \"cam?\": '*' and '?' stand for whole parts"),
        ("bind = [\"http://localhost:80\"]\n", ":1:8: \"http://localhost:80\" endpoints have no scheme http"),
        ("bind = [\"nosuch\"]\n", ":1:8: \"nosuch\" must be a path"),
        ("[access.a]\npublish = [\"a/#/b\"]\n", ":2:12: \"a/#/b\": nothing may follow"),
        ("[access.a]\npublish = \"all\"\n", "expected a list in brackets, \"any\" or \"none\""),
        (
            "[access.a]\nhosts = [\"10.0.0.1/8\"]\n",
            ":2:10: \"10.0.0.1/8\" is no network: bits behind the prefix are set",
        ),
        ("[access.a]\nusers = [\"no such user\"]\n", ":2:10: this system has no user named \"no such user\""),
        ("[access.a]\ngroups = [\"no such group\"]\n", ":2:11: this system has no group named"),
        ("[access.\".broker\"]\n", ":1:9: no client can be named \".broker\""),
        ("[access.\"a%%1\"]\n", ":1:9: \"a%%1\" is a secondary client"),
        ("[access.a]\n[access.a]\n", ":2:9: duplicate key"),
        ("[[slow-receivers-by-name]]\nname = \"a%%1\"\npolicy = \"latest\"\n", ":2:8: \"a%%1\" is a secondary client"),
        ("[[slow-receivers-by-name]]\nname = \"\"\npolicy = \"latest\"\n", ":2:8: no client can be named \"\""),
        ("[[slow-receivers-by-name]]\nname = \"a.*.b\"\npolicy = \"latest\"\n", ":2:8: \"a.*.b\": "),
        ("x = [1\n", ":1:7: unclosed array"),
    ] {
        let (outcome, file) = check(config);
        assert_eq!(outcome.status.code(), Some(2), "{config}");
        let said = &outcome.stderr;
        assert!(said.contains(&format!("{file}:")) && said.contains(expected), "{config}: {expected}:\n{said}");
        assert!(outcome.stdout.is_empty(), "{}", outcome.stdout);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let directory = TemporaryDirectory::new();
    let file = directory.join("missing.toml");
    for options in [&["--config", text_of(&file), "--check"][..], &["--config", text_of(&file)]] {
        let outcome = Outcome::of(Flavor::Busway, options);
        assert_eq!(outcome.status.code(), Some(2), "{}", outcome.status);
        assert!(outcome.stderr.contains(text_of(&file)), "{}", outcome.stderr);
    }
}

#[test]
fn a_file_without_an_end_is_an_error() {
    let outcome = Outcome::of(Flavor::Busway, &["--config", "/dev/zero", "--check"]);
    assert_eq!(outcome.status.code(), Some(2), "{}", outcome.status);
    assert!(outcome.stderr.contains("/dev/zero: it is longer than 4 MiB"), "{}", outcome.stderr);
}

#[test]
fn the_command_line_is_checked_too_and_there_has_to_be_a_file() {
    for options in [&["--check"][..], &["--config", "/dev/null", "--check", "--queue-size", "none"]] {
        let outcome = Outcome::of(Flavor::Busway, options);
        assert_eq!(outcome.status.code(), Some(2), "{options:?}: {}", outcome.stderr);
    }
}

#[test]
fn a_broker_does_not_start_with_a_wrong_file() {
    let directory = TemporaryDirectory::new();
    let (file, socket) = (directory.join("buswayd.toml"), directory.join("bus.sock"));
    fs::write(&file, "no-such = 1\n").expect("a file can be written");
    let outcome = Outcome::of(Flavor::Busway, &["--config", text_of(&file), "-B", text_of(&socket)]);
    assert_eq!(outcome.status.code(), Some(2), "{}", outcome.status);
    assert!(outcome.stderr.contains(":1:1: ") && !socket.exists(), "{}", outcome.stderr);
}

#[test]
fn the_file_counts_where_the_command_line_says_nothing() {
    let ruled = Ruled::start_with("max-payload = 1000\nmax-clients = 2\n", &["--max-clients", "3"]);
    let mut peers = ["a", "b", "c"].map(|name| ruled.peer(name));
    assert_eq!(ruled.connect(Transport::Unix).introduce("d"), code::BUSY, "the command line allows three");
    peers[0].send(&Request::publish("a", [0; 2_000]));
    peers[0].expect_closed();
}

#[test]
fn the_file_says_where_to_listen() {
    let directory = TemporaryDirectory::new();
    let (file, socket) = (directory.join("buswayd.toml"), directory.join("bus.sock"));
    let (pid_file, with_scheme) = (directory.join("pid"), directory.join("scheme.sock"));
    let config = format!(
        "bind = [{:?}, \"unix://{}\"]\npid-file = {:?}\nsocket-mode = \"0600\"\n",
        text_of(&socket),
        text_of(&with_scheme),
        text_of(&pid_file)
    );
    fs::write(&file, config).expect("a file can be written");
    let mut child = std::process::Command::new(Flavor::Busway.program())
        .args(["--config", text_of(&file)])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the broker can be started");
    let looked = std::panic::catch_unwind(|| {
        // What stands behind the scheme is the path. It listens there last.
        crate::support::eventually("the broker listens and has said its number", || {
            fs::read_to_string(&pid_file).is_ok_and(|number| !number.is_empty())
                && socket.exists()
                && with_scheme.exists()
        });
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&socket).expect("it is there").permissions().mode() & 0o777, 0o600);
        fs::read_to_string(&pid_file).expect("it is there")
    });
    let number = child.id();
    child.kill().expect("a child can be killed");
    child.wait().expect("a child ends");
    assert_eq!(looked.expect("see the panic above").trim(), number.to_string());
}

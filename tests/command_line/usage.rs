//! Help, versions, and command lines that are none.

use crate::program::Busway;
use crate::support::{Flavor, Outcome};

#[test]
fn the_help_of_busway_lists_every_command_and_option() {
    for flag in ["--help", "-h"] {
        let help = Busway::new(&[flag]).output();
        let common = ["-c, --connect", "-n, --name", "--timeout", "--json", "-h, --help", "-V, --version"];
        for word in [
            &common[..],
            &["listen", "send", "publish", "rpc", "broker", "benchmark", "completions", "man", "BUSWAY_CONNECT"],
        ]
        .concat()
        {
            assert!(help.contains(word), "{word} is missing in\n{help}");
        }
    }
    let help = Busway::new(&["--help"]).output();
    assert!(help.contains("Exit codes: 0") && help.contains("3 cannot connect"), "{help}");
}

#[test]
fn the_help_of_each_command_lists_its_options() {
    let common = ["--connect", "--name", "--timeout", "--json", "--help"];
    for (command, words) in [
        ("listen", &["-t, --topics", "--exclude", "--count", "--reconnect", "<cut|drop-newest|"][..]),
        ("send", &["<TARGET>", "[PAYLOAD]", "--qos", "realtime-processed"]),
        ("publish", &["<TOPIC>", "[PAYLOAD]", "--for", "--qos", "realtime-processed"]),
        ("broker", &["info", "stats", "test", "client.list"]),
        (
            "benchmark",
            &[
                "-w, --workers",
                "--payload-size",
                "-i, --iterations",
                "-s, --seconds",
                "--row",
                "--receivers",
                "--window",
                "--threads",
                "--transport",
                "send+recv.qos.processed",
            ],
        ),
        ("completions", &["<SHELL>", "powershell"]),
        ("man", &["[DIRECTORY]"]),
        ("rpc", &["listen", "notify", "call0", "call"]),
        ("rpc listen", &["-t, --topics", "--exclude", "--count", "--reconnect"]),
        ("rpc notify", &["<TARGET>", "[PAYLOAD]", "--qos"]),
        ("rpc call0", &["<TARGET>", "<METHOD>", "[KEY=VALUE]...", "--raw", "--json-params", ":="]),
        ("rpc call", &["<TARGET>", "<METHOD>", "[KEY=VALUE]...", "--raw", "--json-params", ":="]),
    ] {
        let command: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = Busway::new(&command).output();
        for word in [&common[..], words].concat() {
            assert!(help.contains(word), "{word} is missing in the help of {command:?}:\n{help}");
        }
    }
}

#[test]
fn the_help_of_buswayd_lists_every_option() {
    let outcome = Outcome::of(Flavor::Busway, &["--help"]);
    assert_eq!((outcome.status.code(), outcome.stderr.as_str()), (Some(0), ""));
    // Lines end where they must.
    let help = outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in [
        "-B, --bind",
        "fifo:PATH",
        "-P, --pid-file",
        "-D, --daemonize",
        "-w, --workers",
        "-t, --timeout",
        "--buf-size",
        "--buf-ttl",
        "--queue-size",
        "--queue-bytes",
        "--max-payload",
        "--max-clients",
        "--socket-mode",
        "--force-register",
        "--log-syslog",
        "--verbose",
        "--completions",
        "--man",
        "-h, --help",
        "-V, --version",
        "RUST_LOG",
        "powers of 1024",
        "MiB",
        "the control group's, where that is less",
    ] {
        assert!(help.contains(word), "{word} is missing in\n{}", outcome.stdout);
    }
}

#[test]
fn both_tell_their_version() {
    assert_eq!(Busway::new(&["--version"]).output(), format!("busway {}\n", busway::VERSION));
    let outcome = Outcome::of(Flavor::Busway, &["--version"]);
    assert_eq!(outcome.stdout, format!("buswayd {}\n", busway::VERSION));
}

/// Exit code 2, nothing on standard output, and the culprit named.
fn expect_wrong_usage(arguments: &[&str], culprit: &str) {
    Busway::new(arguments).run().expect_wrong_usage(&[culprit]);
}

#[test]
fn a_bad_value_is_told_with_its_option() {
    for seconds in ["0", "-1", "NaN", "inf", "1e99", "soon", "86401", ""] {
        let option = format!("--timeout={seconds}");
        expect_wrong_usage(&[&option, "broker", "test"], "--timeout");
    }
    for count in ["-1", "1.5", "many", "99999999999999999999"] {
        let option = format!("--count={count}");
        expect_wrong_usage(&["listen", &option], "--count");
    }
    for (option, values) in [
        ("--workers", &["0", "257", "-1", "some"][..]),
        ("--payload-size", &["-1", "256M", "1G", "some", ""]),
        ("--iterations", &["0", "-1", "1.5"]),
        ("--seconds", &["0", "-1", "NaN"]),
        ("--receivers", &["0", "257"]),
        ("--window", &["0", "-1"]),
        ("--threads", &["0", "257"]),
        ("--row", &["send", ""]),
        ("--transport", &["tcp", ""]),
    ] {
        for value in values {
            expect_wrong_usage(&["benchmark", &format!("{option}={value}")], option);
        }
    }
    for target in ["l*", "group.?x", "**"] {
        expect_wrong_usage(&["send", target, "payload"], target);
    }
    for endpoint in ["nosuch", "bus", "foo:x", "unix:", "tcp://", ":1"] {
        expect_wrong_usage(&["-c", endpoint, "broker", "test"], &format!("'{endpoint}'"));
    }
    for endpoint in ["foo:99999", "foo:0", "tcp://foo:65536"] {
        expect_wrong_usage(&["-c", endpoint, "broker", "test"], "from 1 to 65535");
    }
    expect_wrong_usage(&["-c", &format!("/{}", "x".repeat(200)), "broker", "test"], "107 bytes");
    let long = "x".repeat(2_000);
    for (name, words) in [("", "empty"), (".broker", "'.'"), (&long[..300], "300 bytes")] {
        expect_wrong_usage(&["-n", name, "broker", "test"], words);
        expect_wrong_usage(&["-n", name, "listen"], "--name");
    }
    let deep = ["x"; 200].join("/");
    for command in ["listen", "rpc listen"] {
        let command: Vec<&str> = command.split(' ').collect();
        for option in ["--topics", "--exclude"] {
            expect_wrong_usage(&[&command[..], &[option, &long]].concat(), "2000 bytes");
            expect_wrong_usage(&[&command[..], &[option, &deep]].concat(), "128 levels");
        }
    }
    expect_wrong_usage(&["publish", &deep, "x"], "128 levels");
    expect_wrong_usage(&["publish", "light", "x", "--for", ".x"], "--for");
    for arguments in [&["send", &long, "x"][..], &["rpc", "notify", &long, "x"], &["rpc", "call", &long, "look"]] {
        expect_wrong_usage(arguments, "2000 bytes");
    }
    for arguments in [&["send", "", "x"][..], &["rpc", "notify", "", "x"], &["rpc", "call0", "", "look"]] {
        expect_wrong_usage(arguments, "empty");
    }
    expect_wrong_usage(&["benchmark", "-i", "10", "-s", "1"], "--seconds");
    for command in ["send", "publish"] {
        expect_wrong_usage(&[command, "there", "payload", "--qos", "best"], "--qos");
    }
}

#[test]
fn what_is_unknown_missing_or_too_much_is_told() {
    expect_wrong_usage(&["--colour", "listen"], "--colour");
    expect_wrong_usage(&["sing"], "sing");
    expect_wrong_usage(&["broker", "sing"], "sing");
    expect_wrong_usage(&["broker"], "client.list");
    expect_wrong_usage(&[], "Usage: busway");
    expect_wrong_usage(&["send"], "<TARGET>");
    expect_wrong_usage(&["publish"], "<TOPIC>");
    expect_wrong_usage(&["send", "anna", "one", "two"], "two");
    expect_wrong_usage(&["listen", "--topics"], "--topics");
    expect_wrong_usage(&["-c"], "--connect");
    expect_wrong_usage(&["rpc"], "call0");
    expect_wrong_usage(&["rpc", "sing"], "sing");
    expect_wrong_usage(&["rpc", "call", "anna"], "<METHOD>");
    expect_wrong_usage(&["rpc", "notify"], "<TARGET>");
    for command in ["call", "call0"] {
        expect_wrong_usage(&["rpc", command, "anna", "look", "no pair"], "KEY=VALUE");
        expect_wrong_usage(&["rpc", command, "anna", "look", "a=1", "-"], "standard input");
        expect_wrong_usage(&["rpc", command, "anna", "look", "a=1", "--raw", "x"], "--raw");
    }
}

#[test]
fn a_bad_value_of_buswayd_is_told_with_its_option() {
    for (option, values) in [
        ("--workers", &["0", "1025", "-1", "some"][..]),
        ("--timeout", &["0", "-1", "NaN", "soon", "86401"]),
        ("--buf-size", &["-1", "some"]),
        ("--buf-ttl", &["-1", "some"]),
        ("--queue-size", &["0", "-1", "some"]),
        ("--queue-bytes", &["0", "-1", "1T", "some"]),
        ("--max-payload", &["0", "3G", "some"]),
        ("--max-clients", &["0", "-1", "some"]),
        ("--socket-mode", &["888", "7777", "rw"]),
        ("--bind", &["nosuch", "", "fifo:", "127.0.0.1:99999", "127.0.0.1:", ":7777"]),
    ] {
        for value in values {
            let outcome = Outcome::of(Flavor::Busway, &[&format!("{option}={value}")]);
            assert_eq!((outcome.status.code(), outcome.stdout.as_str()), (Some(2), ""), "{option}={value}");
            assert!(outcome.stderr.contains(option), "{option} is missing:\n{}", outcome.stderr);
        }
    }
    for (option, range) in [
        ("--queue-bytes=0", "from 1 byte to 18446744073709551615 bytes"),
        ("--queue-bytes=99999999999999999999", "from 1 byte to 18446744073709551615 bytes"),
        ("--shm-bytes=0", "from 1 byte to 18446744073709551615 bytes"),
        ("--shm-client-bytes=18446744073709551615K", "from 1 byte to 18446744073709551615 bytes"),
        ("--max-payload=0", "from 1 byte to 2G"),
        ("--max-payload=3G", "from 1 byte to 2G"),
    ] {
        let outcome = Outcome::of(Flavor::Busway, &[option]);
        assert!(outcome.status.code() == Some(2) && outcome.stderr.contains(range), "{option}: {}", outcome.stderr);
    }
    for wrong in ["--colour", "surplus"] {
        let outcome = Outcome::of(Flavor::Busway, &[wrong]);
        assert_eq!(outcome.status.code(), Some(2));
        assert!(outcome.stderr.contains(wrong), "{}", outcome.stderr);
    }
}

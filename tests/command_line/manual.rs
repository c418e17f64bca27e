//! Man pages and shell completions, on request.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::program::Busway;
use crate::support::{Flavor, Outcome, TemporaryDirectory};

const COMMANDS: [&str; 17] = [
    "",
    "listen",
    "send",
    "publish",
    "rpc",
    "rpc listen",
    "rpc notify",
    "rpc call0",
    "rpc call",
    "broker",
    "broker info",
    "broker stats",
    "broker test",
    "broker client.list",
    "benchmark",
    "completions",
    "man",
];
const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "elvish", "powershell"];

/// What `buswayd` prints and then ends.
fn buswayd(arguments: &[&str]) -> String {
    let outcome = Outcome::of(Flavor::Busway, arguments);
    assert_eq!((outcome.status.code(), outcome.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    outcome.stdout
}

/// The long options that a help text lists.
fn options(help: &str) -> Vec<&str> {
    let options = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let long = line.starts_with('-').then(|| line.find("--")).flatten()?;
        line[long..].split([' ', '=', ',']).next()
    });
    options.collect()
}

/// The page names each option, and has the sections that a reader looks for.
fn expect_page(page: &str, help: &str) {
    let plain = page.replace("\\-", "-");
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"] {
        assert!(page.contains(&format!(".SH {section}")), "{section} is missing in\n{page}");
    }
    let options = options(help);
    assert!(options.contains(&"--help"), "{help}");
    for option in options {
        assert!(plain.contains(option), "{option} is missing in\n{page}");
    }
    expect_no_complaints(page);
}

/// The formatter that most systems have finds nothing wrong, where it is installed.
fn expect_no_complaints(page: &str) {
    let mut groff = Command::new("groff");
    groff.args(["-man", "-ww", "-Tutf8"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = groff.spawn() else { return };
    child.stdin.take().expect("it is piped").write_all(page.as_bytes()).expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success() && done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn every_command_has_a_page_that_names_each_of_its_options() {
    let directory = TemporaryDirectory::new();
    let pages = directory.join("pages");
    let printed = Busway::new(&["man", pages.to_str().expect("paths of tests are text")]).output();
    assert_eq!(printed, "");
    for command in COMMANDS {
        let words: Vec<&str> = command.split_whitespace().collect();
        let help = Busway::new(&[&words[..], &["--help"]].concat()).output();
        let file = [&["busway"], &words[..]].concat().join("-") + ".1";
        let page = std::fs::read_to_string(pages.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        expect_page(&page, &help);
    }
    let files = std::fs::read_dir(&pages).expect("the directory is there").count();
    assert_eq!(files, COMMANDS.len(), "one page a command");
}

#[test]
fn without_a_directory_all_pages_are_printed_one_after_the_other() {
    let printed = Busway::new(&["man"]).output();
    assert_eq!(printed.matches(".TH busway").count(), COMMANDS.len());
    expect_no_complaints(&printed);
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    Busway::new(&["man", "/dev/null/pages"]).run().expect_failure(1, &["cannot write /dev/null/pages"]);
}

#[test]
fn the_daemon_has_a_page_that_names_each_of_its_options() {
    let page = buswayd(&["--man"]);
    assert!(page.contains(".TH buswayd 1"), "{page}");
    expect_page(&page, &buswayd(&["--help"]));
}

#[test]
fn the_daemon_prints_and_starts_nothing_else() {
    for wrong in [&["--man", "-w", "2"][..], &["--completions", "bash", "--verbose"], &["--completions", "sh"]] {
        let outcome = Outcome::of(Flavor::Busway, wrong);
        assert_eq!((outcome.status.code(), outcome.stdout.as_str()), (Some(2), ""), "{wrong:?}");
    }
}

#[test]
fn every_shell_gets_completions_of_both_programs() {
    for shell in SHELLS {
        let script = Busway::new(&["completions", shell]).output();
        for word in ["listen", "client.list", "benchmark", "connect", "payload-size"] {
            assert!(script.contains(word), "{word} is missing for {shell}");
        }
        let script = buswayd(&["--completions", shell]);
        for option in options(&buswayd(&["--help"])) {
            let word = option.trim_start_matches('-');
            assert!(script.contains(word), "{word} is missing for {shell}");
        }
    }
    let finished = Busway::new(&["completions", "sh"]).run();
    assert_eq!((finished.code, finished.stdout.as_str()), (2, ""), "{finished:?}");
}

#[test]
fn a_reader_of_completions_that_has_gone_is_no_error() {
    for command in [&["completions", "bash"][..], &["man"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let finished = Busway::new(command).standard_output(writer).run();
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{command:?}");
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let completed = |script: &str, words: &[&str]| {
        let (function, last) = (words[0], words[words.len() - 1]);
        let listed = words.join(" ");
        let asked = format!(
            "{script}\nCOMP_WORDS=({listed}); COMP_CWORD={}; _{function} {function} '{last}' '{}'; echo \"${{COMPREPLY[*]}}\"",
            words.len() - 1,
            words[words.len() - 2],
        );
        let mut bash = Command::new("bash");
        let Ok(done) = bash.args(["--norc", "-eu", "-c", &asked]).output() else { return None };
        assert!(done.status.success() && done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
        Some(String::from_utf8(done.stdout).expect("words are text").trim().to_owned())
    };
    let script = Busway::new(&["completions", "bash"]).output();
    // A system without bash has nothing to complete in.
    let Some(commands) = completed(&script, &["busway", "bench"]) else { return };
    assert_eq!(commands, "benchmark");
    assert_eq!(completed(&script, &["busway", "rpc", "call"]).as_deref(), Some("call0 call"));
    assert_eq!(completed(&script, &["busway", "send", "--qo"]).as_deref(), Some("--qos"));
    assert_eq!(completed(&script, &["busway", "send", "--qos", "proc"]).as_deref(), Some("processed"));
    let script = buswayd(&["--completions", "bash"]);
    assert_eq!(completed(&script, &["buswayd", "--queue-"]).as_deref(), Some("--queue-size --queue-bytes"));
}

//! Where a FIFO may be, and what becomes of it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::process::Command;

use rustix::process::Signal;

use super::Scripted;
use crate::support::{Delivery, Outcome, Setup, TemporaryDirectory, eventually, promises};

promises! {
    everywhere {
        the_fifo_goes_with_the_broker_that_made_it
        a_broker_that_was_killed_can_be_started_again_on_the_same_fifo
    }
    busway_unix_only {
        "the reference lets everybody write": the_fifo_has_mode_0620
        "the reference removes whatever lies at the path": a_file_at_the_path_of_a_fifo_is_left_alone
        "the reference takes the path over": a_fifo_that_is_read_is_left_to_its_reader
        "the reference replaces it": a_fifo_that_was_there_is_used_as_it_is_and_stays
        "the reference replaces it": a_fifo_of_another_user_is_not_used
        "the reference panics": a_fifo_in_no_directory_is_named_in_the_error
        "the reference goes on in silence": a_fifo_that_is_removed_is_named_and_the_broker_goes_on
    }
}

fn the_fifo_goes_with_the_broker_that_made_it(setup: &Setup) {
    let mut scripted = Scripted::start(setup);
    scripted.broker.signal(Signal::TERM);
    scripted.broker.wait();
    assert!(!scripted.path.exists(), "the FIFO is removed");
}

fn a_broker_that_was_killed_can_be_started_again_on_the_same_fifo(setup: &Setup) {
    let mut scripted = Scripted::start(setup);
    scripted.broker.signal(Signal::KILL);
    scripted.broker.wait();
    assert!(scripted.path.exists(), "a killed broker leaves its FIFO behind");
    scripted.broker.start_again();
    let mut anna = scripted.broker.peer("anna");
    // The reference makes a new one, which may take a moment more than its sockets.
    eventually("somebody reads the FIFO", || open_without_waiting(&scripted).is_some());
    scripted.run("echo 'anna hello' >$fifo");
    anna.expect(&Delivery::message("hello").from(".broker"));
}

/// Works as soon as there is a reader.
fn open_without_waiting(scripted: &Scripted) -> Option<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag of this system");
    OpenOptions::new().write(true).custom_flags(flags).open(&scripted.path).ok()
}

fn the_fifo_has_mode_0620(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let mode = fs::metadata(&scripted.path).expect("the FIFO is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o620);
}

/// Starts a broker with a FIFO where none can be and returns what it said.
fn refusal(setup: &Setup, path: &str) -> String {
    let outcome = Outcome::of(setup.flavor, &["-B", &format!("fifo:{path}")]);
    assert!(outcome.status.code().is_some_and(|code| code != 0), "{}", outcome.status);
    assert!(outcome.stderr.contains(path), "the message names {path}:\n{}", outcome.stderr);
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    outcome.stderr
}

fn a_file_at_the_path_of_a_fifo_is_left_alone(setup: &Setup) {
    let directory = TemporaryDirectory::new();
    let (file, link) = (directory.join("file"), directory.join("link"));
    fs::write(&file, "the only copy").expect("a file can be written");
    std::os::unix::fs::symlink(&file, &link).expect("a link can be made");
    for path in [&file, &link] {
        let said = refusal(setup, path.to_str().expect("the path is text"));
        assert!(said.contains("not a FIFO"), "{said}");
    }
    assert_eq!(fs::read_to_string(&link).expect("both are still there"), "the only copy");
}

fn a_fifo_that_is_read_is_left_to_its_reader(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let said = refusal(setup, scripted.path.to_str().expect("the path is text"));
    assert!(said.contains("another program reads"), "{said}");
    let mut anna = scripted.broker.peer("anna");
    scripted.run("echo 'anna hello' >$fifo");
    anna.expect(&Delivery::message("hello").from(".broker"));
}

fn make_fifo(path: &std::path::Path) {
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(path).status().expect("there is mkfifo").success());
}

fn a_fifo_that_was_there_is_used_as_it_is_and_stays(setup: &Setup) {
    let directory = TemporaryDirectory::new();
    let path = directory.join("fifo");
    make_fifo(&path);
    let mut broker = setup.start_with(&["-B", &format!("fifo:{}", path.display())]);
    let mut anna = broker.peer("anna");
    fs::write(&path, "anna hello\n").expect("the broker reads the FIFO");
    anna.expect(&Delivery::message("hello").from(".broker"));
    broker.signal(Signal::TERM);
    broker.wait();
    let metadata = fs::symlink_metadata(&path).expect("the FIFO is still there");
    assert!(metadata.file_type().is_fifo() && metadata.permissions().mode() & 0o777 == 0o600);
}

fn a_fifo_of_another_user_is_not_used(setup: &Setup) {
    let directory = TemporaryDirectory::new();
    let path = directory.join("fifo");
    make_fifo(&path);
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
        #[allow(clippy::print_stderr, reason = "a test that was not run says so")]
        {
            eprintln!("not run: only root can give a FIFO away");
        }
        return;
    }
    let said = refusal(setup, path.to_str().expect("the path is text"));
    assert!(said.contains("another user (uid 12345)"), "{said}");
}

fn a_fifo_in_no_directory_is_named_in_the_error(setup: &Setup) {
    let directory = TemporaryDirectory::new();
    refusal(setup, directory.join("missing").join("fifo").to_str().expect("the path is text"));
}

fn a_fifo_that_is_removed_is_named_and_the_broker_goes_on(setup: &Setup) {
    let scripted = Scripted::start(setup);
    let writer = scripted.writer();
    fs::remove_file(&scripted.path).expect("the FIFO can be removed");
    drop(writer);
    scripted.broker.expect_logged(&["removed or replaced", "fifo"]);
    scripted.broker.expect_service();
}

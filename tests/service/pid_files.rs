//! `buswayd -P`: whose number may be replaced.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::program::{Place, Running, read_pid};
use crate::support::eventually;

/// Starts a broker and waits until it serves.
fn start(place: &Place) -> Running {
    let running = Running::start(place.buswayd().arg("-P").arg(place.pid_file()));
    eventually("the broker serves", || place.serves());
    running
}

/// Starts a broker that has to refuse, and what it said.
fn refusal(place: &Place, pid_file: &Path) -> String {
    let output = place.buswayd().arg("-P").arg(pid_file).output().expect("buswayd can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(pid_file.to_str().expect("the path is text")), "{said}");
    said
}

#[test]
fn the_number_of_a_process_that_has_ended_is_replaced() {
    let place = Place::new();
    let mut ended = Command::new("true").spawn().expect("there is such a program");
    ended.wait().expect("it ends");
    fs::write(place.pid_file(), ended.id().to_string()).expect("a file can be written");
    let mut running = start(&place);
    assert_eq!(read_pid(&place.pid_file()).map(|pid| pid.to_string()), Some(running.0.id().to_string()));
    assert_eq!(running.end(), Some(0));
    assert!(!place.pid_file().exists());
}

#[test]
fn the_number_of_a_broker_that_still_runs_is_left_alone() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let other = start(&elsewhere);
    let number = format!("{}\n", other.0.id());
    fs::write(place.pid_file(), &number).expect("a file can be written");
    let said = refusal(&place, &place.pid_file());
    assert!(said.contains(&format!("process {}", other.0.id())) && said.contains("remove the file"), "{said}");
    assert_eq!(fs::read_to_string(place.pid_file()).expect("it is still there"), number);
    assert!(!place.socket().exists(), "nothing was bound");
}

#[test]
fn the_number_of_a_process_that_is_no_broker_is_replaced() {
    let place = Place::new();
    let stranger = Running::start(Command::new("sleep").arg("600"));
    fs::write(place.pid_file(), format!("{}\n", stranger.0.id())).expect("a file can be written");
    let running = start(&place);
    assert_eq!(read_pid(&place.pid_file()).map(|pid| pid.to_string()), Some(running.0.id().to_string()));
}

#[test]
fn a_number_that_has_come_to_another_broker_since_is_replaced() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let other = start(&elsewhere);
    fs::write(place.pid_file(), other.0.id().to_string()).expect("a file can be written");
    let file = fs::File::options().write(true).open(place.pid_file()).expect("it is there");
    // Written before that process was started, so that another one of that number wrote it.
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("the time can be set");
    let running = start(&place);
    assert_eq!(read_pid(&place.pid_file()).map(|pid| pid.to_string()), Some(running.0.id().to_string()));
}

#[test]
fn what_is_no_pid_file_is_left_alone() {
    let place = Place::new();
    for text in ["the only copy", "12 34", &"1".repeat(100)] {
        fs::write(place.pid_file(), text).expect("a file can be written");
        assert!(refusal(&place, &place.pid_file()).contains("not a pid file"));
        assert_eq!(fs::read_to_string(place.pid_file()).expect("it is still there"), text);
    }
    let link = place.directory.join("link");
    std::os::unix::fs::symlink(place.pid_file(), &link).expect("a link can be made");
    refusal(&place, &link);
    refusal(&place, &place.directory.join("missing").join("buswayd.pid"));
    assert!(!place.socket().exists(), "nothing was bound");
}

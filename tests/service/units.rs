//! The unit files in `tools/packaging`, as systemd reads them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Flavor, TemporaryDirectory};

const UNITS: [&str; 2] = ["buswayd.service", "buswayd.socket"];

/// Of 100, where 0 is a service that can do nothing at all; what systemd itself calls "OK".
const MOST_EXPOSED: &str = "20";

fn packaging() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tools/packaging")
}

/// The units beside each other, with the `buswayd` that was built instead of the one to be installed.
fn units() -> (TemporaryDirectory, Vec<PathBuf>) {
    let directory = TemporaryDirectory::new();
    let program = Flavor::Busway.program();
    let paths = UNITS.map(|unit| {
        let text = fs::read_to_string(packaging().join(unit)).unwrap_or_else(|error| panic!("{unit}: {error}"));
        let text = text.replace("/usr/bin/buswayd", program.to_str().expect("the path is text"));
        let path = directory.join(unit);
        fs::write(&path, text).expect("a file can be written");
        path
    });
    (directory, paths.to_vec())
}

/// Runs systemd-analyze, and says so where there is none.
fn analyze(arguments: &[&str], paths: &[PathBuf]) {
    match Command::new("systemd-analyze").args(arguments).args(paths).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(output.status.success(), "{arguments:?}: {}\n{said}", output.status);
            // A key that systemd does not know is no failure, but a word that is without effect.
            assert!(!said.contains("Unknown key"), "{arguments:?}:\n{said}");
        }
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "a test that was not run says so")]
            {
                eprintln!("not run: systemd-analyze {}: {error}", arguments.join(" "));
            }
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let (_directory, paths) = units();
    analyze(&["verify", "--man=no"], &paths);
}

#[test]
fn the_service_can_do_little_that_it_does_not_need() {
    let (_directory, paths) = units();
    let threshold = format!("--threshold={MOST_EXPOSED}");
    analyze(&["security", "--offline=true", "--no-pager", &threshold], &paths[..1]);
}

#[test]
fn the_service_keeps_what_the_broker_needs() {
    let text = fs::read_to_string(packaging().join("buswayd.service")).expect("the unit is there");
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("{key} is missing"))
    };
    // Otherwise every user is nobody to it: access rules and the lane look at who is at the other end.
    assert_eq!(value("PrivateUsers"), "no");
    // The socket of the unit beside it lies in the same directory.
    assert_eq!(value("RuntimeDirectoryPreserve"), "yes");
    assert_eq!(value("RuntimeDirectory"), "busway");
    for family in ["AF_UNIX", "AF_INET", "AF_INET6"] {
        assert!(value("RestrictAddressFamilies").split(' ').any(|word| word == family), "{family}");
    }
    assert_eq!((value("Type"), value("WatchdogSec")), ("notify", "30"));
}

#[test]
fn what_goes_into_the_package_is_there() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("there is a manifest");
    let package = manifest.split("[package.metadata.deb]").nth(1).expect("the manifest describes the package");
    let assets = package.split("\n]").next().expect("the assets end").lines();
    // What lies in target/ is made by tools/package.
    let paths: Vec<&str> = assets.filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next()).collect();
    let (made, kept): (Vec<&str>, Vec<&str>) = paths.into_iter().partition(|path| path.starts_with("target/"));
    assert!(made.contains(&"target/release/buswayd") && made.contains(&"target/release/busway"), "{made:?}");
    assert!(kept.len() >= 3, "{kept:?}");
    for path in kept {
        assert!(root.join(path).is_file(), "{path} is missing");
    }
    for script in ["postinst", "prerm", "postrm"] {
        let checked = Command::new("sh").arg("-n").arg(packaging().join("debian").join(script)).status();
        assert!(checked.expect("there is a shell").success(), "{script}");
    }
}

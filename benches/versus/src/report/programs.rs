//! Which programs were measured, so that it can be told later whether they were the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::machine::said;
use crate::driver::Settings;
use crate::systems::{BrokerProgram, System};

/// The crates of the systems that are built in, and their versions.
const LOCK: &str = include_str!("../../Cargo.lock");

/// The working tree that the command was given in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tree {
    commit: String,
    /// It has changes that are in no commit.
    is_changed: bool,
}

/// The file of a broker's program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    path: String,
    modified: String,
    sha256: String,
}

impl Tree {
    /// Nothing where there is no git, or no tree of its.
    pub(crate) fn here() -> Option<Self> {
        let git = |arguments: &[&str]| {
            let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let commit = git(&["rev-parse", "HEAD"])?;
        Some(Self { commit, is_changed: !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() })
    }
}

impl std::fmt::Display for Tree {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let changed = if self.is_changed { " with changes" } else { "" };
        write!(formatter, "{}{changed}", self.commit)
    }
}

/// The brokers' programs, by system.
pub(crate) fn programs(settings: &Settings) -> BTreeMap<String, Program> {
    let systems = settings.systems.iter();
    systems.filter_map(|system| Some((system.to_string(), program(settings.programs.path(system.broker()?))))).collect()
}

fn program(path: &Path) -> Program {
    let sum = said(Command::new("sha256sum").arg(path));
    Program {
        path: path.display().to_string(),
        modified: said(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M:%S UTC", "-r"]).arg(path)),
        sha256: sum.split(' ').next().unwrap_or_default().to_owned(),
    }
}

/// Version by system.
pub(crate) fn versions(settings: &Settings) -> BTreeMap<String, String> {
    settings.systems.iter().map(|system| (system.to_string(), version(*system, settings))).collect()
}

fn version(system: System, settings: &Settings) -> String {
    let ask = |program: &Path| said(Command::new(program).arg("--version"));
    match (system.broker(), system) {
        // busrtd does not tell; the command line that is installed beside it does.
        (Some(BrokerProgram::Busrtd), _) => ask(&settings.programs.busrtd.with_file_name("busrt")),
        (Some(program), _) => ask(settings.programs.path(program)),
        (None, System::Zeromq) => locked("zmq"),
        (None, system) => locked(system.name()),
    }
}

/// A crate and its version.
fn locked(name: &str) -> String {
    let line = format!("name = \"{name}\"");
    let mut lines = LOCK.lines().skip_while(|candidate| *candidate != line);
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = "));
    format!("{name} {}", version.map_or("unknown", |version| version.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_crates_are_those_of_the_lock_file() {
        assert_eq!(locked("busrt"), "busrt 0.5.6");
        assert_eq!(locked("iceoryx2"), "iceoryx2 0.10.0");
        assert_eq!(locked("no-such-crate"), "no-such-crate unknown");
    }
}

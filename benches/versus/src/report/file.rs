//! The file that all parts of the program write their rows to, and what is made of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::machine::{Machine, date};
use super::programs::{Program, Tree, programs, versions};
use super::rows::{Row, rows};
use super::samples::Samples;
use super::verdicts::{self, Verdict};
use super::{plots, table};
use crate::driver::Settings;
use crate::failure::{Context, Result};

/// `versus.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// How each part was last run.
    runs: BTreeMap<String, RunInfo>,
    rows: Vec<Row>,
    targets: Vec<Verdict>,
}

/// How a part of the program was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunInfo {
    date: String,
    command: String,
    machine: Machine,
    /// Nothing where it was no working tree of git.
    #[serde(default)]
    tree: Option<Tree>,
    versions: BTreeMap<String, String>,
    /// The brokers' programs.
    #[serde(default)]
    programs: BTreeMap<String, Program>,
    quick: bool,
    rounds: u32,
    seconds: f64,
    /// Runs that failed and were thrown away.
    discarded: Vec<String>,
    /// Something failed twice, and is missing.
    #[serde(default)]
    has_failed: bool,
    /// What there was no time for.
    #[serde(default)]
    left_out: Vec<String>,
}

impl RunInfo {
    /// At the beginning of a run.
    pub(crate) fn new(settings: &Settings) -> Self {
        let machine = Machine::this();
        if machine.is_busy() {
            let load = machine.load_average;
            eprintln!("versus: the load average is {load}: something else is running, the numbers will be noisy");
        }
        Self {
            date: date(),
            command: std::env::args().skip(1).fold("tools/versus.sh".to_owned(), |line, word| line + " " + &word),
            machine,
            tree: Tree::here(),
            versions: versions(settings),
            programs: programs(settings),
            quick: settings.quick,
            rounds: settings.rounds,
            seconds: settings.seconds,
            discarded: Vec::new(),
            has_failed: false,
            left_out: Vec::new(),
        }
    }
}

impl Record {
    /// What was written last; empty if nothing was.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = path(folder);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .context(|| format!("{} was not written by this version; remove it", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Replaces what a part had measured before.
    pub(crate) fn replace(&mut self, mode: &str, samples: &Samples, info: &RunInfo) {
        self.rows.retain(|row| row.mode != mode);
        self.rows.extend(rows(samples, mode));
        let (discarded, left_out) = (samples.discarded.clone(), samples.left_out());
        let info = RunInfo { discarded, has_failed: samples.has_failed, left_out, ..info.clone() };
        self.runs.insert(mode.to_owned(), info);
        self.targets = verdicts::verdicts(&self.rows);
    }

    /// Writes the file.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = path(folder);
        fs::create_dir_all(folder).context(|| format!("cannot make {}", folder.display()))?;
        // Whoever reads meanwhile finds the old one or the new one.
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_string_pretty(self)?).context(|| format!("cannot write {}", new.display()))?;
        fs::rename(&new, &path).context(|| format!("cannot write {}", path.display()))
    }

    /// Draws what there is.
    pub(crate) fn plot(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        plots::draw(&self.rows, folder)
    }

    /// Prints the rows of some parts, and how they were measured.
    pub(crate) fn print(&self, modes: &[&str]) -> Result<()> {
        let mut output = std::io::stdout().lock();
        for mode in modes {
            let Some(info) = self.runs.get(*mode) else { continue };
            let RunInfo { date, command, machine, tree, versions, quick, rounds, seconds, .. } = info;
            let Machine { processor, cores, kernel, load_average } = machine;
            let quick = if *quick { ", quick" } else { "" };
            writeln!(output, "\n{command}: {date}, at most {rounds} rounds of {seconds} s{quick}")?;
            writeln!(output, "{cores} x {processor}, Linux {kernel}, load average at start {load_average}")?;
            let versions: Vec<String> =
                versions.iter().map(|(system, version)| format!("{system}: {version}")).collect();
            writeln!(output, "{}", versions.join("; "))?;
            writeln!(output, "{}\n", tree.as_ref().map_or("no commit".to_owned(), |tree| format!("commit {tree}")))?;
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.mode == *mode).collect();
            table::print(&mut output, &rows)?;
            writeln!(output, "\nruns thrown away: {}", info.discarded.len())?;
            for what in &info.discarded {
                writeln!(output, "  {what}")?;
            }
            if !info.left_out.is_empty() {
                writeln!(output, "left out, as time was up:")?;
            }
            for what in &info.left_out {
                writeln!(output, "  {what}")?;
            }
        }
        Ok(())
    }

    /// Whether something is missing in a part that failed twice.
    pub(crate) fn has_failed(&self, mode: &str) -> bool {
        self.runs.get(mode).is_some_and(|info| info.has_failed)
    }

    /// Prints every target; returns whether all that could be checked are reached.
    pub(crate) fn print_targets(&self) -> Result<bool> {
        verdicts::print(&mut std::io::stdout().lock(), &self.targets)?;
        Ok(self.targets.iter().all(|verdict| verdict.reached != Some(false)))
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("versus.json")
}

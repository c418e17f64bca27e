//! The processes of a run.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::Settings;
use super::folder::last_line;
use crate::control::{COUNT, END, GO, RESULT, lines};
use crate::failure::{Context, Result};
use crate::plan::Plan;
use crate::roles::Outcome;

/// How long the others may take to fail when one has.
const AFTERMATH: Duration = Duration::from_millis(200);
/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);

/// Which process of a cast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Player(usize);

/// All processes of a run but the broker; those that are left are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Cast {
    processes: Vec<Process>,
    /// The longest that any step may take; nobody waits that long unless something is stuck.
    patience: Duration,
    /// What they say; `None` when they have ended.
    teller: Sender<(Player, Option<String>)>,
    told: Receiver<(Player, Option<String>)>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    log: PathBuf,
    what: String,
    said: VecDeque<String>,
}

impl Cast {
    pub(crate) fn new(settings: &Settings) -> Self {
        let (teller, told) = channel();
        Self { processes: Vec::new(), patience: settings.patience_with_a_step(), teller, told }
    }

    /// Starts one more process.
    pub(crate) fn start(&mut self, plan: &Plan) -> Result<Player> {
        let player = Player(self.processes.len());
        let what = format!("{:?} {} of {}", plan.role, plan.index, plan.system);
        let log = plan.folder.join(format!("process-{}.log", player.0));
        let program = std::env::current_exe().context(|| "cannot find this program".into())?;
        let mut child = Command::new(program)
            .arg("role")
            .arg(serde_json::to_string(plan)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            // What went wrong is wanted in the last line.
            .env("RUST_BACKTRACE", "0")
            .env("RUST_LOG", "off")
            .spawn()
            .context(|| format!("cannot start {what}"))?;
        let output = child.stdout.take();
        let teller = self.teller.clone();
        thread::spawn(move || {
            for line in output.into_iter().flat_map(lines) {
                let _ = teller.send((player, Some(line)));
            }
            let _ = teller.send((player, None));
        });
        self.processes.push(Process { child, log, what, said: VecDeque::new() });
        Ok(player)
    }

    /// Waits until a process says a word.
    pub(crate) fn wait_for(&mut self, player: Player, word: &str) -> Result<()> {
        let said = self.line(player)?;
        if said == word {
            return Ok(());
        }
        Err(format!("{} said {said:?} instead of {word:?}", self.processes[player.0].what).into())
    }

    /// Waits for the result of a process.
    pub(crate) fn outcome(&mut self, player: Player) -> Result<Outcome> {
        let said = self.line(player)?;
        let result = said.strip_prefix(RESULT).ok_or_else(|| format!("{said:?} is no result"))?;
        Ok(serde_json::from_str(result)?)
    }

    /// How far a process is that is in the background.
    pub(crate) fn count(&mut self, player: Player) -> Result<Outcome> {
        self.tell(player, COUNT)?;
        self.outcome(player)
    }

    /// The processes, for whoever watches them.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.processes.iter().map(|process| process.child.id())
    }

    /// Whether all still run.
    ///
    /// # Errors
    /// When one has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        let mut ended = Vec::new();
        for Process { child, what, log, .. } in &mut self.processes {
            if child.try_wait()?.is_some() {
                ended.push(format!("{what} ended early: {}", last_line(log)));
            }
        }
        if ended.is_empty() { Ok(()) } else { Err(ended.join("; ").into()) }
    }

    /// Lets a process begin.
    pub(crate) fn go(&mut self, player: Player) -> Result<()> {
        self.tell(player, GO)
    }

    fn tell(&mut self, player: Player, word: &str) -> Result<()> {
        let Process { child, what, .. } = &mut self.processes[player.0];
        let input = child.stdin.as_mut().ok_or("a process has no input")?;
        writeln!(input, "{word}").context(|| format!("{what} listens no more"))
    }

    /// The next line of a process. When any other ends meanwhile the run has failed.
    fn line(&mut self, player: Player) -> Result<String> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(line) = self.processes[player.0].said.pop_front() {
                return Ok(line);
            }
            match self.told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((from, Some(line))) => self.processes[from.0].said.push_back(line),
                Ok((_, None)) => {
                    // Who ends first is not always who failed first.
                    thread::sleep(AFTERMATH);
                    self.check()?;
                    return Err("a process said that it ended, and did not".into());
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(format!("{} said nothing in time", self.processes[player.0].what).into());
                }
            }
        }
    }

    /// Ends all, and waits until they have: some systems leave things behind when they are killed.
    pub(crate) fn finish(mut self) -> Result<()> {
        for number in 0..self.processes.len() {
            self.tell(Player(number), END)?;
        }
        let deadline = Instant::now() + GRACE;
        for process in &mut self.processes {
            while process.child.try_wait()?.is_none() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

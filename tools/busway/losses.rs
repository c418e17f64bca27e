//! Frames and calls that were dropped because the output is too slow, and what the user was told of them.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::failure::Failure;
use crate::output::Output;

/// So many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) frames: u64,
    pub(crate) calls: u64,
}

/// What was lost, and what of it was told. Clones are the same.
#[derive(Clone)]
pub(crate) struct Losses(Arc<Mutex<State>>);

struct State {
    /// Looks at the connection; none once that is to end.
    count: Option<Box<dyn Fn() -> Lost + Send>>,
    told: Lost,
}

impl Losses {
    /// `count` says how much was lost so far.
    pub(crate) fn new(count: impl Fn() -> Lost + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(State { count: Some(Box::new(count)), told: Lost::default() })))
    }

    /// A line has told of these.
    pub(crate) fn tell(&self, lost: Lost) {
        let told = &mut self.0.lock().told;
        told.frames += lost.frames;
        told.calls += lost.calls;
    }

    /// What no line has told of.
    pub(crate) fn untold(&self) -> Lost {
        let state = self.0.lock();
        let lost = state.count.as_ref().map_or(state.told, |count| count());
        Lost {
            frames: lost.frames.saturating_sub(state.told.frames),
            calls: lost.calls.saturating_sub(state.told.calls),
        }
    }

    /// Nothing more is to be told, and the connection is not held any longer.
    pub(crate) fn let_go(&self) {
        let count = self.0.lock().count.take();
        // Its end is that of the connection: not under the lock.
        drop(count);
    }

    /// The last line: what was lost after the last frame that was printed.
    pub(crate) fn print_rest(&self, output: &mut Output) -> Result<(), Failure> {
        let lost = self.untold();
        if lost == Lost::default() {
            return Ok(());
        }
        if output.is_json() {
            return output.object(&serde_json::json!({ "kind": "end", "lost_before": lost.frames + lost.calls }));
        }
        lines(lost).try_for_each(|line| output.line(&line))
    }

    /// The same for whoever reads the errors, as nobody takes the output.
    pub(crate) fn report_rest(&self) {
        for line in lines(self.untold()) {
            let _ = writeln!(io::stderr(), "busway: {line}");
        }
    }
}

/// A line for each kind of which something was lost.
fn lines(lost: Lost) -> impl Iterator<Item = String> {
    let kinds = [(lost.frames, "frames"), (lost.calls, "calls")];
    kinds.into_iter().filter(|(lost, _)| *lost > 0).map(|(lost, kind)| line(lost, kind))
}

/// How a loss is told to people.
pub(crate) fn line(lost: u64, kind: &str) -> String {
    format!("-- {lost} {kind} lost: the output is too slow")
}

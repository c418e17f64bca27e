//! What somebody at a terminal sees meanwhile.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::clock::Amount;

/// One line on standard error that is written over; nothing at all where it is no terminal.
pub(crate) struct Progress {
    is_terminal: bool,
}

/// Back to the beginning of the line, and everything from there on away.
const CLEAR: &str = "\r\x1b[K";

impl Progress {
    pub(crate) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal() }
    }

    pub(crate) fn show(&self, row: &str, amount: Amount, elapsed: Duration, sent: u64) {
        let of = match amount {
            Amount::Time(time) => format!("{:.1} of {:.1} s", elapsed.as_secs_f64(), time.as_secs_f64()),
            Amount::Iterations(count) => format!("{sent} of {count}"),
        };
        self.write(&format!("{CLEAR}{row}: {of}"));
    }

    pub(crate) fn clear(&self) {
        self.write(CLEAR);
    }

    fn write(&self, text: &str) {
        if self.is_terminal {
            let mut stderr = io::stderr();
            let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        }
    }
}

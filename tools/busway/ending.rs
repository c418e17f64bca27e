//! The end that somebody asks for by a signal.

use std::future::pending;
use std::process;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;
use crate::losses::Losses;

/// What tells that somebody wants this program to end.
pub(crate) struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl EndSignals {
    /// From now on they no longer end it themselves.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(crate) async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The end of a listener. A thread of the runtime waits for the signals, not the one that prints: that one may stand in
/// a write for as long as nobody reads.
pub(crate) struct Ending(watch::Receiver<bool>);

/// How long a listener may take to end well, once it is to end.
const GRACE: Duration = Duration::from_secs(1);
/// How long its last words may take after that: nobody may read these either.
const LAST_WORDS: Duration = Duration::from_millis(200);

impl Ending {
    /// From now on signals are heard.
    pub(crate) fn new(losses: &Losses) -> Result<Self, Failure> {
        let signals = EndSignals::new()?;
        let (wanted, heard) = watch::channel(false);
        tokio::spawn(end(signals, wanted, losses.clone()));
        Ok(Self(heard))
    }

    /// Waits until somebody wants the end.
    pub(crate) async fn wanted(&mut self) {
        if self.0.wait_for(|is_wanted| *is_wanted).await.is_err() {
            // The runtime ends, and this with it.
            pending::<()>().await;
        }
    }
}

/// Whatever does not end by itself then, a write or a farewell to the broker, is left where it stands.
async fn end(mut signals: EndSignals, wanted: watch::Sender<bool>, losses: Losses) {
    signals.recv().await;
    wanted.send_replace(true);
    let _ = tokio::time::timeout(GRACE, signals.recv()).await;
    let report = tokio::task::spawn_blocking(move || losses.report_rest());
    let _ = tokio::time::timeout(LAST_WORDS, report).await;
    process::exit(0);
}

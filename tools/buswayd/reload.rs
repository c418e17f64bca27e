//! SIGHUP: access rules are read again.

use std::io::IsTerminal;

use busway::broker::Broker;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::ConfigFile;

/// What to do on SIGHUP. Without a configuration file there is nothing to read again: it says that the terminal has gone,
/// with which the broker ends, and to one without a terminal nothing.
pub(crate) struct Reloader {
    hangup: Signal,
    file: Option<ConfigFile>,
}

impl Reloader {
    /// From now on the signal is heard.
    pub(crate) fn new(file: Option<ConfigFile>) -> std::io::Result<Self> {
        Ok(Self { hangup: signal(SignalKind::hangup())?, file })
    }

    /// Does so whenever it is asked to; returns when the broker is to end.
    pub(crate) async fn reload_when_asked(&mut self, broker: &Broker) {
        // Asked for now: a terminal that has gone is none any more.
        let has_terminal = std::io::stdin().is_terminal();
        loop {
            self.hangup.recv().await;
            match &self.file {
                Some(file) => reload(broker, file).await,
                None if has_terminal => return,
                None => tracing::warn!("SIGHUP: there is no --config that could be read again; nothing changes"),
            }
        }
    }
}

/// Puts the rules of the file in force; with an error in it everything stays as it is.
async fn reload(broker: &Broker, file: &ConfigFile) {
    // Outside of systemd there is nobody to tell. The time comes with the state, or systemd ends the service.
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    let _ = sd_notify::notify(&states);
    let path = file.path.clone();
    // Users and groups are looked up, which may take its time.
    match tokio::task::spawn_blocking(move || ConfigFile::read(&path)).await {
        Ok(Ok(new)) => put_in_force(broker, file, new),
        Ok(Err(error)) => tracing::error!("SIGHUP: {error}; the access rules stay as they are"),
        Err(error) => tracing::error!("SIGHUP: {error}; the access rules stay as they are"),
    }
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

fn put_in_force(broker: &Broker, file: &ConfigFile, new: ConfigFile) {
    let path = file.path.display();
    for key in file.differing_keys(&new) {
        tracing::warn!("SIGHUP: {path}: {key} differs from what is in force; it takes a restart");
    }
    for warning in new.warnings() {
        tracing::warn!("SIGHUP: {warning}");
    }
    if new.config.access.is_none() {
        tracing::warn!("SIGHUP: {path}: there are no access rules: everything is allowed");
    }
    broker.set_access(new.config.access);
    tracing::info!("SIGHUP: {path}: the access rules are in force");
}

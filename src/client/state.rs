//! Whether there is a connection.

use tokio::sync::watch;

/// Whether a client is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Registered with the broker.
    Connected,
    /// Not connected, for this reason; with [`Builder::reconnect`](super::Builder::reconnect) it is being tried again.
    Disconnected {
        /// What happened, in words.
        reason: String,
    },
    /// Not connected, and it will stay so.
    Closed {
        /// What happened, in words.
        reason: String,
    },
}

impl ConnectionState {
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Changes a state that is not final. Nobody sees the state while `meanwhile` runs.
    pub(super) fn change(state: &watch::Sender<Self>, new: Self, meanwhile: impl FnOnce()) {
        state.send_if_modified(|state| {
            meanwhile();
            let is_open = !state.is_closed();
            if is_open {
                *state = new;
            }
            is_open
        });
    }

    /// The final one.
    pub(super) fn closed(reason: &str) -> Self {
        Self::Closed { reason: reason.to_owned() }
    }
}

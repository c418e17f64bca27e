//! What comes one after the other: frames, and states of a connection.

use std::iter::FusedIterator;
use std::time::Duration;

use tokio::sync::watch;

use super::client::Client;
use super::runtime::Runtime;
use crate::client::ConnectionState;
use crate::frame::Frame;

/// The frames of a client as they arrive, from [`Client::iter`].
#[derive(Clone, Debug)]
#[must_use = "nothing is received until it is asked for"]
pub struct Frames<'a> {
    client: &'a Client,
}

impl<'a> Frames<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client }
    }
}

impl Iterator for Frames<'_> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        self.client.recv()
    }
}

impl FusedIterator for Frames<'_> {}

/// Why [`Client::recv_timeout`] brought no frame.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecvTimeoutError {
    /// None came in time; one may come later.
    #[error("no frame came in time")]
    Timeout,
    /// The connection has ended for good, and all frames are taken.
    #[error("the connection has ended, no frame will come any more")]
    Disconnected,
}

busway_net::debug_as_display!(RecvTimeoutError);

/// The states that a connection comes to, from [`Client::state_changes`]. The last one is its end.
///
/// It does not keep the connection alive. Of states that follow each other faster than they are asked for only the newest
/// is told.
#[derive(Clone, Debug)]
#[must_use = "nothing is waited for until it is asked for"]
pub struct StateChanges {
    runtime: &'static Runtime,
    state: watch::Receiver<ConnectionState>,
    is_at_end: bool,
}

impl StateChanges {
    pub(super) fn new(runtime: &'static Runtime, state: watch::Receiver<ConnectionState>) -> Self {
        // The end is never followed by anything, and may have come before.
        let is_at_end = matches!(*state.borrow(), ConnectionState::Closed { .. });
        Self { runtime, state, is_at_end }
    }

    /// As [`next`](Iterator::next), for so long at most; `None` also when nothing has changed by then.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<ConnectionState> {
        self.next_within(Some(timeout))
    }

    fn next_within(&mut self, patience: Option<Duration>) -> Option<ConnectionState> {
        if self.is_at_end {
            return None;
        }
        let changed = self.runtime.run_within(patience, self.state.changed());
        match changed {
            Ok(Some(Ok(()))) => {
                let state = self.state.borrow_and_update().clone();
                self.is_at_end = matches!(state, ConnectionState::Closed { .. });
                Some(state)
            }
            Ok(None) => None,
            // The client is gone, or this is a forked child.
            Ok(Some(Err(_))) | Err(_) => {
                self.is_at_end = true;
                None
            }
        }
    }
}

impl Iterator for StateChanges {
    type Item = ConnectionState;

    fn next(&mut self) -> Option<ConnectionState> {
        self.next_within(None)
    }
}

impl FusedIterator for StateChanges {}

//! Options of the RPC layer.

use std::time::Duration;

use super::handlers::Handlers;
use super::{Rpc, Workers};
use crate::client::Client;

/// Options of the RPC layer, from [`Rpc::builder`]; those of [`blocking::rpc::Rpc::builder`] are the same.
///
/// [`blocking::rpc::Rpc::builder`]: crate::blocking::rpc::Rpc::builder
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `start`"]
pub struct Builder<C = Client> {
    pub(crate) client: C,
    pub(crate) options: Options,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(super) deadline: Duration,
    pub(super) max_calls: usize,
    pub(super) max_handlers: usize,
    pub(super) request_queue: (usize, usize),
    pub(super) frame_queue: (usize, usize),
}

/// Frames and bytes that may wait.
const QUEUE: (usize, usize) = (8192, 64 << 20);
/// As many permits as a semaphore has.
const MAX_PERMITS: usize = tokio::sync::Semaphore::MAX_PERMITS;

impl<C> Builder<C> {
    pub(crate) fn new(client: C) -> Self {
        let options = Options {
            deadline: Duration::from_secs(5),
            max_calls: 1024,
            max_handlers: 256,
            request_queue: QUEUE,
            frame_queue: QUEUE,
        };
        Self { client, options }
    }

    /// How long a call may take in all, unless [`Call::deadline`](super::Call::deadline) says otherwise (5 s).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Calls that may be under way at once (1024); more wait for their turn, within their deadlines.
    ///
    /// A broker cuts a client for which more than some thousand frames wait: who raises this may be cut for the
    /// answers to its calls, or have those cut whom it calls.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.options.max_calls = calls.clamp(1, MAX_PERMITS);
        self
    }

    /// Requests that are handled at once (256); more wait.
    pub fn max_handlers(mut self, handlers: usize) -> Self {
        self.options.max_handlers = handlers.clamp(1, MAX_PERMITS);
        self
    }

    /// Requests (8192) and bytes of them (64 MiB) that may wait for a handler; beyond, they are answered at once that
    /// this client is busy.
    pub fn request_queue(mut self, requests: usize, bytes: usize) -> Self {
        self.options.request_queue = (requests, bytes);
        self
    }

    /// Notifications and frames (8192) and bytes of them (64 MiB) that may wait for their handler; beyond, the newest
    /// are dropped, and the next one tells how many are missing.
    pub fn frame_queue(mut self, frames: usize, bytes: usize) -> Self {
        self.options.frame_queue = (frames, bytes);
        self
    }
}

impl Builder {
    /// Begins to serve what arrives. A program that only calls others gives `()`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self, handlers: impl Handlers) -> Rpc {
        Rpc::start(self.client, self.options, handlers, Workers::Tasks)
    }
}

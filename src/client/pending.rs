//! Confirmations that have not come yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use busway_net::wire::ResultCode;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::receiver::Acknowledgement;

/// What waits for the broker's acknowledgements, in the order in which it was sent.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: Mutex<VecDeque<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    op_id: u32,
    since: Instant,
    answer: oneshot::Sender<Placed>,
}

/// A code, and how many frames had arrived before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) code: ResultCode,
    #[cfg_attr(not(feature = "rpc"), expect(dead_code, reason = "only the RPC layer asks what came before"))]
    pub(super) position: u64,
}

impl Pending {
    /// Remembers an operation.
    pub(super) fn add(&self, op_id: u32) -> oneshot::Receiver<Placed> {
        let (answer, receiver) = oneshot::channel();
        self.waiting.lock().push_back(Waiting { op_id, since: Instant::now(), answer });
        receiver
    }

    /// Hands out the codes of one read, before which `arrived` frames had come. Brokers confirm in order, so that each
    /// is found at once.
    pub(super) fn confirm(&self, arrived: u64, codes: &mut Vec<Acknowledgement>) {
        if codes.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        for Acknowledgement { op_id, code, frames_before } in codes.drain(..) {
            if let Some(position) = waiting.iter().position(|entry| entry.op_id == op_id)
                && let Some(entry) = waiting.remove(position)
            {
                // Nobody listens to a confirmation that was ignored.
                let _ = entry.answer.send(Placed { code, position: arrived + frames_before });
            }
        }
    }

    /// Gives up on what has waited too long.
    pub(super) fn expire(&self, timeout: Duration) {
        let mut waiting = self.waiting.lock();
        while waiting.front().is_some_and(|entry| entry.since.elapsed() > timeout) {
            if let Some(entry) = waiting.pop_front() {
                let _ = entry.answer.send(Placed { code: ResultCode::TIMEOUT, position: 0 });
            }
        }
    }

    /// The connection is gone: whoever waits learns it by the loss of the channel.
    pub(super) fn fail(&self) {
        self.waiting.lock().clear();
    }
}

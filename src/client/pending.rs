//! Confirmations that have not come yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use busway_net::wire::ResultCode;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What waits for the broker's acknowledgements, in the order in which it was sent.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: Mutex<VecDeque<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    op_id: u32,
    since: Instant,
    answer: oneshot::Sender<ResultCode>,
}

impl Pending {
    /// Remembers an operation.
    pub(super) fn add(&self, op_id: u32) -> oneshot::Receiver<ResultCode> {
        let (answer, receiver) = oneshot::channel();
        self.waiting.lock().push_back(Waiting { op_id, since: Instant::now(), answer });
        receiver
    }

    /// Hands out the codes of one read. Brokers confirm in order, so that each is found at once.
    pub(super) fn confirm(&self, codes: &mut Vec<(u32, ResultCode)>) {
        if codes.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        for (op_id, code) in codes.drain(..) {
            if let Some(position) = waiting.iter().position(|entry| entry.op_id == op_id)
                && let Some(entry) = waiting.remove(position)
            {
                // Nobody listens to a confirmation that was ignored.
                let _ = entry.answer.send(code);
            }
        }
    }

    /// Gives up on what has waited too long.
    pub(super) fn expire(&self, timeout: Duration) {
        let mut waiting = self.waiting.lock();
        while waiting.front().is_some_and(|entry| entry.since.elapsed() > timeout) {
            if let Some(entry) = waiting.pop_front() {
                let _ = entry.answer.send(ResultCode::TIMEOUT);
            }
        }
    }

    /// The connection is gone: whoever waits learns it by the loss of the channel.
    pub(super) fn fail(&self) {
        self.waiting.lock().clear();
    }
}

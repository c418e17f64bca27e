//! What the library asks the broker itself, without the application noticing the answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use busway_net::wire::FrameKind;
use busway_net::wire::rpc::{self, RpcMessage};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::frame_names::FrameNames;

/// The broker's own client.
pub(super) const BROKER: &str = ".broker";
/// The calls of the application have lower numbers.
pub(crate) const FIRST_CALL_ID: u32 = u32::MAX - 0xFFFF;

/// Calls to the broker that are none of the application's.
#[derive(Debug, Default)]
pub(super) struct Questions {
    asked: Mutex<Asked>,
    open: AtomicUsize,
}

#[derive(Debug, Default)]
struct Asked {
    next: u16,
    open: HashMap<u32, oneshot::Sender<Answer>>,
    /// Open ones from which on those are looked for that nobody waits for any longer.
    forget_at: usize,
}

/// Fewer are not worth a look.
const FORGET_AT: usize = 64;

/// Nothing, or the code and the words of a failure.
pub(super) type Answer = Result<(), (i16, String)>;

impl Questions {
    /// The number of the next call, and where its answer will come.
    pub(super) fn ask(&self) -> (u32, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        let mut asked = self.asked.lock();
        let call_id = FIRST_CALL_ID + u32::from(asked.next);
        asked.next = asked.next.wrapping_add(1);
        if asked.open.len() >= asked.forget_at {
            // Who does not listen any longer needs no answer.
            asked.open.retain(|_, answer| !answer.is_closed());
            asked.forget_at = FORGET_AT.max(asked.open.len() * 2);
        }
        asked.open.insert(call_id, answer);
        self.open.store(asked.open.len(), Ordering::Release);
        (call_id, receiver)
    }

    /// Whether a frame of this kind answers one of the calls; if so, it is no frame of the application's.
    #[inline]
    pub(super) fn is_answer(&self, kind: FrameKind, names: &FrameNames, payload: &[u8]) -> bool {
        self.open.load(Ordering::Acquire) > 0 && self.takes(kind, names, payload)
    }

    #[cold]
    fn takes(&self, kind: FrameKind, names: &FrameNames, payload: &[u8]) -> bool {
        if kind != FrameKind::Message || *names.sender != *BROKER {
            return false;
        }
        let (call_id, answer) = match rpc::parse(payload) {
            Ok(RpcMessage::Reply { call_id, .. }) => (call_id, Ok(())),
            Ok(RpcMessage::ErrorReply { call_id, code, data }) => {
                (call_id, Err((code, String::from_utf8_lossy(data).into_owned())))
            }
            _ => return false,
        };
        let mut asked = self.asked.lock();
        let Some(listener) = asked.open.remove(&call_id) else { return false };
        self.open.store(asked.open.len(), Ordering::Release);
        let _ = listener.send(answer);
        true
    }

    /// The connection is gone.
    pub(super) fn fail(&self) {
        let mut asked = self.asked.lock();
        asked.open.clear();
        self.open.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_at_once_keep_their_answers_and_who_has_gone_is_forgotten() {
        let questions = Questions::default();
        let asked: Vec<_> = (0..1_000).map(|_| questions.ask()).collect();
        assert_eq!(questions.open.load(Ordering::Relaxed), 1_000);
        let names = FrameNames { sender: BROKER.into(), topic: None };
        for (call_id, mut answer) in asked {
            let reply = rpc::reply_head(call_id);
            assert!(questions.is_answer(FrameKind::Message, &names, &reply));
            assert_eq!(answer.try_recv(), Ok(Ok(())));
        }
        for _ in 0..100_000 {
            drop(questions.ask());
        }
        assert!(questions.open.load(Ordering::Relaxed) <= FORGET_AT);
    }
}

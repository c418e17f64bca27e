//! What the library asks the broker itself, without the application noticing the answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use busway_net::wire::FrameKind;
use busway_net::wire::rpc::{self, RpcMessage};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::frame_names::FrameNames;

/// The broker's own client.
pub(super) const BROKER: &str = ".broker";
/// The calls of the application have lower numbers.
pub(crate) const FIRST_CALL_ID: u32 = u32::MAX - 255;

/// Calls to the broker that are none of the application's.
#[derive(Debug, Default)]
pub(super) struct Questions {
    asked: Mutex<Asked>,
    open: AtomicUsize,
}

#[derive(Debug, Default)]
struct Asked {
    next: u8,
    open: Vec<(u32, oneshot::Sender<Answer>)>,
}

/// Nothing, or the code and the words of a failure.
pub(super) type Answer = Result<(), (i16, String)>;

impl Questions {
    /// The number of the next call, and where its answer will come.
    pub(super) fn ask(&self) -> (u32, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        let mut asked = self.asked.lock();
        let call_id = FIRST_CALL_ID + u32::from(asked.next);
        asked.next = asked.next.wrapping_add(1);
        // Who does not listen any longer needs no answer.
        asked.open.retain(|(open, answer)| *open != call_id && !answer.is_closed());
        asked.open.push((call_id, answer));
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
        let Some(index) = asked.open.iter().position(|(open, _)| *open == call_id) else { return false };
        let (_, listener) = asked.open.swap_remove(index);
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

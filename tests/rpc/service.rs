//! Services and callers, and words for what is expected of them.

use std::sync::Arc;
use std::time::Duration;

use busway::client::SendError;
use busway::rpc::{CallError, ErrorCode, Methods, Rpc};
use busway::{Payload, ResultCode};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore};

use crate::bus::Bus;

/// Longer than any promise takes: a call that ends before it does not end by it.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3_600);

/// A service; its own calls have no deadline to speak of.
pub(crate) async fn service(bus: &Bus, name: &str, methods: Methods) -> Rpc {
    Rpc::builder(bus.client(name).await).deadline(FOR_EVER).start(methods)
}

/// Who calls and serves nobody.
pub(crate) async fn caller(bus: &Bus, name: &str) -> Rpc {
    service(bus, name, Methods::new()).await
}

/// A method that returns its parameters.
pub(crate) fn echo() -> Methods {
    Methods::new().method("echo", async |request| Ok(request.params()))
}

/// A method that tells when it has begun, and never answers.
pub(crate) fn silent(begun: &Arc<Notify>) -> Methods {
    let begun = Arc::clone(begun);
    Methods::new().method("wait", move |_| {
        begun.notify_one();
        std::future::pending::<Result<Payload, _>>()
    })
}

/// Handlers that wait for this gate, and the gate.
pub(crate) fn gate() -> (Arc<Semaphore>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    (Arc::clone(&gate), gate)
}

/// What handlers saw, in order.
pub(crate) struct Seen(UnboundedReceiver<String>);

/// Where handlers tell what they see.
pub(crate) fn seen() -> (UnboundedSender<String>, Seen) {
    let (sender, receiver) = unbounded_channel();
    (sender, Seen(receiver))
}

impl Seen {
    pub(crate) async fn next(&mut self) -> String {
        self.0.recv().await.expect("a handler sees something")
    }

    /// What was seen so far and not asked for yet.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

pub(crate) fn text(payload: &[u8]) -> String {
    String::from_utf8(payload.to_vec()).expect("the payload is text")
}

/// The error with which the peer answered.
pub(crate) fn answered<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> (ErrorCode, String) {
    match outcome {
        Err(CallError::Answered(error)) => (error.code(), error.text().into_owned()),
        other => panic!("{other:?} is not an answer with an error"),
    }
}

/// The call found nobody.
pub(crate) fn expect_nobody<T: std::fmt::Debug>(outcome: Result<T, CallError>) {
    match outcome {
        Err(CallError::Send(SendError::Refused(ResultCode::NOT_REGISTERED))) => {}
        other => panic!("{other:?}, but nobody was there"),
    }
}

/// The peer left amid the call.
pub(crate) fn expect_left<T: std::fmt::Debug>(outcome: Result<T, CallError>) {
    match outcome {
        Err(CallError::Left) => {}
        other => panic!("{other:?}, but the peer left"),
    }
}

//! Words for what a client is expected to see.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use busway::client::{ConnectionState, SendError};
use busway::{Frame, FrameKind, QoS, ResultCode};

use crate::Client;

/// The four of them.
pub(crate) const EVERY_QOS: [QoS; 4] = [QoS::No, QoS::Processed, QoS::Realtime, QoS::RealtimeProcessed];

/// What a confirmed message to nobody comes to.
pub(crate) const NOT_REGISTERED: Result<(), SendError> = Err(SendError::Refused(ResultCode::NOT_REGISTERED));

/// What every operation of a client without a connection comes to.
pub(crate) const DISCONNECTED: Result<(), SendError> = Err(SendError::Disconnected);

/// The next frame, which has to come.
pub(crate) async fn next(client: &Client) -> Frame {
    match client.recv().await {
        Some(frame) => frame,
        None => panic!("{} was to receive a frame, and {:?}", client.name(), *client.state().borrow()),
    }
}

/// The next frame's payload as text.
pub(crate) async fn next_text(client: &Client) -> String {
    text_of(&next(client).await)
}

pub(crate) fn text_of(frame: &Frame) -> String {
    String::from_utf8(frame.payload().to_vec()).expect("the payload is text")
}

/// The next frame has to be this one.
pub(crate) async fn expect(client: &Client, kind: FrameKind, sender: &str, payload: &str) -> Frame {
    let frame = next(client).await;
    let seen = (frame.kind(), frame.sender(), text_of(&frame));
    assert_eq!(seen, (kind, sender, payload.to_owned()), "what {} received", client.name());
    frame
}

pub(crate) async fn expect_message(client: &Client, sender: &str, payload: &str) -> Frame {
    let frame = expect(client, FrameKind::Message, sender, payload).await;
    assert_eq!(frame.topic(), None);
    frame
}

pub(crate) async fn expect_publication(client: &Client, sender: &str, topic: &str, payload: &str) -> Frame {
    let frame = expect(client, FrameKind::Publication, sender, payload).await;
    assert_eq!(frame.topic(), Some(topic), "what {} received", client.name());
    frame
}

/// Nothing is on its way: a message to itself arrives before anything else. This holds for what others did once the
/// broker has confirmed it to them.
pub(crate) async fn expect_nothing(client: &Client) {
    let marker = "nothing came before this";
    client.send(client.name(), marker).qos(QoS::Processed).await.expect("it reaches itself");
    expect_message(client, client.name(), marker).await;
}

/// Whatever the client has sent so far, the broker has dealt with.
pub(crate) async fn settle(client: &Client) {
    assert_eq!(client.send("nobody at all", "").qos(QoS::Processed).await, NOT_REGISTERED);
}

/// Waits for the end of a client for good; returns the reason.
pub(crate) async fn expect_closed(client: &Client) -> String {
    let mut state = client.state();
    let state = state.wait_for(|state| matches!(state, ConnectionState::Closed { .. })).await;
    match &*state.expect("the client is there") {
        ConnectionState::Closed { reason } => reason.clone(),
        other => panic!("{other:?} is not the end"),
    }
}

/// Waits until a condition holds that nothing reports.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Polls a future once.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// What an executor does that is not tokio's.
pub(crate) fn wait_on_this_thread<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

//! The tasks behind an [`Rpc`]: one reads and never waits for a handler, one handles notifications and frames in
//! order, and as many as allowed handle requests.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use busway_net::wire::rpc::{self, RpcMessage};
use busway_net::wire::{FrameKind, QoS, ResultCode};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::coop::consume_budget;

use super::catch::catch;
use super::error::{CallError, ErrorCode, RpcError};
use super::event::{Notification, Request};
use super::handlers::Handlers;
use super::pack::unpack;
use super::shared::Shared;
use super::stake::Stake;
use super::workers::{OnItsWay, Workers, on_thread};
use super::{Guard, Rpc};
use crate::client::SendError;
use crate::client::announcements::INFO_TOPIC;
use crate::client::queue_state::Unpushed;
use crate::frame::Frame;
use crate::payload::Payload;

/// The broker's own name.
const BROKER: &str = ".broker";
/// Where a reply's result begins.
const RESULT: usize = 5;
/// Where an error's data begins.
const ERROR_DATA: usize = 7;

/// Tells of the end when everything is handled, or the runtime has ended.
struct Finish(Arc<Shared>);

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.is_finished.send_replace(true);
    }
}

struct Server<H> {
    shared: Arc<Shared>,
    guard: Weak<Guard>,
    stake: Stake,
    handlers: H,
    workers: Workers,
}

/// Starts the tasks.
pub(super) fn start(
    shared: &Arc<Shared>,
    (guard, stake): (Weak<Guard>, Stake),
    handlers: impl Handlers,
    workers: Workers,
) {
    let server = Arc::new(Server { shared: Arc::clone(shared), guard, stake, handlers, workers });
    tokio::spawn(Arc::clone(&server).read());
    // Here, so that it is dropped with the task also when that never runs.
    let finish = Finish(Arc::clone(shared));
    tokio::spawn(server.handle_frames(finish));
}

/// What a peer's coming or going looks like.
#[derive(Deserialize)]
struct Announcement {
    s: String,
    d: Option<String>,
    /// Nanoseconds since the epoch.
    t: Option<u64>,
}

impl<H: Handlers> Server<H> {
    async fn read(self: Arc<Self>) {
        let mut stopped = std::pin::pin!(self.shared.stop.notified());
        // What the application misses besides what the next frame for it tells.
        let mut lost = 0;
        loop {
            let received = tokio::select! {
                biased;
                () = &mut stopped => break,
                received = self.shared.client.queue().recv_placed() => received,
            };
            let Some((mut frame, position)) = received else { break };
            lost += frame.take_lost_before();
            if let Some(mut frame) = self.dispatch(frame, position) {
                frame.lose_before(std::mem::take(&mut lost));
                // What does not fit is counted there.
                let _ = self.shared.frames.push(frame);
            }
            self.shared.calls.reached(position);
            consume_budget().await;
        }
        self.shared.requests.close();
        self.shared.frames.close();
        self.shared.unwatch_announcements().await;
    }

    /// Deals with a frame, or returns it for the task that handles those.
    fn dispatch(self: &Arc<Self>, frame: Frame, position: u64) -> Option<Frame> {
        match frame.kind() {
            FrameKind::Message => self.dispatch_message(frame),
            FrameKind::Publication if frame.topic() == Some(INFO_TOPIC) => {
                self.take_announcement(&frame, position);
                self.shared.client.announcements().are_wanted().then_some(frame)
            }
            _ => Some(frame),
        }
    }

    fn dispatch_message(self: &Arc<Self>, frame: Frame) -> Option<Frame> {
        let (call_id, outcome) = match rpc::parse(frame.payload()) {
            Ok(RpcMessage::Request { call_id, .. }) => {
                self.take_request(frame, call_id);
                return None;
            }
            Ok(RpcMessage::Reply { call_id, .. }) => (call_id, Ok(frame.payload().tail(RESULT))),
            Ok(RpcMessage::ErrorReply { call_id, code, .. }) => {
                let error = RpcError::new(ErrorCode(code), frame.payload().tail(ERROR_DATA));
                (call_id, Err(CallError::Answered(error)))
            }
            Ok(RpcMessage::Notification { .. }) | Err(_) => return Some(frame),
        };
        if !self.shared.calls.answer(call_id, frame.sender(), outcome) {
            self.shared.unexpected_replies.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(sender = frame.sender(), call_id, "a reply to no call of this client's");
        }
        None
    }

    fn take_announcement(&self, frame: &Frame, position: u64) {
        // Anybody may publish there.
        if frame.sender() != BROKER {
            return;
        }
        match unpack(frame.payload()) {
            Ok(Announcement { s, d: Some(name), t }) if s == "unreg" => self.shared.calls.left(&name, position, t),
            Ok(Announcement { s, d: Some(name), .. }) if s == "reg" => self.shared.calls.came(&name, position),
            _ => {}
        }
    }

    fn take_request(self: &Arc<Self>, frame: Frame, call_id: u32) {
        match self.shared.requests.push(frame) {
            Ok(()) => self.start_handler(),
            Err(Unpushed::Lost(Some(frame))) => {
                self.refuse(&frame, call_id, (ResultCode::BUSY, "too many requests wait"));
            }
            // It has no policies, and gives every frame back.
            Err(_) => {}
        }
    }

    fn start_handler(self: &Arc<Self>) {
        if let Some(on_its_way) = self.workers.begin()
            && let Ok(permit) = Arc::clone(&self.shared.handlers).try_acquire_owned()
        {
            self.workers.start(Arc::clone(self).handle_requests(permit, on_its_way));
        }
    }

    /// Nobody will handle it: the caller is told why, if that can be done without waiting.
    fn refuse(&self, frame: &Frame, call_id: u32, (code, words): (ResultCode, &'static str)) {
        if call_id != 0 {
            let answer = reply(call_id, &Err(RpcError::new(ErrorCode::transport(code), words)));
            let _ = self.shared.client.send(frame.sender(), answer).qos(qos_of_reply(frame)).try_enqueue();
        }
    }

    /// Handles requests one by one until none waits.
    async fn handle_requests(self: Arc<Self>, mut permit: OwnedSemaphorePermit, on_its_way: OnItsWay) {
        drop(on_its_way);
        loop {
            while let Some(frame) = self.shared.requests.try_recv() {
                if matches!(self.workers, Workers::Threads(_)) && !self.shared.requests.is_empty() {
                    self.start_handler();
                }
                self.handle_request(frame).await;
                consume_budget().await;
            }
            drop(permit);
            // One that came just before found no permit.
            if self.shared.requests.is_empty() {
                return;
            }
            match Arc::clone(&self.shared.handlers).try_acquire_owned() {
                Ok(again) => permit = again,
                Err(_) => return,
            }
        }
    }

    async fn handle_request(&self, frame: Frame) {
        let Ok(RpcMessage::Request { call_id, .. }) = rpc::parse(frame.payload()) else { return };
        let Some(rpc) = self.rpc() else {
            return self.refuse(&frame, call_id, (ResultCode::NOT_REGISTERED, "the service has ended"));
        };
        let caller = Arc::clone(&frame.names.sender);
        let qos = qos_of_reply(&frame);
        let outcome = match Request::new(frame, rpc) {
            Ok(request) => catch(async { self.handlers.call(request).await }).await.unwrap_or_else(|words| {
                tracing::error!(caller = &*caller, "the handler of a request panicked: {words}");
                Err(RpcError::internal("the handler panicked"))
            }),
            Err(error) => Err(error),
        };
        if call_id == 0 {
            return;
        }
        let mut sent = self.shared.client.send(&caller, reply(call_id, &outcome)).qos(qos).enqueue().await;
        if let Err(SendError::PayloadTooLong { limit, .. }) = sent {
            let error = RpcError::internal(format_args!("the answer is over the limit of {limit} bytes"));
            sent = self.shared.client.send(&caller, reply(call_id, &Err(error))).qos(qos).enqueue().await;
        }
        // Whether the broker finds the caller is the caller's business: nobody waits for the confirmation.
        if let Err(error) = sent {
            tracing::debug!(caller = &*caller, "cannot answer: {error}");
        }
    }

    /// Handles notifications and frames in their order.
    async fn handle_frames(self: Arc<Self>, _finish: Finish) {
        while let Some(frame) = self.shared.frames.recv().await {
            match self.workers {
                Workers::Tasks => self.handle_frame(frame).await,
                // A task in between: if the system has no thread, it alone panics.
                Workers::Threads(_) => {
                    let _ = tokio::spawn(on_thread(Arc::clone(&self).handle_burst(frame))).await;
                }
            }
            consume_budget().await;
        }
    }

    /// Handles a frame and those that wait behind it.
    async fn handle_burst(self: Arc<Self>, first: Frame) {
        let mut next = Some(first);
        while let Some(frame) = next {
            self.handle_frame(frame).await;
            next = self.shared.frames.try_recv();
        }
    }

    async fn handle_frame(&self, frame: Frame) {
        let Some(rpc) = self.rpc() else { return };
        let is_notification = frame.kind() == FrameKind::Message && frame.payload().first() == Some(&rpc::NOTIFICATION);
        let handled = if is_notification {
            catch(async { self.handlers.notification(Notification::new(frame, rpc)).await }).await
        } else {
            catch(async { self.handlers.frame(&rpc, frame).await }).await
        };
        if let Err(words) = handled {
            tracing::error!("the handler of a frame panicked: {words}");
        }
    }

    /// For a handler; none when the application has dropped its own.
    fn rpc(&self) -> Option<Rpc> {
        let guard = self.guard.upgrade()?;
        self.stake.is_held().then(|| Rpc { guard, stake: self.stake.lend() })
    }
}

fn qos_of_reply(request: &Frame) -> QoS {
    if request.is_realtime() { QoS::RealtimeProcessed } else { QoS::Processed }
}

/// An answer as it travels.
fn reply(call_id: u32, outcome: &Result<Payload, RpcError>) -> Vec<u8> {
    match outcome {
        Ok(result) => [&rpc::reply_head(call_id)[..], result].concat(),
        Err(error) => [&rpc::error_reply_head(call_id, error.code().0)[..], error.data()].concat(),
    }
}

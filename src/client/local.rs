//! A client in the broker's own process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use busway_net::wire::{self, ResultCode};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::confirmation::{Accepted, Confirmation, answer_of};
use super::error::SendError;
use super::operation::{Filters, Operation};
use super::queue::ReceiveQueue;
use super::remote::{CLOSED, check};
use super::{Client, ConnectionState, Link};
use crate::broker::control;
use crate::broker::peer::{Peer, Transport};
use crate::broker::router::{Request, Router, Source};
use crate::broker::touched::Touched;
use crate::lane::{QueueSink, Reader, ShmTrust};
use crate::names::ClientName;
use crate::payload::Content;
#[cfg(feature = "rpc")]
use crate::policy::SlowPolicy;

/// The shared part of an in-process client: it calls the router itself.
pub(crate) struct Local {
    router: Arc<Router>,
    party: Mutex<Party>,
    peer: Arc<Peer>,
    state: Arc<watch::Sender<ConnectionState>>,
    hold: Arc<Hold>,
}

/// Whether this client waits for a receiver: it sends nothing else meanwhile.
#[derive(Default)]
struct Hold {
    /// Changed under the lock.
    is_held: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Hold {
    fn begin(self: &Arc<Self>) -> Held {
        let waiting = self.waiting.lock();
        self.is_held.store(true, Ordering::Release);
        drop(waiting);
        Held(Arc::clone(self))
    }

    fn poll_free(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_held.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock();
        if !self.is_held.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// Ends the wait when it is dropped.
struct Held(Arc<Hold>);

impl Drop for Held {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock();
        self.0.is_held.store(false, Ordering::Release);
        let waiting = std::mem::take(&mut *waiting);
        waiting.into_iter().for_each(Waker::wake);
    }
}

struct Party {
    source: Source,
    touched: Touched,
}

/// Registers an in-process client.
///
/// # Errors
/// The broker's code.
pub(crate) fn register(
    router: &Arc<Router>,
    name: &ClientName,
    (frames, bytes): (usize, usize),
    trust: ShmTrust,
) -> Result<Client, ResultCode> {
    let state = Arc::new(watch::Sender::new(ConnectionState::Connected));
    let queue = ReceiveQueue::of(Arc::clone(&state), frames, bytes);
    let id = router.next_id();
    let reader = Reader { receiver: id, trust, user: rustix::process::geteuid().as_raw() };
    let sink = QueueSink { queue: queue.clone(), reader };
    let peer = Peer::new(id, name.clone(), (Transport::Internal, None), Box::new(sink));
    let mut touched = Touched::new(id);
    if let Some(policy) = router.slow_receivers.of(name, true) {
        peer.sink.set_policy(None, policy);
    }
    router.register(&peer, &mut touched)?;
    router.finish(&mut touched);
    let local = Local {
        router: Arc::clone(router),
        party: Mutex::new(Party { source: Source::new(Arc::clone(&peer)), touched }),
        peer,
        state,
        hold: Arc::default(),
    };
    Ok(Client::new(name.clone(), queue, Link::Local(Box::new(local))))
}

impl Local {
    pub(super) fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    /// There is nothing to write.
    pub(super) fn flush(&self) -> Result<(), SendError> {
        if self.peer.is_ended() { Err(SendError::Disconnected) } else { Ok(()) }
    }

    /// Routes a message, broadcast or publication, on this thread, unless an earlier one waits for its receiver.
    pub(super) fn poll_send(&self, context: &mut Context<'_>, operation: &mut Operation<'_>) -> Poll<Accepted> {
        let mut party = self.party.lock();
        // Under the lock, under which waits begin: nothing overtakes the frame that waits.
        ready!(self.hold.poll_free(context));
        Poll::Ready(self.send(&mut party, operation))
    }

    fn send(&self, party: &mut Party, operation: &mut Operation<'_>) -> Accepted {
        check(operation, &self.router.limits)?;
        if self.peer.is_ended() {
            return Err(SendError::Disconnected.into());
        }
        let request = Request {
            op_id: 0,
            operation: operation.operation,
            qos: operation.qos,
            address: operation.address.as_bytes(),
            receiver: operation.receiver.unwrap_or_default().as_bytes(),
        };
        let Party { source, touched } = party;
        self.peer.received.add(1, operation.content.len() as u64);
        let content = operation.content.clone();
        let is_control =
            request.operation == wire::Operation::Message && operation.address == &*self.router.broker.name;
        let code = if is_control {
            control::handle(&self.router, &self.peer, request.qos, &content, touched);
            Ok(ResultCode::OK)
        } else {
            self.router.deliver(source, &request, (&content).into(), touched)
        };
        if touched.has_waits() {
            return Ok(self.wait(operation, touched));
        }
        self.router.finish(touched);
        Ok(answer(operation.qos, code.unwrap_or(ResultCode::DATA)))
    }

    /// Leaves the frame to a task that waits until its receivers have room.
    fn wait(&self, operation: &Operation<'_>, touched: &mut Touched) -> Confirmation {
        let mut touched = std::mem::replace(touched, Touched::new(self.router.next_id()));
        let router = Arc::clone(&self.router);
        let held = self.hold.begin();
        let is_message = operation.operation == wire::Operation::Message;
        let (answer, receiver) = oneshot::channel();
        let task = async move {
            let code = router.wait_for_room(&mut touched).await;
            drop(held);
            let _ = answer.send(if is_message { code } else { ResultCode::OK });
        };
        if let Some(runtime) = &self.router.runtime {
            runtime.spawn(task);
        }
        if operation.qos.is_confirmed() { Confirmation::late(receiver) } else { Confirmation::done() }
    }

    /// What is done with frames that this client is too slow for.
    #[cfg(feature = "rpc")]
    pub(super) fn set_policy(&self, filters: &[&str], policy: SlowPolicy) -> Result<(), SendError> {
        if self.peer.is_ended() {
            return Err(SendError::Disconnected);
        }
        self.router.set_policy(&self.peer, filters, policy).map_err(|reason| SendError::Policy { reason })
    }

    /// Changes subscriptions or exclusions.
    pub(super) fn change(&self, filters: &mut Filters<'_>) -> Accepted {
        if self.peer.is_ended() {
            return Err(SendError::Disconnected.into());
        }
        for filter in &filters.filters {
            self.router.limits.check_path(filter.as_bytes(), b'/').map_err(SendError::from)?;
        }
        let list = filters.filters.join("\0");
        let content = Content::Borrowed(list.as_bytes());
        let code = self.router.change_filters(&self.peer, filters.operation, &content);
        Ok(answer(filters.qos, code.unwrap_or(ResultCode::DATA)))
    }

    /// Unregisters.
    pub(super) fn close(&self) {
        if self.router.is_of_parent() {
            return;
        }
        ConnectionState::change(&self.state, ConnectionState::closed(CLOSED), || {});
        let mut party = self.party.lock();
        let Party { source, touched } = &mut *party;
        source.forget();
        self.router.unregister(&self.peer, touched);
        self.router.finish(touched);
        while self.router.forget_some() {}
    }
}

fn answer(qos: wire::QoS, code: ResultCode) -> Confirmation {
    if qos.is_confirmed() { Confirmation::known(answer_of(code)) } else { Confirmation::done() }
}

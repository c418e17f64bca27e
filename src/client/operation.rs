//! Operations as they are called: built by a method of the client, shaped by `.qos()`, run by `.await`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use busway_net::wire::{self, QoS};

use super::confirmation::{Accepted, Confirmation};
use super::error::{SendError, TryError, TryErrorKind};
#[cfg(feature = "rpc")]
use super::slow_policy::PolicyRequest;
use super::waiting_room::Wait;
use super::{Client, Link};
use crate::payload::{Content, Payload};
#[cfg(feature = "rpc")]
use crate::policy::SlowPolicy;

/// A message, broadcast or publication to be sent; await it.
///
/// # Errors
/// Awaiting it fails with a [`SendError`] when the target, mask or topic is not legal, the payload is over the limit of
/// this client, or there is no connection. Confirmed, it fails also when the broker refuses it ([`SendError::Refused`]:
/// nobody has the name that a message is for, its receiver has no room, or the access rules forbid it), has not answered
/// within [`Builder::timeout`](super::Builder::timeout), or has gone before it answered. What is not to be confirmed may be
/// lost without an error.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Operation<'a> {
    client: &'a Client,
    pub(super) operation: wire::Operation,
    pub(super) qos: QoS,
    pub(super) address: &'a str,
    pub(super) receiver: Option<&'a str>,
    pub(super) content: Content<'a>,
    wait: Wait,
    confirmation: Option<Confirmation>,
}

impl<'a> Operation<'a> {
    #[inline]
    pub(super) fn new(
        client: &'a Client,
        operation: wire::Operation,
        (address, receiver): (&'a str, Option<&'a str>),
        content: Content<'a>,
    ) -> Self {
        Self { client, operation, qos: QoS::No, address, receiver, content, wait: Wait::default(), confirmation: None }
    }

    /// Confirmation and urgency ([`QoS::No`] by default).
    #[inline]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Returns as soon as the frame is accepted, waiting for room if it must; the confirmation can be awaited later,
    /// or ignored.
    ///
    /// # Errors
    /// When the frame is not accepted.
    pub async fn enqueue(mut self) -> Result<Confirmation, SendError> {
        std::future::poll_fn(|context| self.poll_in_turn(context)).await.map_err(|error| *error)
    }

    /// Accepts the frame if there is room for it at once.
    ///
    /// # Errors
    /// The payload comes back with the reason.
    pub fn try_enqueue(mut self) -> Result<Confirmation, TryError> {
        let waker = std::task::Waker::noop();
        let error = match self.poll_accept(&mut Context::from_waker(waker)) {
            Poll::Ready(Ok(confirmation)) => return Ok(confirmation),
            Poll::Ready(Err(error)) => TryErrorKind::Failed(*error),
            Poll::Pending => TryErrorKind::Full,
        };
        Err(TryError { error, payload: self.content.into_payload() })
    }

    /// What was to be sent.
    pub(crate) fn into_payload(self) -> Payload {
        self.content.into_payload()
    }

    /// As [`poll_accept`](Self::poll_accept), but waits. A task that sends in a loop may never wait for room: it would
    /// keep everybody from running who hands its frames on, and the rest of its program.
    #[inline]
    fn poll_in_turn(&mut self, context: &mut Context<'_>) -> Poll<Accepted> {
        if self.wait.has_begun() {
            return self.poll_wait(context);
        }
        let inner = &self.client.inner;
        let accepted = match &inner.link {
            Link::Remote(remote) => {
                let turns = remote.turns(&self.content);
                for _ in 1..turns {
                    ready!(tokio::task::coop::poll_proceed(context)).made_progress();
                }
                let turn = if turns > 0 { Some(ready!(tokio::task::coop::poll_proceed(context))) } else { None };
                let accepted = match remote.send_lent(self) {
                    Some(accepted) => Poll::Ready(accepted),
                    None => remote.poll_send(&mut inner.waiting_room.context(), self),
                };
                if let (true, Some(turn)) = (accepted.is_ready(), turn) {
                    turn.made_progress();
                }
                accepted
            }
            #[cfg(feature = "broker")]
            Link::Local(local) => {
                let turn = ready!(tokio::task::coop::poll_proceed(context));
                let accepted = local.poll_send(&mut inner.waiting_room.context(), self);
                if accepted.is_ready() {
                    turn.made_progress();
                }
                accepted
            }
        };
        if accepted.is_ready() { accepted } else { self.poll_wait(context) }
    }

    #[cold]
    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<Accepted> {
        let mut wait = std::mem::take(&mut self.wait);
        let accepted = wait.poll(&self.client.inner.waiting_room, context, |for_all| self.poll_accept(for_all));
        self.wait = wait;
        accepted
    }

    #[inline]
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<Accepted> {
        match &self.client.inner.link {
            Link::Remote(remote) => remote.poll_send(context, self),
            #[cfg(feature = "broker")]
            Link::Local(local) => local.poll_send(context, self),
        }
    }
}

impl Future for Operation<'_> {
    type Output = Result<(), SendError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(confirmation) = &mut self.confirmation {
                return Pin::new(confirmation).poll(context);
            }
            match ready!(self.poll_in_turn(context)) {
                Ok(confirmation) if confirmation.is_done() => return Poll::Ready(Ok(())),
                Ok(confirmation) => self.confirmation = Some(confirmation),
                Err(error) => return Poll::Ready(Err(*error)),
            }
        }
    }
}

/// A change of subscriptions or exclusions; await it.
///
/// # Errors
/// Awaiting it fails with a [`SendError`] when a filter is not legal, or there is no connection. Confirmed, as it is unless
/// [`qos`](Filters::qos) says otherwise, it fails also when the broker refuses a filter ([`SendError::Refused`]: the access
/// rules forbid it, or this client has too many; the others of a list are in force), has not answered within
/// [`Builder::timeout`](super::Builder::timeout), or has gone before it answered. With a policy that the broker does not
/// take, it fails before anything is subscribed.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Filters<'a> {
    client: &'a Client,
    pub(super) operation: wire::Operation,
    pub(super) qos: QoS,
    pub(super) filters: Vec<&'a str>,
    /// Those that changed what is restored after a reconnection.
    pub(super) changed: Vec<&'a str>,
    wait: Wait,
    confirmation: Option<Confirmation>,
    /// Sets the policy that comes first, if there is one.
    #[cfg(feature = "rpc")]
    policy: Option<PolicyRequest<'a>>,
    /// The application is not to notice.
    #[cfg(feature = "rpc")]
    is_quiet: bool,
    /// What of the announcements is wanted or not, since this was polled first.
    #[cfg(feature = "rpc")]
    noted: Option<Vec<String>>,
}

impl<'a> Filters<'a> {
    pub(super) fn new(client: &'a Client, operation: wire::Operation, filters: Vec<&'a str>) -> Self {
        Self {
            client,
            operation,
            qos: QoS::Processed,
            filters,
            changed: Vec::new(),
            wait: Wait::default(),
            confirmation: None,
            #[cfg(feature = "rpc")]
            policy: None,
            #[cfg(feature = "rpc")]
            is_quiet: false,
            #[cfg(feature = "rpc")]
            noted: None,
        }
    }

    /// The RPC layer's own.
    #[cfg(feature = "rpc")]
    pub(super) fn quiet(client: &'a Client, operation: wire::Operation, filter: &'a str) -> Self {
        let mut filters = Self::new(client, operation, vec![filter]);
        filters.is_quiet = true;
        filters
    }

    /// What happens to publications that match these filters when this client is too slow for them; see
    /// [`Client::slow_policy`]. It holds until they are unsubscribed.
    #[cfg(feature = "rpc")]
    pub fn slow_policy(mut self, policy: SlowPolicy) -> Self {
        // Without filters it would be the policy of everything else.
        if !self.filters.is_empty() {
            self.policy = Some(PolicyRequest::new(self.client, self.filters.clone(), policy));
        }
        self
    }

    /// Before the broker knows of it: what comes of it may come at once.
    #[cfg(feature = "rpc")]
    fn note(&mut self) {
        let announcements = self.client.announcements();
        self.noted = Some(match self.operation {
            _ if self.is_quiet => Vec::new(),
            wire::Operation::Subscribe => announcements.subscribe(&self.filters),
            wire::Operation::Unsubscribe => announcements.unsubscribe(&mut self.filters),
            _ => Vec::new(),
        });
    }

    /// Nothing came of it.
    #[cfg(feature = "rpc")]
    fn undo_note(&mut self) {
        if let Some(noted) = std::mem::take(&mut self.noted) {
            self.client.announcements().undo(self.operation == wire::Operation::Subscribe, &noted);
        }
    }

    /// Confirmation and urgency ([`QoS::Processed`] by default).
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Whether none of it is in force, and none is to be with the next connection. Of a list some may be, and after a
    /// timeout nobody knows.
    fn is_undone_by(&self, error: &SendError) -> bool {
        match error {
            SendError::Refused(_) => self.filters.len() == 1,
            error => *error != SendError::Timeout,
        }
    }

    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<Accepted> {
        let mut wait = std::mem::take(&mut self.wait);
        let accepted = wait.poll(&self.client.inner.waiting_room, context, |for_all| self.poll_accept(for_all));
        self.wait = wait;
        accepted
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<Accepted> {
        match &self.client.inner.link {
            Link::Remote(remote) => remote.poll_change(context, self),
            #[cfg(feature = "broker")]
            Link::Local(local) => Poll::Ready(local.change(self)),
        }
    }
}

impl Future for Filters<'_> {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        #[cfg(feature = "rpc")]
        if let Some(request) = &mut self.policy {
            ready!(request.poll(context))?;
            self.policy = None;
        }
        #[cfg(feature = "rpc")]
        if self.noted.is_none() {
            self.note();
        }
        if self.filters.is_empty() {
            #[cfg(feature = "rpc")]
            self.noted.take();
            return Poll::Ready(Ok(()));
        }
        loop {
            if let Some(confirmation) = &mut self.confirmation {
                let answer = ready!(Pin::new(confirmation).poll(context));
                let is_undone = answer.as_ref().is_err_and(|error| self.is_undone_by(error));
                #[cfg(feature = "rpc")]
                if is_undone {
                    self.undo_note();
                }
                if let (Link::Remote(remote), true) = (&self.client.inner.link, is_undone) {
                    remote.undo(&self);
                }
                #[cfg(feature = "rpc")]
                if self.operation == wire::Operation::Unsubscribe && !is_undone {
                    let queue = &self.client.inner.queue;
                    self.filters.iter().for_each(|filter| queue.rules().remove(filter));
                    // Who waits for room may no longer have to.
                    queue.room().notify_waiters();
                }
                return Poll::Ready(answer);
            }
            match ready!(self.poll_wait(context)) {
                Ok(confirmation) => self.confirmation = Some(confirmation),
                Err(error) => {
                    #[cfg(feature = "rpc")]
                    self.undo_note();
                    return Poll::Ready(Err(*error));
                }
            }
        }
    }
}

/// Dropped before the broker was asked, it was nothing.
#[cfg(feature = "rpc")]
impl Drop for Filters<'_> {
    fn drop(&mut self) {
        if self.confirmation.is_none() {
            self.undo_note();
        }
    }
}

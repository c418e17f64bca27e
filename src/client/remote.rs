//! A connection over a socket.

mod closing;
#[cfg(feature = "shm")]
mod lane_receiving;
#[cfg(feature = "shm")]
mod lane_sending;
mod lending;
mod receiving;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use busway_net::Pool;
use busway_net::link::{Batch, Endpoint, Outbox, Refused, Touch};
use busway_net::wire::{self, CLIENT_PING, QoS, encode_client_head, encode_topics_head};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior};

use closing::LastWrite;
use lending::Lending;
use turns::Turns;

use super::ConnectionState;
use super::builder::Options;
use super::confirmation::{Accepted, Confirmation};
use super::error::{ConnectError, SendError};
use super::filter_memory::FilterMemory;
use super::handshake;
#[cfg(feature = "shm")]
use super::lane_link::LaneLink;
use super::operation::{Filters, Operation};
use super::pending::{Pending, Placed};
#[cfg(feature = "rpc")]
use super::questions::Questions;
use super::queue::ReceiveQueue;
use super::receiver::Receiver;
use crate::lane::LaneOff;
use crate::names::ClientName;
use crate::payload::{Content, Payload};

/// A body up to this size is copied behind its head.
const COPY_MAX: usize = 4 << 10;
/// The caller writes itself when this much waits; less is left to the flusher.
const WRITE_AT: usize = 32 << 10;
/// Looks at late confirmations within the time that each may take.
const LOOKS: u32 = 4;
/// The same where they may take long: large memory that nobody uses goes back after two of them.
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// What keeps a connection alive, and looks at late confirmations, does not do it more often than this.
const MIN_INTERVAL: Duration = Duration::from_millis(1);
/// The reason of an end that the application wanted.
pub(super) const CLOSED: &str = "closed by this client";

/// The shared part of a client that is connected by a socket.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(super) options: Options,
    pub(super) name: ClientName,
    pub(super) runtime: Handle,
    /// The number of the process that has connected.
    process: u32,
    pub(super) outbox: Arc<Outbox>,
    pending: Pending,
    queue: ReceiveQueue,
    pub(super) pool: Pool,
    next_op_id: AtomicU32,
    /// Wakes the flusher: something waits that nobody else will write.
    pub(super) queued: Notify,
    turns: Turns,
    lending: Lending,
    closing: AtomicBool,
    /// Ends the attempts to reconnect.
    closed: Notify,
    state: watch::Sender<ConnectionState>,
    /// How often a connection was lost.
    losses: AtomicU64,
    filters: FilterMemory,
    #[cfg(feature = "rpc")]
    pub(super) questions: Arc<Questions>,
    /// The lane beside the socket, once there is one.
    #[cfg(feature = "shm")]
    pub(super) lane: LaneLink,
}

impl Remote {
    pub(super) async fn connect(
        options: Options,
        name: ClientName,
        queue: ReceiveQueue,
    ) -> Result<Arc<Self>, ConnectError> {
        let pool = Pool::default();
        let (socket, reader) =
            handshake::connect(&options.endpoint, &name, options.limits, options.timeout, &pool).await?;
        let runtime = Handle::current();
        let outbox = Arc::new(Outbox::new(options.outbox, runtime.clone()));
        outbox.attach(Arc::clone(&socket), &[], false);
        #[cfg(feature = "shm")]
        let lane = LaneLink::new(options.reconnect.is_some(), options.first_lane_off());
        let (turns, lending) = (Turns::on(&runtime), Lending::to(&options.endpoint));
        let remote = Arc::new(Self {
            options,
            name,
            runtime,
            process: std::process::id(),
            turns,
            lending,
            outbox,
            pending: Pending::default(),
            queue,
            pool,
            next_op_id: AtomicU32::new(1),
            queued: Notify::new(),
            closing: AtomicBool::new(false),
            closed: Notify::new(),
            state: watch::Sender::new(ConnectionState::Connected),
            losses: AtomicU64::new(0),
            filters: FilterMemory::default(),
            #[cfg(feature = "rpc")]
            questions: Arc::default(),
            #[cfg(feature = "shm")]
            lane,
        });
        let receiver = remote.receiver(reader);
        let last = LastWrite::of(&remote);
        tokio::spawn(Arc::clone(&remote).drive(socket, receiver, last));
        tokio::spawn(Arc::clone(&remote).keep());
        Ok(remote)
    }

    fn receiver(&self, reader: handshake::Reader) -> Receiver {
        Receiver::new(
            reader,
            #[cfg(feature = "rpc")]
            &self.questions,
        )
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.options.endpoint
    }

    /// Why frames go over the socket; `None` when they go by the lane.
    #[cfg(feature = "shm")]
    pub(super) fn lane_off_reason(&self) -> Option<LaneOff> {
        self.lane.off_reason()
    }

    /// Why frames go over the socket: this build has no lane.
    #[cfg(not(feature = "shm"))]
    #[expect(clippy::unused_self, reason = "the same as with a lane")]
    pub(super) fn lane_off_reason(&self) -> Option<LaneOff> {
        Some(LaneOff::NotAsked)
    }

    /// Waits until frames come by the lane, for so long at most.
    #[cfg(feature = "shm")]
    pub(super) async fn wait_for_lane(&self, timeout: Duration) -> Result<(), LaneOff> {
        let may_pass = |reason| match reason {
            LaneOff::Negotiating => true,
            // The next connection may have one.
            LaneOff::Disconnected => self.options.reconnect.is_some() && self.options.shm && !self.is_closed(),
            _ => false,
        };
        let settled = self.within_runtime(|| tokio::time::timeout(timeout, self.lane.settled(may_pass)));
        // It may have been settled in the last moment.
        settled.await.unwrap_or_else(|_| self.lane_off_reason().map_or(Ok(()), Err))
    }

    /// This build has no lane to wait for.
    #[cfg(not(feature = "shm"))]
    #[expect(clippy::unused_async, reason = "the same as with a lane")]
    pub(super) async fn wait_for_lane(&self, _timeout: Duration) -> Result<(), LaneOff> {
        self.lane_off_reason().map_or(Ok(()), Err)
    }

    pub(super) fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    /// Accepts a message, broadcast or publication.
    #[inline]
    pub(super) fn poll_send(&self, context: &mut Context<'_>, operation: &mut Operation<'_>) -> Poll<Accepted> {
        let accepted = self.poll_accept(context, operation);
        if accepted.is_ready() && self.turns.must_write(self.next_op_id.load(Ordering::Relaxed)) {
            self.flush_all();
        }
        accepted
    }

    /// How many turns of its task's budget an operation with this payload takes.
    #[inline]
    pub(super) fn turns(&self, payload: &Content<'_>) -> usize {
        Turns::asked_for(self.next_op_id.load(Ordering::Relaxed), payload)
    }

    #[inline]
    fn poll_accept(&self, context: &mut Context<'_>, operation: &mut Operation<'_>) -> Poll<Accepted> {
        check(operation, &self.options.limits)?;
        if self.is_closing() {
            return Poll::Ready(Err(SendError::Disconnected.into()));
        }
        #[cfg(feature = "shm")]
        if let Some(offered) = self.poll_send_by_lane(context, operation) {
            return offered;
        }
        if let Content::Borrowed(bytes) = &operation.content
            && bytes.len() > COPY_MAX
        {
            operation.content = Content::Owned(self.pool.share_copy(bytes).into());
        }
        let names = (operation.address.as_bytes(), operation.receiver.map(str::as_bytes));
        let shape = (operation.operation, operation.qos);
        let mut answer = None;
        let offered = self.outbox.poll_offer(context, |batch| {
            let op_id = self.op_id(operation.qos, &mut answer);
            encode_client_head(batch.inline(), op_id, shape, names, operation.content.len());
            append(batch, &operation.content);
        });
        #[cfg(feature = "shm")]
        if matches!(offered, Poll::Ready(Err(Refused::Switched)))
            && let Some(offered) = self.poll_send_switched(context, operation)
        {
            return offered;
        }
        self.accepted(ready!(offered), operation.qos, answer)
    }

    /// Accepts a change of subscriptions or exclusions.
    pub(super) fn poll_change(&self, context: &mut Context<'_>, filters: &mut Filters<'_>) -> Poll<Accepted> {
        for filter in &filters.filters {
            self.options.limits.check_path(filter.as_bytes(), b'/').map_err(SendError::from)?;
        }
        if self.is_closing() {
            return Poll::Ready(Err(SendError::Disconnected.into()));
        }
        #[cfg(feature = "shm")]
        if let Some(offered) = self.poll_change_by_lane(context, filters) {
            return offered;
        }
        let mut answer = None;
        let offered = self.outbox.poll_offer(context, |batch| {
            let op_id = self.op_id(filters.qos, &mut answer);
            let topics = filters.filters.iter().copied();
            encode_topics_head(batch.inline(), op_id, (filters.operation, filters.qos), topics);
            self.remember(filters);
        });
        #[cfg(feature = "shm")]
        if matches!(offered, Poll::Ready(Err(Refused::Switched)))
            && let Some(offered) = self.poll_change_switched(context, filters)
        {
            return offered;
        }
        self.accepted(ready!(offered), filters.qos, answer)
    }

    /// Under the queue's lock: what this connection was not told, the next one is.
    pub(super) fn remember(&self, filters: &mut Filters<'_>) {
        if self.options.reconnect.is_some() {
            filters.changed = self.filters.apply(filters.operation, &filters.filters);
        }
    }

    /// The next operation's number; under the queue's lock, so that confirmations come in the order of numbers.
    pub(super) fn op_id(&self, qos: QoS, answer: &mut Option<oneshot::Receiver<Placed>>) -> u32 {
        // One operation at a time comes here, of the socket's queue or of the lane's: no exchange is needed.
        let op_id = self.next_op_id.load(Ordering::Relaxed);
        self.next_op_id.store(op_id.wrapping_add(1), Ordering::Relaxed);
        if qos.is_confirmed() {
            *answer = Some(self.pending.add(op_id));
        }
        op_id
    }

    #[inline]
    fn accepted(
        &self,
        offered: Result<(Touch, usize), Refused>,
        qos: QoS,
        answer: Option<oneshot::Receiver<Placed>>,
    ) -> Poll<Accepted> {
        let Ok((touch, waiting)) = offered else {
            return Poll::Ready(Err(SendError::Disconnected.into()));
        };
        if qos != QoS::No || waiting >= WRITE_AT {
            self.outbox.flush();
        } else if touch == Touch::First {
            self.leave_to_task();
        }
        Poll::Ready(Ok(answer.map_or(Confirmation::done(), Confirmation::coming)))
    }

    /// What was accepted waits until the connection's task has its turn.
    #[inline]
    pub(super) fn leave_to_task(&self) {
        self.turns.leave(self.next_op_id.load(Ordering::Relaxed));
        self.queued.notify_one();
    }

    /// The next connection does not begin with this subscription.
    #[cfg(feature = "rpc")]
    pub(super) fn forget_subscription(&self, filter: &str) {
        self.filters.apply(wire::Operation::Unsubscribe, &[filter]);
    }

    /// The broker did not do it.
    pub(super) fn undo(&self, filters: &Filters<'_>) {
        self.filters.undo(filters.operation, &filters.changed);
    }

    /// Flushes what callers leave behind, keeps the connection alive, gives up on late confirmations.
    async fn keep(self: Arc<Self>) {
        let mut pings = every(self.options.keep_alive);
        let mut looks = every((self.options.timeout / LOOKS).min(LONGEST_LOOK));
        while !self.is_closed() {
            #[cfg(feature = "shm")]
            let patience = self.end_patience();
            #[cfg(not(feature = "shm"))]
            let patience = std::future::pending::<()>();
            tokio::select! {
                () = self.queued.notified() => {}
                () = patience => {}
                _ = looks.tick() => {
                    self.pending.expire(self.options.timeout);
                    self.pool.tidy();
                }
                _ = pings.tick() => {
                    if self.outbox.level().bytes == 0 {
                        self.outbox.offer_control(|batch| batch.inline().extend_from_slice(&CLIENT_PING));
                    }
                    #[cfg(feature = "shm")]
                    if let Some(lane) = self.lane.current() {
                        lane.tidy();
                    }
                }
            }
            self.flush_all();
        }
        // Whoever keeps a client that is closed keeps no large memory with it.
        self.pool.tidy();
        self.pool.tidy();
    }
}

fn every(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval(interval.max(MIN_INTERVAL));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn append(batch: &mut Batch, content: &Content<'_>) {
    match content {
        Content::Owned(payload) if payload.len() > COPY_MAX => batch.push_body(Payload::body(payload)),
        content => batch.inline().extend_from_slice(content.as_slice()),
    }
}

/// What no broker of these limits would take is refused before it is sent.
#[inline]
pub(super) fn check(operation: &Operation<'_>, limits: &wire::Limits) -> Result<(), SendError> {
    let by_name = matches!(operation.operation, wire::Operation::Message | wire::Operation::Broadcast);
    limits.check_path(operation.address.as_bytes(), if by_name { b'.' } else { b'/' })?;
    if let Some(receiver) = operation.receiver {
        limits.check_name(receiver)?;
    }
    let length = operation.content.len();
    if length > limits.max_payload {
        return Err(SendError::PayloadTooLong { length, limit: limits.max_payload });
    }
    Ok(())
}

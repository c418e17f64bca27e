//! A connection over a socket.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use busway_net::Pool;
use busway_net::link::{Batch, BusyPoll, Chunk, Endpoint, Outbox, Refused, Socket, Touch};
use busway_net::wire::{self, CLIENT_PING, QoS, encode_client_head, encode_topics_head};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::ConnectionState;
use super::builder::{Options, Reconnect};
use super::error::{ConnectError, SendError};
use super::filter_memory::FilterMemory;
use super::handshake;
#[cfg(feature = "shm")]
use super::lane_link::LaneLink;
use super::operation::{Accepted, Confirmation, Filters, Operation};
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
/// Bytes after which the reader lets others have their turn.
const TURN: usize = 256 << 10;
/// How long a dropped client may block its thread, or the end of its runtime, to write what it had accepted ...
const LAST_WRITE: Duration = Duration::from_secs(5);
/// ... and then to let the broker read it.
const LINGER: Duration = Duration::from_secs(1);
/// Looks at late confirmations within the time that each may take.
const LOOKS: u32 = 4;
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
    pub(super) outbox: Arc<Outbox>,
    pending: Pending,
    queue: ReceiveQueue,
    pub(super) pool: Pool,
    next_op_id: AtomicU32,
    /// Wakes the flusher: something waits that nobody else will write.
    pub(super) queued: Notify,
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
        let lane = LaneLink::new(options.reconnect.is_some());
        let remote = Arc::new(Self {
            options,
            name,
            runtime,
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
        tokio::spawn(Arc::clone(&remote).drive(socket, receiver));
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

    pub(super) fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    /// Accepts a message, broadcast or publication.
    pub(super) fn poll_send(&self, context: &mut Context<'_>, operation: &mut Operation<'_>) -> Poll<Accepted> {
        check(operation, &self.options.limits)?;
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
            && let Some(offered) = self.poll_send_by_lane(context, operation)
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
            && let Some(offered) = self.poll_change_by_lane(context, filters)
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
            self.queued.notify_one();
        }
        Poll::Ready(Ok(answer.map_or(Confirmation::done(), Confirmation::coming)))
    }

    /// The broker did not do it.
    pub(super) fn undo(&self, filters: &Filters<'_>) {
        self.filters.undo(filters.operation, &filters.changed);
    }

    pub(super) async fn flush(&self) -> Result<(), SendError> {
        let losses = self.losses.load(Ordering::Acquire);
        self.flush_all();
        #[cfg(feature = "shm")]
        if let Some(lane) = self.lane.current()
            && !poll_fn(|context| lane.poll_written(context)).await
        {
            return Err(SendError::Disconnected);
        }
        let is_written = poll_fn(|context| self.outbox.poll_written(context)).await;
        // A new connection that has everything says nothing of what was lost with the old one.
        if is_written && self.losses.load(Ordering::Acquire) == losses { Ok(()) } else { Err(SendError::Disconnected) }
    }

    pub(super) async fn close(&self) {
        self.close_within(self.options.timeout).await;
    }

    /// As [`close`](Remote::close), with the patience of the last clone.
    pub(super) async fn leave(&self) {
        self.close_within(LAST_WRITE).await;
    }

    async fn close_within(&self, patience: Duration) {
        self.begin_closing();
        self.flush_all();
        let _ = tokio::time::timeout(patience, self.wind_up()).await;
        self.end(CLOSED);
    }

    /// The last clone is gone: what was accepted is written, without anybody waiting for it if possible.
    pub(super) fn abandon(remote: &Arc<Self>) {
        remote.begin_closing();
        if remote.is_closed() {
            return;
        }
        remote.flush_all();
        if Handle::try_current().is_err() {
            // Nobody knows whether the runtime runs again before the program ends.
            #[cfg(feature = "shm")]
            if let Some(lane) = remote.lane.current()
                && remote.outbox.flush_blocking(LAST_WRITE)
            {
                lane.flush_blocking(LAST_WRITE);
            }
            remote.outbox.flush_blocking(LAST_WRITE);
        }
        // When the runtime ends before the task does, or has ended, dropping the task writes what is left.
        let last = LastWrite(Arc::clone(remote));
        remote.runtime.spawn(async move {
            let _ = tokio::time::timeout(LAST_WRITE, last.0.wind_up()).await;
            last.0.end(CLOSED);
        });
    }

    fn begin_closing(&self) {
        self.closing.store(true, Ordering::Release);
        // Who waits to read goes on to the end.
        self.queue.room().notify_waiters();
    }

    /// Writes what was accepted, and reads on until the broker has closed its end: who closes with confirmations or
    /// frames on their way makes the other end's writing fail, and some then do not read on.
    async fn wind_up(&self) {
        #[cfg(feature = "shm")]
        if let Some(lane) = self.lane.current() {
            poll_fn(|context| lane.poll_written(context)).await;
        }
        if poll_fn(|context| self.outbox.poll_finish(context)).await {
            let _ = self.state.subscribe().wait_for(ConnectionState::is_closed).await;
        }
    }

    /// Ends the connection for good.
    fn end(&self, reason: &str) {
        self.lose(ConnectionState::closed(reason));
        self.queue.close();
        self.queued.notify_one();
        self.closed.notify_one();
    }

    /// The connection is gone: so is what waited to be written or confirmed.
    fn lose(&self, state: ConnectionState) {
        self.losses.fetch_add(1, Ordering::AcqRel);
        // Whoever learns of it by an operation finds it in the state, and the other way round.
        ConnectionState::change(&self.state, state, || {
            self.outbox.close();
            #[cfg(feature = "shm")]
            self.lane.lose();
        });
        self.pending.fail();
        #[cfg(feature = "rpc")]
        self.questions.fail();
    }

    fn is_closed(&self) -> bool {
        self.state.borrow().is_closed()
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Reads until the connection ends; connects again if that is wanted.
    async fn drive(self: Arc<Self>, mut socket: Arc<Socket>, mut receiver: Receiver) {
        loop {
            #[cfg(feature = "shm")]
            let reason = self.receive_all(&socket, &mut receiver).await;
            #[cfg(not(feature = "shm"))]
            let reason = self.receive(&socket, &mut receiver).await;
            if self.is_closing() {
                return self.end(CLOSED);
            }
            let Some(reconnect) = self.options.reconnect else {
                return self.end(&reason);
            };
            tracing::info!(client = %self.name, "connection lost: {reason}; connecting again");
            self.lose(ConnectionState::Disconnected { reason });
            let connected = tokio::select! {
                () = self.closed.notified() => return,
                connected = self.connect_again(reconnect) => connected,
            };
            socket = connected.0;
            receiver = self.receiver(connected.1);
            self.outbox.attach(Arc::clone(&socket), &self.first_frames(), false);
            if self.is_closing() {
                // It may have found nothing to close.
                return self.end(CLOSED);
            }
            self.outbox.flush();
            ConnectionState::change(&self.state, ConnectionState::Connected, || {});
        }
    }

    /// What a new connection begins with: policies before the subscriptions that they are for.
    fn first_frames(&self) -> Vec<u8> {
        #[cfg(feature = "rpc")]
        let mut frames = super::slow_policy::restoring_frames(&self.queue);
        #[cfg(not(feature = "rpc"))]
        let mut frames = Vec::new();
        frames.extend(self.filters.frames());
        frames
    }

    /// Tries until it succeeds.
    async fn connect_again(&self, reconnect: Reconnect) -> (Arc<Socket>, handshake::Reader) {
        let mut delay = reconnect.first_delay.max(MIN_INTERVAL);
        loop {
            tokio::time::sleep(delay).await;
            let Options { endpoint, limits, timeout, .. } = &self.options;
            match handshake::connect(endpoint, &self.name, *limits, *timeout, &self.pool).await {
                Ok(connected) => return connected,
                Err(error) => tracing::debug!(client = %self.name, "not connected again: {error}"),
            }
            delay = (delay * 2).min(reconnect.max_delay).max(MIN_INTERVAL);
        }
    }

    /// Hands on what arrives until the connection ends; says why it did.
    #[cfg(not(feature = "shm"))]
    async fn receive(&self, socket: &Socket, receiver: &mut Receiver) -> String {
        let mut busy = BusyPoll::new(self.options.busy_poll);
        loop {
            if let Err(reason) = self.receive_some(socket, receiver, Some(&mut busy)).await {
                return reason;
            }
        }
    }

    /// Waits for the socket, and hands on what it brings.
    ///
    /// # Errors
    /// Why the connection has ended.
    pub(super) async fn receive_some(
        &self,
        socket: &Socket,
        receiver: &mut Receiver,
        mut busy: Option<&mut BusyPoll>,
    ) -> Result<(), String> {
        // Frames may have come in one read with the handshake.
        self.hand_on(receiver)?;
        self.room_to_read().await;
        let mut readiness = match &mut busy {
            None => socket.readable().await,
            Some(busy) => busy.readable(socket).await,
        }
        .map_err(|error| error.to_string())?;
        let mut turn = 0;
        loop {
            let chunk = receiver.read(&mut readiness).map_err(|error| format!("the connection failed: {error}"))?;
            match chunk {
                Chunk::End => return Err("the broker closed the connection".to_owned()),
                Chunk::Empty => break,
                Chunk::Full(count) | Chunk::Last(count) => turn += count,
            }
            let arrived = self.hand_on(receiver)?;
            if let Some(busy) = &mut busy {
                busy.brought(arrived);
            }
            if matches!(chunk, Chunk::Last(_)) || self.queue.holds_reader() {
                break;
            }
            if turn >= TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
        receiver.release();
        Ok(())
    }

    /// Waits while senders are to wait for this client: nothing is read then.
    pub(super) async fn room_to_read(&self) {
        while self.is_held() {
            let mut room = pin!(self.queue.room().notified());
            // From here on, so that no room is missed that comes before the look.
            room.as_mut().enable();
            if self.is_held() {
                room.await;
            }
        }
    }

    fn is_held(&self) -> bool {
        self.queue.holds_reader() && !self.is_closing()
    }

    /// Hands on what was read; says how many frames and confirmations that were.
    fn hand_on(&self, receiver: &mut Receiver) -> Result<usize, String> {
        let decoded = receiver.decode();
        let arrived = receiver.inbox.len();
        self.deliver(receiver);
        decoded.map_err(|violation| format!("the broker violated the protocol: {violation}"))?;
        Ok(arrived)
    }

    /// Data before confirmations: who waits for its confirmation finds what came before it.
    pub(super) fn deliver(&self, receiver: &mut Receiver) {
        let inbox = &mut receiver.inbox;
        if inbox.is_empty() {
            return;
        }
        let gap = inbox.end_read();
        let arrived = self.queue.extend(&mut inbox.frames, gap);
        self.pending.confirm(arrived, &mut inbox.codes);
    }

    fn flush_all(&self) {
        self.outbox.flush();
        #[cfg(feature = "shm")]
        if let Some(lane) = self.lane.current() {
            lane.flush();
        }
    }

    /// Flushes what callers leave behind, keeps the connection alive, gives up on late confirmations.
    async fn keep(self: Arc<Self>) {
        let mut pings = every(self.options.keep_alive);
        let mut looks = every(self.options.timeout / LOOKS);
        while !self.is_closed() {
            #[cfg(feature = "shm")]
            let patience = self.end_patience();
            #[cfg(not(feature = "shm"))]
            let patience = std::future::pending::<()>();
            tokio::select! {
                () = self.queued.notified() => {}
                () = patience => {}
                _ = looks.tick() => self.pending.expire(self.options.timeout),
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
    }
}

fn every(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval(interval.max(MIN_INTERVAL));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Writes what is left and ends the connection when it is dropped before its task has done that.
struct LastWrite(Arc<Remote>);

impl Drop for LastWrite {
    fn drop(&mut self) {
        if !self.0.is_closed() {
            // What waits before the socket comes before what waits before the lane, and lets the broker read that.
            #[cfg(feature = "shm")]
            if let Some(lane) = self.0.lane.current()
                && self.0.outbox.flush_blocking(LAST_WRITE)
            {
                lane.flush_blocking(LAST_WRITE);
            }
            self.0.outbox.finish_blocking(LAST_WRITE, LINGER);
            self.0.end(CLOSED);
        }
    }
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

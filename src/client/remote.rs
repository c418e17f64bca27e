//! A connection over a socket.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use busway_net::Pool;
use busway_net::link::{Batch, Chunk, Outbox, Refused, Socket, Touch};
use busway_net::wire::{self, CLIENT_PING, QoS, encode_client_head, encode_topics_head};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};

use super::ConnectionState;
use super::builder::Builder;
use super::error::{ConnectError, SendError};
use super::handshake;
use super::operation::{Confirmation, Filters, Operation};
use super::pending::Pending;
use super::queue::ReceiveQueue;
use super::receiver::Receiver;
use crate::names::ClientName;
use crate::payload::{Content, Payload};

/// A body up to this size is copied behind its head.
const COPY_MAX: usize = 4 << 10;
/// The caller writes itself when this much waits; less is left to the flusher.
const WRITE_AT: usize = 32 << 10;
/// Bytes after which the reader lets others have their turn.
const TURN: usize = 256 << 10;
/// How long a dropped client may block its thread, or the end of its runtime, to write what it had accepted.
const LAST_WRITE: Duration = Duration::from_secs(5);
/// Topics of one frame when subscriptions are restored.
const RESTORED_TOPICS: usize = 256;

/// The shared part of a client that is connected by a socket.
#[derive(Debug)]
pub(crate) struct Remote {
    options: Builder,
    name: ClientName,
    outbox: Arc<Outbox>,
    pending: Pending,
    queue: ReceiveQueue,
    pool: Pool,
    next_op_id: AtomicU32,
    /// Wakes the flusher: something waits that nobody else will write.
    queued: Notify,
    closing: AtomicBool,
    /// Ends the attempts to reconnect.
    closed: Notify,
    state: watch::Sender<ConnectionState>,
    filters: Mutex<FilterMemory>,
}

/// What is restored after a reconnection.
#[derive(Debug, Default)]
struct FilterMemory {
    subscribed: BTreeSet<String>,
    excluded: BTreeSet<String>,
}

impl Remote {
    pub(super) async fn connect(
        options: Builder,
        name: ClientName,
        queue: ReceiveQueue,
    ) -> Result<Arc<Self>, ConnectError> {
        let pool = Pool::default();
        let (socket, reader) =
            handshake::connect(&options.endpoint, &name, options.limits, options.timeout, &pool).await?;
        let outbox = Arc::new(Outbox::new(options.outbox, Handle::current()));
        outbox.attach(Arc::clone(&socket), &[], false);
        let remote = Arc::new(Self {
            options,
            name,
            outbox,
            pending: Pending::default(),
            queue,
            pool,
            next_op_id: AtomicU32::new(1),
            queued: Notify::new(),
            closing: AtomicBool::new(false),
            closed: Notify::new(),
            state: watch::Sender::new(ConnectionState::Connected),
            filters: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&remote).drive(socket, Receiver::new(reader)));
        tokio::spawn(Arc::clone(&remote).keep());
        Ok(remote)
    }

    pub(super) fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    /// Accepts a message, broadcast or publication.
    pub(super) fn poll_send(
        &self,
        context: &mut Context<'_>,
        operation: &mut Operation<'_>,
    ) -> Poll<Result<Confirmation, SendError>> {
        check(operation, &self.options.limits)?;
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
        self.accepted(ready!(offered), operation.qos, answer)
    }

    /// Accepts a change of subscriptions or exclusions.
    pub(super) fn poll_change(
        &self,
        context: &mut Context<'_>,
        filters: &mut Filters<'_>,
    ) -> Poll<Result<Confirmation, SendError>> {
        for filter in &filters.filters {
            self.options.limits.check_path(filter.as_bytes(), b'/')?;
        }
        let mut answer = None;
        let offered = self.outbox.poll_offer(context, |batch| {
            let op_id = self.op_id(filters.qos, &mut answer);
            let topics = filters.filters.iter().copied();
            encode_topics_head(batch.inline(), op_id, (filters.operation, filters.qos), topics);
        });
        self.accepted(ready!(offered), filters.qos, answer)
    }

    /// The next operation's number; under the outbox's lock, so that confirmations come in the order of numbers.
    fn op_id(&self, qos: QoS, answer: &mut Option<oneshot::Receiver<wire::ResultCode>>) -> u32 {
        let op_id = self.next_op_id.fetch_add(1, Ordering::Relaxed);
        if qos.is_confirmed() {
            *answer = Some(self.pending.add(op_id));
        }
        op_id
    }

    fn accepted(
        &self,
        offered: Result<(Touch, usize), Refused>,
        qos: QoS,
        answer: Option<oneshot::Receiver<wire::ResultCode>>,
    ) -> Poll<Result<Confirmation, SendError>> {
        let Ok((touch, waiting)) = offered else {
            return Poll::Ready(Err(SendError::Disconnected));
        };
        if qos != QoS::No || waiting >= WRITE_AT {
            self.outbox.flush();
        } else if touch == Touch::First {
            self.queued.notify_one();
        }
        Poll::Ready(Ok(answer.map_or_else(|| Confirmation::known(Ok(())), Confirmation::coming)))
    }

    /// Notes what a change of filters came to, for the next connection.
    pub(super) fn remember(&self, operation: wire::Operation, filters: &[&str], answer: &Result<(), SendError>) {
        if self.options.reconnect.is_none() || answer.is_err() {
            return;
        }
        let mut memory = self.filters.lock();
        for filter in filters {
            match operation {
                wire::Operation::Subscribe => drop(memory.subscribed.insert((*filter).to_owned())),
                wire::Operation::Unsubscribe => drop(memory.subscribed.remove(*filter)),
                wire::Operation::Exclude => drop(memory.excluded.insert((*filter).to_owned())),
                _ => drop(memory.excluded.remove(*filter)),
            }
        }
    }

    pub(super) async fn flush(&self) -> Result<(), SendError> {
        self.outbox.flush();
        poll_fn(|context| self.outbox.poll_empty(context)).await;
        if *self.state.borrow() == ConnectionState::Connected { Ok(()) } else { Err(SendError::Disconnected) }
    }

    pub(super) async fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.outbox.flush();
        let _ = tokio::time::timeout(self.options.timeout, poll_fn(|context| self.outbox.poll_empty(context))).await;
        self.end("closed by this client");
    }

    /// The last clone is gone: what was accepted is written, without anybody waiting for it if possible.
    pub(super) fn abandon(remote: &Arc<Self>) {
        if remote.closing.swap(true, Ordering::AcqRel)
            && matches!(*remote.state.borrow(), ConnectionState::Closed { .. })
        {
            return;
        }
        remote.outbox.flush();
        let last = LastWrite(Arc::clone(remote));
        if remote.outbox.level().bytes == 0 {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            // When the runtime ends before the task does, dropping the task writes what is left.
            runtime.spawn(async move {
                let outbox = &last.0.outbox;
                let _ = tokio::time::timeout(LAST_WRITE, poll_fn(|context| outbox.poll_empty(context))).await;
            });
        }
    }

    /// Ends the connection for good.
    fn end(&self, reason: &str) {
        self.outbox.close();
        self.pending.fail();
        self.queue.close();
        self.state.send_replace(ConnectionState::Closed { reason: reason.to_owned() });
        self.queued.notify_one();
        self.closed.notify_one();
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Reads until the connection ends; connects again if that is wanted.
    async fn drive(self: Arc<Self>, mut socket: Arc<Socket>, mut receiver: Receiver) {
        loop {
            let reason = self.receive(&socket, &mut receiver).await;
            self.outbox.close();
            self.pending.fail();
            let Some(reconnect) = self.options.reconnect.filter(|_| !self.is_closing()) else {
                self.end(&reason);
                return;
            };
            tracing::info!(client = %self.name, "connection lost: {reason}; connecting again");
            self.state.send_replace(ConnectionState::Disconnected { reason });
            let mut delay = reconnect.first_delay;
            loop {
                tokio::select! {
                    () = self.closed.notified() => return,
                    () = tokio::time::sleep(delay) => {}
                }
                if self.is_closing() {
                    self.end("closed by this client");
                    return;
                }
                let Builder { endpoint, limits, timeout, .. } = &self.options;
                match handshake::connect(endpoint, &self.name, *limits, *timeout, &self.pool).await {
                    Ok((new_socket, reader)) => {
                        socket = new_socket;
                        receiver = Receiver::new(reader);
                        break;
                    }
                    Err(error) => tracing::debug!(client = %self.name, "not connected again: {error}"),
                }
                delay = (delay * 2).min(reconnect.max_delay);
            }
            self.outbox.attach(Arc::clone(&socket), &self.restored_filters(), false);
            self.outbox.flush();
            self.state.send_replace(ConnectionState::Connected);
        }
    }

    /// Subscriptions and exclusions as frames, exclusions first: nothing that is excluded may slip through.
    fn restored_filters(&self) -> Vec<u8> {
        let memory = self.filters.lock();
        let mut frames = Vec::new();
        let lists = [(wire::Operation::Exclude, &memory.excluded), (wire::Operation::Subscribe, &memory.subscribed)];
        for (operation, filters) in lists {
            let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
            for topics in filters.chunks(RESTORED_TOPICS) {
                encode_topics_head(&mut frames, 0, (operation, QoS::No), topics.iter().copied());
            }
        }
        frames
    }

    /// Hands on what arrives until the connection ends; says why it did.
    async fn receive(&self, socket: &Socket, receiver: &mut Receiver) -> String {
        loop {
            if let Err(violation) = self.hand_on(receiver) {
                return format!("the broker violated the protocol: {violation}");
            }
            let mut readiness = match socket.readable().await {
                Ok(readiness) => readiness,
                Err(error) => return error.to_string(),
            };
            let mut turn = 0;
            loop {
                let chunk = match receiver.read(&mut readiness) {
                    Ok(chunk) => chunk,
                    Err(error) => return format!("the connection failed: {error}"),
                };
                match chunk {
                    Chunk::End => return "the broker closed the connection".to_owned(),
                    Chunk::Empty => break,
                    Chunk::Full(count) | Chunk::Last(count) => turn += count,
                }
                if let Err(violation) = self.hand_on(receiver) {
                    return format!("the broker violated the protocol: {violation}");
                }
                if matches!(chunk, Chunk::Last(_)) {
                    break;
                }
                if turn >= TURN {
                    turn = 0;
                    tokio::task::yield_now().await;
                }
            }
            receiver.release();
        }
    }

    fn hand_on(&self, receiver: &mut Receiver) -> Result<(), wire::Violation> {
        let decoded = receiver.decode();
        // Data before confirmations: who waits for its confirmation finds what came before it.
        self.queue.extend(&mut receiver.frames);
        self.pending.confirm(&mut receiver.codes);
        decoded
    }

    /// Flushes what callers leave behind, keeps the connection alive, gives up on late confirmations.
    async fn keep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.options.keep_alive);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.queued.notified() => self.outbox.flush(),
                _ = ticks.tick() => {
                    self.pending.expire(self.options.timeout);
                    if self.outbox.level().bytes == 0 {
                        let _ = self.outbox.offer(0, |batch| batch.inline().extend_from_slice(&CLIENT_PING));
                    }
                    self.outbox.flush();
                }
            }
            if matches!(*self.state.borrow(), ConnectionState::Closed { .. }) {
                return;
            }
        }
    }
}

/// Writes what is left and ends the connection when it is dropped.
struct LastWrite(Arc<Remote>);

impl Drop for LastWrite {
    fn drop(&mut self) {
        self.0.outbox.flush_blocking(LAST_WRITE);
        self.0.end("dropped by the application");
    }
}

fn append(batch: &mut Batch, content: &Content<'_>) {
    match content {
        Content::Owned(payload) if payload.len() > COPY_MAX => batch.push_body(Payload::body(payload)),
        content => batch.inline().extend_from_slice(content.as_slice()),
    }
}

/// What no broker of these limits would take is refused before it is sent.
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

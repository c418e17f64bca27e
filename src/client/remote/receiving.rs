//! What a connection brings, and the next connection when it is lost.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_net::link::{BusyPoll, Chunk, Socket};

use super::closing::LastWrite;
use super::{CLOSED, MIN_INTERVAL, Remote};
use crate::client::ConnectionState;
use crate::client::builder::{Options, Reconnect};
use crate::client::handshake;
use crate::client::receiver::Receiver;

/// Bytes after which the reader lets others have their turn.
const TURN: usize = 256 << 10;

impl Remote {
    /// Reads until the connection ends; connects again if that is wanted. When the runtime ends before, `last` sees to
    /// it that nobody waits for what never comes.
    #[cfg_attr(
        not(feature = "shm"),
        expect(unused_mut, unused_variables, reason = "only a lane leaves something in it")
    )]
    pub(super) async fn drive(self: Arc<Self>, mut socket: Arc<Socket>, mut receiver: Receiver, mut last: LastWrite) {
        let mut delay = Duration::ZERO;
        loop {
            let since = Instant::now();
            #[cfg(feature = "shm")]
            let reason = self.receive_all(&socket, &mut receiver, &mut last.side).await;
            #[cfg(not(feature = "shm"))]
            let reason = self.receive(&socket, &mut receiver).await;
            if self.is_closing() {
                return self.end(CLOSED);
            }
            let Some(reconnect) = self.options.reconnect else {
                return self.end(&reason);
            };
            if since.elapsed() >= reconnect.max_delay {
                // Only a connection that has lasted says that all is well.
                delay = Duration::ZERO;
            }
            tracing::info!(client = ?self.name, "connection lost: {reason}; connecting again");
            self.lose(ConnectionState::Disconnected { reason });
            let connected = tokio::select! {
                () = self.closed.notified() => return,
                connected = self.connect_again(reconnect, &mut delay) => connected,
            };
            socket = connected.0;
            receiver = self.receiver(connected.1);
            self.outbox.attach(Arc::clone(&socket), &self.first_frames(), false);
            if self.is_closing() {
                // It may have found nothing to close.
                return self.end(CLOSED);
            }
            self.outbox.flush();
            #[cfg(feature = "shm")]
            self.lane.set_off(self.options.first_lane_off());
            ConnectionState::change(&self.state, ConnectionState::Connected, || {});
        }
    }

    /// What a new connection begins with: policies before the subscriptions that they are for.
    fn first_frames(&self) -> Vec<u8> {
        #[cfg(feature = "rpc")]
        let mut frames = crate::client::slow_policy::restoring_frames(&self.queue);
        #[cfg(not(feature = "rpc"))]
        let mut frames = Vec::new();
        frames.extend(self.filters.frames());
        frames
    }

    /// Tries until it succeeds, each time after twice the delay.
    async fn connect_again(&self, reconnect: Reconnect, delay: &mut Duration) -> (Arc<Socket>, handshake::Reader) {
        loop {
            *delay = (*delay * 2).min(reconnect.max_delay).max(reconnect.first_delay).max(MIN_INTERVAL);
            tokio::time::sleep(*delay).await;
            let Options { endpoint, limits, timeout, .. } = &self.options;
            match handshake::connect(endpoint, &self.name, *limits, *timeout, &self.pool).await {
                Ok(connected) => return connected,
                Err(error) => tracing::debug!(client = ?self.name, "not connected again: {error}"),
            }
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
    pub(in crate::client) async fn receive_some(
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
    pub(in crate::client) async fn room_to_read(&self) {
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
    pub(in crate::client) fn deliver(&self, receiver: &mut Receiver) {
        let inbox = &mut receiver.inbox;
        if inbox.is_empty() {
            return;
        }
        let gap = inbox.end_read();
        let arrived = self.queue.extend(&mut inbox.frames, gap);
        self.pending.confirm(arrived, &mut inbox.codes);
    }
}

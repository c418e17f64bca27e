//! Options of a connection.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use busway_net::link::{BusyPoll, Endpoint, OutboxLimits};
use busway_net::wire::Limits;

use super::error::ConnectError;
use super::queue::ReceiveQueue;
use super::remote::Remote;
use super::{Client, Link};
use crate::default_socket::default_sockets;
#[cfg(feature = "shm")]
use crate::lane::LaneOff;
use crate::lane::ShmTrust;
use crate::names::ClientName;

/// The length field of a frame has 32 bits, and the names go along.
pub(crate) const MAX_PAYLOAD: usize = 2 << 30;

/// When to try again after a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// Before the first attempt (100 ms); doubled after each failure, and after connections that did not last ...
    pub first_delay: Duration,
    /// ... up to this (5 s). A connection that has lasted for so long begins anew.
    pub max_delay: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { first_delay: Duration::from_millis(100), max_delay: Duration::from_secs(5) }
    }
}

/// Options of a connection, from [`Client::builder`]; those of [`blocking::Client::builder`] are the same.
///
/// [`blocking::Client::builder`]: crate::blocking::Client::builder
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `connect`"]
pub struct Builder<C = Client> {
    name: String,
    options: Options,
    /// Of the default sockets, the first at which a broker answers, in place of the endpoint.
    is_default: bool,
    client: PhantomData<fn() -> C>,
}

/// What a connection keeps of its options.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) endpoint: Endpoint,
    pub(super) limits: Limits,
    pub(super) timeout: Duration,
    pub(super) keep_alive: Duration,
    pub(super) outbox: OutboxLimits,
    queue: OutboxLimits,
    pub(super) reconnect: Option<Reconnect>,
    pub(super) shm: bool,
    pub(super) shm_trust: ShmTrust,
    pub(super) busy_poll: Duration,
}

#[cfg(feature = "shm")]
impl Options {
    /// Why a client has no lane right after it has connected.
    pub(super) fn first_lane_off(&self) -> LaneOff {
        if self.shm && matches!(self.endpoint, Endpoint::Unix(_)) { LaneOff::Negotiating } else { LaneOff::NotAsked }
    }
}

impl<C> Builder<C> {
    pub(crate) fn new(endpoint: Endpoint, name: &str) -> Self {
        let options = Options {
            endpoint,
            limits: Limits::default(),
            timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(1),
            outbox: OutboxLimits::default(),
            queue: OutboxLimits::default(),
            reconnect: None,
            shm: true,
            shm_trust: ShmTrust::SameUser,
            busy_poll: BusyPoll::BUDGET,
        };
        Self { name: name.to_owned(), options, is_default: false, client: PhantomData }
    }

    /// To the first default socket at which a broker answers.
    pub(crate) fn to_default(name: &str) -> Self {
        Self { is_default: true, ..Self::new(Endpoint::Unix(PathBuf::new()), name) }
    }

    /// How long connecting, and each confirmation, may take (5 s).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// How often the broker is told that this client lives (1 s). Brokers drop clients that are silent for 1.25 times
    /// their own timeout.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.options.keep_alive = interval;
        self
    }

    /// Frames (8192) and bytes (64 MiB) that may wait to be sent; beyond, sending waits.
    pub fn send_queue(mut self, frames: usize, bytes: usize) -> Self {
        self.options.outbox = OutboxLimits { frames, bytes };
        self
    }

    /// Frames (8192) and bytes of payload (64 MiB; those in shared memory do not count) that may wait to be received;
    /// beyond, the newest are dropped and counted.
    pub fn receive_queue(mut self, frames: usize, bytes: usize) -> Self {
        self.options.queue = OutboxLimits { frames, bytes };
        self
    }

    /// The longest payload that is sent or received (256 MiB; at most 2 GiB). Sending a longer one is an error; when a
    /// longer one arrives, other than to be read in place, the connection ends. The broker has a limit of its own, and
    /// disconnects clients that send more.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.options.limits.max_payload = bytes.min(MAX_PAYLOAD);
        self
    }

    /// After a lost connection, connects again, registers under the same name and restores subscriptions, exclusions and
    /// policies ([`SlowPolicy`](crate::SlowPolicy)). It tries for ever, with the pauses of [`Reconnect`], also when the
    /// broker refuses the name. Off unless asked for.
    ///
    /// - The first connection is not tried again.
    /// - What was accepted and not yet written is lost; what waits for a confirmation fails.
    /// - Until there is a connection again, operations fail with [`SendError::Disconnected`](super::SendError::Disconnected).
    /// - [`Client::state`] reports the changes.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.options.reconnect = Some(reconnect);
        self
    }

    /// Asks a local broker for the shared-memory lane (on). A broker that knows nothing of it, or has none to give,
    /// is used over its socket, with the same results.
    pub fn shm(mut self, on: bool) -> Self {
        self.options.shm = on;
        self
    }

    /// Whose payloads are read in place ([`ShmTrust::SameUser`], as far as the broker allows it); others are copied.
    pub fn shm_trust(mut self, trust: ShmTrust) -> Self {
        self.options.shm_trust = trust;
        self
    }

    /// For how long this client looks for what the broker sends before it sleeps (100 us; zero: never). It looks only
    /// while frames come sooner for it, as answers do, or within a quarter of that time after each other, and for up to four
    /// times as long where waking a processor takes long: an answer then comes sooner by as much, and looking takes a part
    /// of a processor. Other tasks of the runtime go on meanwhile. On a single processor it never looks.
    pub fn busy_poll(mut self, budget: Duration) -> Self {
        self.options.busy_poll = budget;
        self
    }

    pub(crate) async fn connect_client(self) -> Result<Client, ConnectError> {
        let Self { name, mut options, is_default, .. } = self;
        let name = ClientName::parse(&name, &options.limits)?;
        if !is_default {
            return Self::connect_to(options, name).await;
        }
        let mut tried = Vec::new();
        for path in default_sockets() {
            options.endpoint = path.into();
            match Self::connect_to(options.clone(), name.clone()).await {
                Err(ConnectError::Unreachable { endpoint, source }) => tried.push((endpoint, source)),
                connected => return connected,
            }
        }
        Err(ConnectError::NoBroker { tried })
    }

    async fn connect_to(options: Options, name: ClientName) -> Result<Client, ConnectError> {
        let queue = ReceiveQueue::new(options.queue.frames, options.queue.bytes);
        let remote = Remote::connect(options, name.clone(), queue.clone()).await?;
        Ok(Client::new(name, queue, Link::Remote(remote)))
    }
}

impl Builder {
    /// Connects and registers.
    ///
    /// # Errors
    /// When the broker cannot be reached, is none, or refuses the name.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        self.connect_client().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_payload_outgrows_the_length_field() {
        let builder = Client::builder("/run/bus.sock", "anna").max_payload(usize::MAX);
        assert_eq!(builder.options.limits.max_payload, MAX_PAYLOAD);
    }
}

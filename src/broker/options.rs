//! Options of a broker.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use busway_net::link::{BindError, Endpoint, Listener, OutboxLimits};
use busway_net::wire::Limits;

use super::Broker;
use super::access::AccessRules;
use super::registry::RegistryLimits;
use super::slow_receivers::SlowReceivers;
use crate::client::MAX_PAYLOAD;
use crate::lane::{BrokerOptions, ShmTrust};
use crate::policy::SlowPolicy;

/// Options of a broker, from [`Broker::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `start`"]
pub struct Builder {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) fifos: Vec<PathBuf>,
    pub(super) inherited: Vec<Inherited>,
    pub(super) socket_mode: u32,
    pub(super) timeout: Duration,
    pub(super) outbox: OutboxLimits,
    pub(super) limits: Limits,
    pub(super) registry: RegistryLimits,
    pub(super) lane: BrokerOptions,
    pub(super) slow_receivers: SlowReceivers,
    pub(super) access: Option<AccessRules>,
}

/// A socket that somebody else has bound.
#[derive(Clone, Debug)]
pub(super) enum Inherited {
    Unix(Arc<UnixListener>),
    Tcp(Arc<TcpListener>),
}

impl Inherited {
    pub(super) fn adopt(&self) -> Result<Listener, BindError> {
        let system = |source| BindError::System { at: "a socket that was passed".into(), source };
        match self {
            Self::Unix(listener) => Listener::adopt_unix(listener.try_clone().map_err(system)?),
            Self::Tcp(listener) => Listener::adopt_tcp(listener.try_clone().map_err(system)?),
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            fifos: Vec::new(),
            inherited: Vec::new(),
            socket_mode: 0o660,
            timeout: Duration::from_secs(5),
            outbox: OutboxLimits::default(),
            limits: Limits::default(),
            registry: RegistryLimits { clients: 10_000, subscriptions: 65_536, force_register: false },
            lane: BrokerOptions::default(),
            slow_receivers: SlowReceivers::default(),
            access: None,
        }
    }
}

impl Builder {
    /// Listens on a UNIX socket.
    pub fn unix(self, path: impl Into<PathBuf>) -> Self {
        self.endpoint(Endpoint::Unix(path.into()))
    }

    /// Listens on a TCP address, `host:port` or `tcp://host:port`.
    pub fn tcp(self, address: impl Into<String>) -> Self {
        let address = address.into();
        match Endpoint::from(&address) {
            endpoint @ Endpoint::Tcp(_) => self.endpoint(endpoint),
            Endpoint::Unix(_) => self.endpoint(Endpoint::Tcp(address)),
        }
    }

    /// Listens on an endpoint.
    pub fn endpoint(mut self, endpoint: impl Into<Endpoint>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// Listens on a UNIX socket that is bound already; its path stays at the end.
    pub fn unix_listener(mut self, listener: UnixListener) -> Self {
        self.inherited.push(Inherited::Unix(Arc::new(listener)));
        self
    }

    /// Listens on a TCP socket that is bound already.
    pub fn tcp_listener(mut self, listener: TcpListener) -> Self {
        self.inherited.push(Inherited::Tcp(Arc::new(listener)));
        self
    }

    /// Sends what shell scripts write to a FIFO, one command a line, in the name of `.broker`: `TARGET TEXT`,
    /// `=TOPIC TEXT`, `TARGET .NOTIFICATION` or `TARGET :METHOD KEY=VALUE...`.
    ///
    /// A FIFO that is made has mode 0620 and is removed at the end; one that is there is used as it is. Whoever may write
    /// to it may send to everybody.
    pub fn fifo(mut self, path: impl Into<PathBuf>) -> Self {
        self.fifos.push(path.into());
        self
    }

    /// The mode of UNIX sockets (0660).
    pub fn socket_mode(mut self, mode: u32) -> Self {
        self.socket_mode = mode;
        self
    }

    /// How long a handshake may take, and a frame may stand still (5 s). A client is pinged every half of it and
    /// dropped when nothing came from it for 1.25 times as long.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Frames (8192) and bytes (64 MiB) that may wait for one client, without the payload that goes next.
    pub fn queue(mut self, frames: usize, bytes: usize) -> Self {
        self.outbox = OutboxLimits { frames, bytes };
        self
    }

    /// The longest payload (256 MiB; at most 2 GiB). A client that sends a longer one is disconnected; clients have a
    /// [limit of their own](crate::client::Builder::max_payload).
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.limits.max_payload = bytes.min(MAX_PAYLOAD);
        self
    }

    /// Clients at once (10,000).
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.registry.clients = clients;
        self
    }

    /// Subscriptions and exclusions of one client, taken together (65,536), which may have four times as many levels in all.
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.registry.subscriptions = subscriptions;
        self
    }

    /// A new client takes over the name of an older one, which is dropped (off: the new one is refused). Secondary clients,
    /// and clients in the broker's process, are not replaced.
    pub fn force_register(mut self, force: bool) -> Self {
        self.registry.force_register = force;
        self
    }

    /// Offers local clients that know it the shared-memory lane (on). Without it everything goes over sockets.
    pub fn shm(mut self, on: bool) -> Self {
        self.lane.is_on = on;
        self
    }

    /// Whose payloads are read in place ([`ShmTrust::SameUser`]); others are copied.
    pub fn shm_trust(mut self, trust: ShmTrust) -> Self {
        self.lane.trust = trust;
        self
    }

    /// Bytes of shared memory for all clients together (a quarter of the machine's memory, or of what the control groups
    /// of the process allow). When they are used up, payloads are copied and new clients stay on their sockets.
    pub fn shm_bytes(mut self, bytes: u64) -> Self {
        self.lane.bytes = Some(bytes);
        self
    }

    /// Bytes of shared memory for the payloads of one client (1 GiB).
    pub fn shm_client_bytes(mut self, bytes: u64) -> Self {
        self.lane.arena_bytes = bytes;
        self
    }

    /// For how long a connection on the lane looks for the next frame before it sleeps (100 us; zero: never). It looks
    /// only while frames come sooner for it, as answers do, or within a quarter of that time after each other, and for up
    /// to four times as long where waking a processor takes long: an answer then comes sooner by as much, and looking takes
    /// a part of a processor. On a single processor it never looks.
    pub fn busy_poll(mut self, budget: Duration) -> Self {
        self.lane.busy_poll = budget;
        self
    }

    /// What happens to frames for clients in other processes that are too slow for them ([`SlowPolicy::Cut`]); a client
    /// may ask for something else.
    pub fn slow_policy(mut self, policy: SlowPolicy) -> Self {
        self.slow_receivers.default = policy;
        self
    }

    /// The same for the clients whose primary names match a mask, in-process ones included. The first mask that matches
    /// decides.
    pub fn slow_policy_of(mut self, mask: impl Into<String>, policy: SlowPolicy) -> Self {
        self.slow_receivers.by_name.push((mask.into(), policy));
        self
    }

    /// The longest [`SlowPolicy::Wait`] that a client may ask for (1 s): for so long it can hold up whoever sends to it,
    /// again whenever it has taken something, however little. Zero refuses all.
    pub fn max_wait(mut self, bound: Duration) -> Self {
        self.slow_receivers.max_wait = bound;
        self
    }

    /// Who may connect, and do what (anybody, and everything). Clients in this process are not restricted.
    pub fn access(mut self, rules: AccessRules) -> Self {
        self.access = Some(rules);
        self
    }

    /// Starts the broker on the current runtime.
    ///
    /// # Errors
    /// When it cannot listen somewhere; nothing is left behind then.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[expect(clippy::unused_async, reason = "later versions wait here; callers need not change then")]
    pub async fn start(self) -> Result<Broker, BindError> {
        Broker::start(&self)
    }
}

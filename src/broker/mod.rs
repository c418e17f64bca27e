//! The broker, to embed or to run as `buswayd`.

pub(crate) mod access;
pub(crate) mod cache;
mod client_list;
mod connection;
pub(crate) mod control;
mod fifo;
mod filters;
mod handshake;
mod keeper;
#[cfg(feature = "shm")]
mod lane_connection;
mod log_quota;
mod masks;
mod membership;
mod negotiation;
mod options;
mod pace;
mod patience;
pub(crate) mod peer;
mod piping;
mod policy_request;
pub(crate) mod registry;
pub(crate) mod router;
mod run;
pub(crate) mod slow_receivers;
pub(crate) mod touched;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway_net::Pool;
use busway_net::link::{Endpoint, Fifo, Listener, OutboxLimits, PipeShelf};
use busway_net::wire::{Limits, NameFault, ResultCode};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

pub use access::{AccessFault, AccessRules, ClientAccess, Network, NetworkFault, PatternFault, Permission};
pub use busway_net::link::BindError;
pub use client_list::{ClientInfo, ClientList};
pub use control::{BrokerInfo, BrokerStats};
pub use options::Builder;

use crate::client::{Client, local};
#[cfg(feature = "shm")]
use crate::lane::LaneHost;
use crate::lane::ShmTrust;
use crate::names::ClientName;
use log_quota::LogQuota;
use router::Router;
use touched::Touched;

/// How long an ending broker waits for its clients to take what waits for them.
const LAST_WRITE: Duration = Duration::from_secs(1);
/// How long accepting pauses when the system is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A running broker. It ends with [`shut_down`](Broker::shut_down), or at once when it is dropped.
///
/// # Examples
/// ```no_run
/// # async fn program() -> Result<(), Box<dyn std::error::Error>> {
/// use busway::broker::Broker;
///
/// let broker = Broker::builder().unix("/run/program/bus.sock").tcp("127.0.0.1:9924").start().await?;
/// let client = broker.client("program")?; // needs no socket
/// client.subscribe("jobs/#").await?;
/// broker.shut_down().await;
/// # Ok(())
/// # }
/// ```
pub struct Broker {
    shared: Arc<Shared>,
    endpoints: Vec<Endpoint>,
    trust: ShmTrust,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) router: Arc<Router>,
    pub(crate) timeout: Duration,
    pub(crate) outbox_limits: OutboxLimits,
    /// Frames of one client after which its own outbox is looked at.
    pub(crate) look_interval: usize,
    /// How often the keeper has looked after all clients.
    pub(crate) looks: AtomicU64,
    /// Of complaints about handshakes. Of registered clients each is named.
    handshakes: Mutex<LogQuota>,
    /// For payloads between two sockets.
    pub(crate) pipes: PipeShelf,
    /// Where lanes begin.
    #[cfg(feature = "shm")]
    pub(crate) lane_host: Arc<LaneHost>,
}

/// Why an in-process client was not registered.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name is not one.
    #[error("the client name is not valid: {0}")]
    Name(#[from] NameFault),
    /// The broker refused.
    #[error("the broker refused the client name {name:?}: {code}")]
    Refused {
        /// The name.
        name: String,
        /// Why.
        code: ResultCode,
    },
}

busway_net::debug_as_display!(RegisterError);

impl Broker {
    /// A broker with options; without any endpoint it serves in-process clients alone.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn start(options: &Builder) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for endpoint in &options.endpoints {
            listeners.push(Listener::bind(endpoint, options.socket_mode)?);
        }
        for socket in &options.inherited {
            listeners.push(socket.adopt()?);
        }
        let fifos = options.fifos.iter().map(|path| Fifo::open(path)).collect::<Result<Vec<_>, _>>()?;
        let router =
            Arc::new(Router::new(options.limits, options.registry, options.slow_receivers.clone(), Pool::default()));
        router.set_access(options.access.clone(), &mut Touched::new(router.next_id()));
        let OutboxLimits { frames, .. } = options.outbox;
        let shared = Arc::new(Shared {
            router,
            timeout: options.timeout,
            outbox_limits: options.outbox,
            look_interval: (frames / 8).clamp(1, 64),
            looks: AtomicU64::new(0),
            handshakes: Mutex::default(),
            pipes: PipeShelf::new(),
            #[cfg(feature = "shm")]
            lane_host: LaneHost::new(options.lane),
        });
        let endpoints = listeners.iter().map(Listener::local_endpoint).collect();
        let mut tasks = vec![tokio::spawn(keeper::keep(Arc::clone(&shared)))];
        #[cfg(feature = "shm")]
        tasks.push(tokio::spawn(Arc::clone(&shared.lane_host).reap()));
        for listener in listeners {
            tasks.push(tokio::spawn(accept(Arc::clone(&shared), listener)));
        }
        for fifo in fifos {
            tasks.push(tokio::spawn(fifo::serve(Arc::clone(&shared.router), fifo)));
        }
        Ok(Self { shared, endpoints, trust: options.lane.trust, tasks: Mutex::new(tasks) })
    }

    /// Where it listens, in the order of the builder, sockets that were bound already last; a TCP port of 0 has become a
    /// real one.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// An in-process client: the same as a remote one, without a socket.
    ///
    /// # Errors
    /// When the name is not valid or is taken (with [`Builder::force_register`] it is taken over from primary clients in
    /// other processes, but not from those in this one), when there are as many clients as there may be, for a secondary
    /// without its primary, and when the broker has ended.
    pub fn client(&self, name: &str) -> Result<Client, RegisterError> {
        let parsed = ClientName::parse(name, &self.shared.router.limits)?;
        let OutboxLimits { frames, bytes } = self.shared.outbox_limits;
        local::register(&self.shared.router, &parsed, (frames, bytes), self.trust)
            .map_err(|code| RegisterError::Refused { name: name.to_owned(), code })
    }

    /// Counters.
    pub fn stats(&self) -> BrokerStats {
        control::stats(&self.shared.router)
    }

    /// The registered primary clients, by name; `.broker` is one of them.
    pub fn clients(&self) -> ClientList {
        client_list::clients(&self.shared.router)
    }

    /// Puts access rules in force, or lifts them all. Clients that may no longer connect are cut, subscriptions that are no
    /// longer allowed are taken away without a word to their client, and later rules do not bring them back; everybody else
    /// notices nothing.
    pub fn set_access(&self, rules: impl Into<Option<AccessRules>>) {
        let router = &self.shared.router;
        router.set_access(rules.into(), &mut Touched::new(router.next_id()));
    }

    /// How often the broker has looked after its clients (pings, deadlines): it goes up eight times per timeout for as
    /// long as the broker works. For watchdogs.
    pub fn looks(&self) -> u64 {
        self.shared.looks.load(Ordering::Relaxed)
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.shared.router.limits
    }

    /// Announces the end, lets clients take what waits for them (for at most a second), closes every connection and
    /// removes the sockets.
    ///
    /// # Panics
    /// Outside of a tokio runtime, when something waits for a client.
    pub async fn shut_down(self) {
        self.end().await;
    }

    /// As [`shut_down`](Broker::shut_down).
    pub(crate) async fn end(&self) {
        let router = &self.shared.router;
        let mut touched = Touched::new(router.next_id());
        control::announce(router, control::WARN_TOPIC, "shutdown", None, &mut touched);
        router.finish(&mut touched);
        let deadline = tokio::time::Instant::now() + LAST_WRITE;
        while tokio::time::Instant::now() < deadline && self.is_writing() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.end_tasks().await;
    }

    /// Stops accepting and removes the sockets; ready when that is done.
    pub(crate) async fn end_tasks(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        keeper::complain_of_the_rest(&self.shared);
    }

    fn is_writing(&self) -> bool {
        self.shared.router.with_registry(|registry| {
            registry.peers().any(|(peer, _)| peer.transport != peer::Transport::Internal && peer.sink.level().bytes > 0)
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.shared.router.is_of_parent() {
            return;
        }
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.shared.router.end_all();
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Broker").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

async fn accept(shared: Arc<Shared>, listener: Listener) {
    let place: Arc<str> = listener.local_endpoint().to_string().into();
    let mut is_starved = false;
    loop {
        match listener.accept().await {
            Ok((socket, origin)) => {
                is_starved = false;
                tokio::spawn(connection::serve(Arc::clone(&shared), socket, origin, Arc::clone(&place)));
                // As long as somebody connects, others have their turn.
                tokio::task::coop::consume_budget().await;
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: say so once, and give the clients time to leave.
                if !is_starved {
                    tracing::error!("{place}: cannot accept connections: {error}");
                }
                is_starved = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection that ended before it was accepted.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

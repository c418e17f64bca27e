//! The application's end of a connection.

#[cfg(feature = "rpc")]
pub(crate) mod announcements;
mod block_queue;
mod builder;
mod confirmation;
mod error;
mod filter_memory;
mod frame_batch;
mod frame_store;
mod handshake;
mod into_filters;
#[cfg(feature = "shm")]
mod lane_link;
#[cfg(feature = "broker")]
pub(crate) mod local;
mod name_cache;
mod operation;
mod pending;
#[cfg(feature = "rpc")]
pub(crate) mod questions;
pub(crate) mod queue;
mod queue_rules;
pub(crate) mod queue_state;
mod receiver;
mod remote;
#[cfg(feature = "rpc")]
mod slow_policy;
mod state;
mod transport;
mod waiting_room;

use std::fmt;
use std::sync::Arc;

use busway_net::link::Endpoint;
use busway_net::wire;
use tokio::sync::watch;

#[cfg(feature = "broker")]
pub(crate) use builder::MAX_PAYLOAD;
pub use builder::{Builder, Reconnect};
pub use confirmation::Confirmation;
pub use error::{ConnectError, SendError, TryError, TryErrorKind};
pub use into_filters::IntoFilters;
pub use operation::{Filters, Operation};
pub use state::ConnectionState;
pub use transport::Transport;

use crate::frame::Frame;
use crate::loan::Loan;
use crate::names::ClientName;
use crate::payload::Content;
#[cfg(feature = "rpc")]
use crate::rpc::Succession;
use queue::ReceiveQueue;
use remote::Remote;
use waiting_room::WaitingRoom;

/// A connection to a broker.
///
/// Clones share the connection and one receive queue (a frame goes to one of them); every method takes `&self`.
/// When the last clone is dropped, what was accepted is still written, then the connection ends.
///
/// # Examples
/// ```no_run
/// # async fn light() -> Result<(), Box<dyn std::error::Error>> {
/// use busway::{Client, QoS};
///
/// let client = Client::connect_default("light").await?;
/// client.subscribe(["light/+/set", "all/#"]).await?;
/// client.publish("light/kitchen", "on").await?; // accepted for sending
/// client.send("planner", "ready").qos(QoS::Processed).await?; // in the planner's queue, or an error
/// while let Some(frame) = client.recv().await {
///     println!("{:?} from {}: {} bytes", frame.topic(), frame.sender(), frame.payload().len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    name: ClientName,
    queue: ReceiveQueue,
    link: Link,
    waiting_room: WaitingRoom,
    #[cfg(feature = "rpc")]
    announcements: announcements::Announcements,
    #[cfg(feature = "rpc")]
    succession: Succession,
}

enum Link {
    Remote(Arc<Remote>),
    #[cfg(feature = "broker")]
    Local(Box<local::Local>),
}

impl Client {
    /// Connects and registers under a name, with the defaults of [`Client::builder`].
    ///
    /// # Errors
    /// When the broker cannot be reached, is none, or refuses the name.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(endpoint: impl Into<Endpoint>, name: &str) -> Result<Self, ConnectError> {
        Self::builder(endpoint, name).connect().await
    }

    /// As [`connect`](Client::connect), to the broker of this user or of the system: the first of the
    /// [default sockets](crate::default_sockets) at which one answers, where `busway` looks, too.
    ///
    /// # Errors
    /// As those of [`connect`](Client::connect); [`ConnectError::NoBroker`] says where it has looked.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect_default(name: &str) -> Result<Self, ConnectError> {
        Self::default_builder(name).connect().await
    }

    /// As [`connect_default`](Client::connect_default), with options.
    pub fn default_builder(name: &str) -> Builder {
        Builder::to_default(name)
    }

    /// A connection with options.
    pub fn builder(endpoint: impl Into<Endpoint>, name: &str) -> Builder {
        Builder::new(endpoint.into(), name)
    }

    fn new(name: ClientName, queue: ReceiveQueue, link: Link) -> Self {
        let inner = Inner {
            name,
            queue,
            link,
            waiting_room: WaitingRoom::default(),
            #[cfg(feature = "rpc")]
            announcements: announcements::Announcements::default(),
            #[cfg(feature = "rpc")]
            succession: Succession::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The name under which it is registered.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// To the one client of that full name.
    ///
    /// Without a QoS the call returns when the frame is accepted for sending. Confirmed, it returns when the broker
    /// has given it to the receiver's queue.
    ///
    /// What is accepted without a QoS is written together with what follows, as soon as the caller waits for anything. In
    /// a runtime of one thread a caller that does not wait (that reads from a device, or computes) writes now and then
    /// with its next operation; before it turns to something long it calls [`flush`](Client::flush).
    pub fn send<'a>(&'a self, target: &'a str, payload: impl Into<Content<'a>>) -> Operation<'a> {
        Operation::new(self, wire::Operation::Message, (target, None), payload.into())
    }

    /// To every client whose name matches a mask: names split on `.`, `?` is one part, `*` all that follow. Written as
    /// [`send`](Client::send) says.
    ///
    /// Confirmed, it returns when the broker has handed the frame to everybody whom it is for, also if that is nobody or
    /// somebody had no room for it.
    pub fn broadcast<'a>(&'a self, mask: &'a str, payload: impl Into<Content<'a>>) -> Operation<'a> {
        Operation::new(self, wire::Operation::Broadcast, (mask, None), payload.into())
    }

    /// To every client that has subscribed to a topic; written as [`send`](Client::send) says.
    ///
    /// Confirmed, it returns when the broker has handed the frame to everybody whom it is for, also if that is nobody or
    /// somebody had no room for it.
    pub fn publish<'a>(&'a self, topic: &'a str, payload: impl Into<Content<'a>>) -> Operation<'a> {
        Operation::new(self, wire::Operation::Publish, (topic, None), payload.into())
    }

    /// As [`publish`](Client::publish), but only to the primary client `receiver` and its secondaries, if they have
    /// subscribed. Confirmed, it returns also if none of them has, or one had no room for it.
    pub fn publish_for<'a>(
        &'a self,
        topic: &'a str,
        receiver: &'a str,
        payload: impl Into<Content<'a>>,
    ) -> Operation<'a> {
        Operation::new(self, wire::Operation::PublishFor, (topic, Some(receiver)), payload.into())
    }

    /// Memory to write a payload of `length` bytes into; then publish or send it like any payload.
    ///
    /// On the lane, and for more than 512 bytes, it is shared memory, which receivers of the same user read in place; those
    /// of other users get copies, unless [`ShmTrust`](crate::ShmTrust) says otherwise. Where there is no lane, or no room in
    /// shared memory at the moment, it is heap memory: this waits for no room. Sending it may then wait for a moment, if it
    /// is large and the broker was asked for room; so may sending large bytes that were no loan. Memory that was used before
    /// holds this client's own older bytes, see [`loan_zeroed`](Client::loan_zeroed). A stream of payloads of 256 KiB and
    /// more whose receivers are over 4 MiB behind leaves the processor to them (`sched_yield`) before the next is written;
    /// one that writes its payloads and whose receivers are over 8 MiB behind sleeps instead, for 50 to about 150
    /// microseconds.
    pub fn loan(&self, length: usize) -> Loan {
        #[cfg(feature = "shm")]
        if let Link::Remote(remote) = &self.inner.link
            && let Some(loan) = remote.lane.current().and_then(|lane| lane.loan(length))
        {
            return Loan::in_arena(loan);
        }
        Loan::on_heap(length)
    }

    /// As [`loan`](Client::loan), with every byte zero. Clearing costs as much as writing.
    pub fn loan_zeroed(&self, length: usize) -> Loan {
        let mut loan = self.loan(length);
        if loan.is_in_place() {
            loan.fill(0);
        }
        loan
    }

    /// Subscribes to topics: they split on `/`, `+` is one level, `#` all that follow. Takes one filter, or several: an
    /// array or `Vec` of `&str`, or a reference to an array, slice or `Vec` of any text. Confirmed unless
    /// [`Filters::qos`] says otherwise.
    ///
    /// Every filter is taken, as brokers always have: what follows a `#` means nothing (`a/#/b` is `a/#`), and within a
    /// level `+` and `#` are letters like others (`a+/b` matches the topic `a+/b` alone).
    pub fn subscribe<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters::new(self, wire::Operation::Subscribe, filters.into_filters())
    }

    /// Takes subscriptions back.
    pub fn unsubscribe<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters::new(self, wire::Operation::Unsubscribe, filters.into_filters())
    }

    /// Keeps matching topics away from this client, whatever it subscribes to.
    pub fn exclude<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters::new(self, wire::Operation::Exclude, filters.into_filters())
    }

    /// Takes exclusions back.
    pub fn unexclude<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters::new(self, wire::Operation::Unexclude, filters.into_filters())
    }

    /// The next frame; `None` when the connection has ended (for good) and all frames are taken.
    ///
    /// A receive queue that is full drops the newest frames, unless a [`SlowPolicy`](crate::SlowPolicy) says otherwise;
    /// [`Frame::lost_before`] tells how many are missing.
    ///
    /// It can be dropped at any time, as in `select!`, without losing a frame.
    // Not async, which would move each frame once more.
    pub fn recv(&self) -> impl Future<Output = Option<Frame>> + Send + '_ {
        self.inner.queue.recv()
    }

    /// The next frame, if it is there already.
    pub fn try_recv(&self) -> Option<Frame> {
        self.inner.queue.try_recv()
    }

    /// How many frames for this client were dropped because it was too slow, ever: by its receive queue, or, if it has a
    /// [`SlowPolicy`](crate::SlowPolicy), by the broker.
    pub fn lost_frames(&self) -> u64 {
        self.inner.queue.lost()
    }

    /// Whether it is connected at this moment.
    pub fn is_connected(&self) -> bool {
        *self.state().borrow() == ConnectionState::Connected
    }

    /// The state of the connection, to look at or to wait for changes of.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        match &self.inner.link {
            Link::Remote(remote) => remote.state(),
            #[cfg(feature = "broker")]
            Link::Local(local) => local.state(),
        }
    }

    /// Waits until everything that was accepted before is handed to the system.
    ///
    /// # Errors
    /// When the connection ends before that. What was lost with an earlier one only [`state`](Client::state) tells.
    pub async fn flush(&self) -> Result<(), SendError> {
        match &self.inner.link {
            Link::Remote(remote) => remote.flush(&self.inner.waiting_room).await,
            #[cfg(feature = "broker")]
            Link::Local(local) => local.flush(),
        }
    }

    /// Writes what was accepted and ends the connection, for all clones. Frames that have arrived can still be
    /// received.
    ///
    /// It takes [`Builder::timeout`] at most; what the broker has not taken by then is lost. [`flush`](Client::flush)
    /// before it tells whether everything was written.
    pub async fn close(&self) {
        match &self.inner.link {
            Link::Remote(remote) => remote.close().await,
            #[cfg(feature = "broker")]
            Link::Local(local) => local.close(),
        }
        self.inner.queue.close();
    }
}

/// For the blocking client.
impl Client {
    /// As the drop of the last clone, but waits until what was accepted is written and the broker has read it.
    pub(crate) async fn leave(&self) {
        match &self.inner.link {
            Link::Remote(remote) => remote.leave().await,
            #[cfg(feature = "broker")]
            Link::Local(local) => local.close(),
        }
        self.inner.queue.close();
    }
}

/// For the RPC layer.
#[cfg(feature = "rpc")]
impl Client {
    /// The frames that have arrived, and how many there were.
    pub(crate) fn queue(&self) -> &ReceiveQueue {
        &self.inner.queue
    }

    /// Who listens to the broker's announcements.
    pub(crate) fn announcements(&self) -> &announcements::Announcements {
        &self.inner.announcements
    }

    /// The RPC layers that it has had.
    pub(crate) fn succession(&self) -> &Succession {
        &self.inner.succession
    }

    /// A change of subscriptions that is none of the application's.
    pub(crate) fn change_quietly(&self, operation: wire::Operation, filter: &'static str) -> Filters<'_> {
        Filters::quiet(self, operation, filter)
    }

    /// The next connection does not begin with this subscription.
    #[cfg(feature = "rpc")]
    pub(crate) fn forget_subscription(&self, filter: &str) {
        match &self.inner.link {
            Link::Remote(remote) => remote.forget_subscription(filter),
            #[cfg(feature = "broker")]
            Link::Local(_) => {}
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        match &self.link {
            Link::Remote(remote) => Remote::abandon(remote),
            #[cfg(feature = "broker")]
            Link::Local(local) => local.close(),
        }
        self.queue.close();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

//! The client, for threads.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use busway_net::link::Endpoint;

use super::frames::{Frames, RecvTimeoutError, StateChanges};
use super::operation::{Filters, Operation};
use super::runtime::{self, Runtime};
use crate::client::{self, Builder, ConnectError, ConnectionState, IntoFilters, SendError, Transport};
use crate::frame::Frame;
use crate::lane::LaneOff;
use crate::loan::Loan;
use crate::payload::Content;
#[cfg(feature = "rpc")]
use crate::policy::SlowPolicy;

/// Of the last [`Stake`] and the client that has it.
const ITS_OWN: usize = 2;
/// How long the application waits for what was accepted to be written, when handlers keep the connection.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// A connection to a broker.
///
/// Clones share the connection and one receive queue (a frame goes to one of them); every method takes `&self`, from
/// any thread. Dropping the last clone waits until what was accepted is written and the broker has read it, and ends
/// the connection.
///
/// # Examples
/// ```no_run
/// # fn light() -> Result<(), Box<dyn std::error::Error>> {
/// use busway::QoS;
/// use busway::blocking::Client;
///
/// let client = Client::connect_default("light")?;
/// client.subscribe("light/+/set").wait()?;
/// client.send("planner", "ready").qos(QoS::Processed).wait()?;
/// for frame in &client {
///     println!("{:?} from {}: {} bytes", frame.topic(), frame.sender(), frame.payload().len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    /// None of those that handlers are lent.
    _stake: Option<Arc<Stake>>,
    owner: Arc<Owner>,
}

/// What the application has of it. Handlers that run may keep the connection longer, and perhaps the program ends before.
struct Stake(Arc<Owner>);

/// What all clones have in common.
pub(super) struct Owner {
    client: client::Client,
    runtime: &'static Runtime,
}

impl Client {
    /// Connects and registers under a name, with the defaults of [`Client::builder`].
    ///
    /// # Errors
    /// When the broker cannot be reached, is none, or refuses the name.
    pub fn connect(endpoint: impl Into<Endpoint>, name: &str) -> Result<Self, ConnectError> {
        Self::builder(endpoint, name).connect()
    }

    /// As [`Client::connect_default`](client::Client::connect_default).
    ///
    /// # Errors
    /// As those of [`connect`](Client::connect); [`ConnectError::NoBroker`] says where it has looked.
    pub fn connect_default(name: &str) -> Result<Self, ConnectError> {
        Self::default_builder(name).connect()
    }

    /// As [`connect_default`](Client::connect_default), with options.
    pub fn default_builder(name: &str) -> Builder<Self> {
        Builder::to_default(name)
    }

    /// A connection with options.
    pub fn builder(endpoint: impl Into<Endpoint>, name: &str) -> Builder<Self> {
        Builder::new(endpoint.into(), name)
    }

    pub(super) fn new(client: client::Client, runtime: &'static Runtime) -> Self {
        let owner = Arc::new(Owner { client, runtime });
        Self { _stake: Some(Arc::new(Stake(Arc::clone(&owner)))), owner }
    }

    /// The name under which it is registered.
    pub fn name(&self) -> &str {
        self.owner.client.name()
    }

    /// To the one client of that full name.
    ///
    /// Without a QoS it is done when the frame is accepted for sending; confirmed, when the broker has given it to the
    /// receiver's queue.
    pub fn send<'a>(&'a self, target: &'a str, payload: impl Into<Content<'a>>) -> Operation<'a> {
        Operation::new(self.runtime(), self.owner.client.send(target, payload))
    }

    /// To every client whose name matches a mask: names split on `.`, `?` is one part, `*` all that follow.
    ///
    /// Confirmed, it is done when the broker has handed the frame to everybody whom it is for, also if that is nobody or
    /// somebody had no room for it.
    pub fn broadcast<'a>(&'a self, mask: &'a str, payload: impl Into<Content<'a>>) -> Operation<'a> {
        Operation::new(self.runtime(), self.owner.client.broadcast(mask, payload))
    }

    /// To every client that has subscribed to a topic.
    ///
    /// Confirmed, it is done when the broker has handed the frame to everybody whom it is for, also if that is nobody or
    /// somebody had no room for it.
    pub fn publish<'a>(&'a self, topic: &'a str, payload: impl Into<Content<'a>>) -> Operation<'a> {
        Operation::new(self.runtime(), self.owner.client.publish(topic, payload))
    }

    /// As [`publish`](Client::publish), but only to the primary client `receiver` and its secondaries, if they have
    /// subscribed. Confirmed, it is done also if none of them has, or one had no room for it.
    pub fn publish_for<'a>(
        &'a self,
        topic: &'a str,
        receiver: &'a str,
        payload: impl Into<Content<'a>>,
    ) -> Operation<'a> {
        Operation::new(self.runtime(), self.owner.client.publish_for(topic, receiver, payload))
    }

    /// Memory to write a payload into, see [`busway::Client::loan`](client::Client::loan).
    pub fn loan(&self, length: usize) -> Loan {
        self.owner.client.loan(length)
    }

    /// As [`loan`](Client::loan), with every byte zero.
    pub fn loan_zeroed(&self, length: usize) -> Loan {
        self.owner.client.loan_zeroed(length)
    }

    /// How this client is connected at this moment. A local client begins on its socket and moves to the lane as soon
    /// as that is negotiated, if the broker has one for it: the first frames after connecting go by the socket.
    pub fn transport(&self) -> Transport {
        self.owner.client.transport()
    }

    /// As [`Client::lane_off_reason`](client::Client::lane_off_reason).
    pub fn lane_off_reason(&self) -> Option<LaneOff> {
        self.owner.client.lane_off_reason()
    }

    /// As [`Client::wait_for_lane`](client::Client::wait_for_lane).
    ///
    /// # Errors
    /// At once why there will be no lane; when the time is over, why there is none yet.
    pub fn wait_for_lane(&self, timeout: Duration) -> Result<(), LaneOff> {
        self.runtime().run(self.owner.client.wait_for_lane(timeout)).unwrap_or(Err(LaneOff::Disconnected))
    }

    /// Subscribes to topics, as [`Client::subscribe`](client::Client::subscribe). Confirmed unless [`Filters::qos`] says
    /// otherwise.
    pub fn subscribe<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters::new(self.runtime(), self.owner.client.subscribe(filters))
    }

    /// Takes subscriptions back.
    pub fn unsubscribe<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters::new(self.runtime(), self.owner.client.unsubscribe(filters))
    }

    /// Keeps matching topics away from this client, whatever it subscribes to.
    pub fn exclude<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters::new(self.runtime(), self.owner.client.exclude(filters))
    }

    /// Takes exclusions back.
    pub fn unexclude<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters::new(self.runtime(), self.owner.client.unexclude(filters))
    }

    /// Waits for the next frame; `None` when the connection has ended (for good) and all frames are taken.
    ///
    /// A receive queue that is full drops the newest frames; [`Frame::lost_before`] tells how many are missing.
    pub fn recv(&self) -> Option<Frame> {
        self.runtime().run(self.owner.client.recv()).ok().flatten()
    }

    /// As [`recv`](Client::recv), for so long at most.
    ///
    /// # Errors
    /// When no frame came in time, or none will come any more.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Frame, RecvTimeoutError> {
        match self.runtime().run_within(Some(timeout), self.owner.client.recv()) {
            Ok(Some(Some(frame))) => Ok(frame),
            Ok(None) => Err(RecvTimeoutError::Timeout),
            Ok(Some(None)) | Err(_) => Err(RecvTimeoutError::Disconnected),
        }
    }

    /// The next frame, if it is there already.
    pub fn try_recv(&self) -> Option<Frame> {
        self.owner.client.try_recv()
    }

    /// Waits for frame after frame, until the connection has ended for good. So does `for frame in &client`.
    pub fn iter(&self) -> Frames<'_> {
        Frames::new(self)
    }

    /// As [`Client::slow_policy`](client::Client::slow_policy).
    ///
    /// # Errors
    /// When the broker knows no policies, does not allow this one, or has access rules that do not let this client send
    /// messages to `.broker`.
    #[cfg(feature = "rpc")]
    pub fn slow_policy(&self, policy: SlowPolicy) -> Result<(), SendError> {
        self.runtime().run(self.owner.client.slow_policy(policy)).unwrap_or(Err(SendError::Disconnected))
    }

    /// As [`Client::lost_frames`](client::Client::lost_frames).
    pub fn lost_frames(&self) -> u64 {
        self.owner.client.lost_frames()
    }

    /// Whether it is connected at this moment.
    pub fn is_connected(&self) -> bool {
        self.owner.client.is_connected()
    }

    /// The state of the connection at this moment.
    pub fn state(&self) -> ConnectionState {
        self.owner.client.state().borrow().clone()
    }

    /// The states that the connection comes to from now on, up to its end.
    pub fn state_changes(&self) -> StateChanges {
        StateChanges::new(self.runtime(), self.owner.client.state())
    }

    /// Waits until everything that was accepted is handed to the system.
    ///
    /// # Errors
    /// When the connection ends before that.
    pub fn flush(&self) -> Result<(), SendError> {
        self.runtime().run(self.owner.client.flush()).unwrap_or(Err(SendError::Disconnected))
    }

    /// Writes what was accepted and ends the connection, for all clones. Frames that have arrived can still be
    /// received.
    ///
    /// It takes [`Builder::timeout`] at most; what the broker has not taken by then is lost. [`flush`](Client::flush)
    /// before it tells whether everything was written.
    pub fn close(&self) {
        let _ = self.runtime().run(self.owner.client.close());
    }

    pub(super) fn runtime(&self) -> &'static Runtime {
        self.owner.runtime
    }
}

/// For the RPC layer.
#[cfg(feature = "rpc")]
impl Client {
    /// For a handler.
    pub(super) fn lent(owner: Arc<Owner>) -> Self {
        Self { _stake: None, owner }
    }

    pub(super) fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }

    pub(super) fn as_async(&self) -> &client::Client {
        &self.owner.client
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        let Owner { client, runtime } = &*self.0;
        // If nobody else has the connection, its end is waited for, which is more.
        if Arc::strong_count(&self.0) > ITS_OWN && runtime::is_of_application() {
            let _ = runtime.run_within(Some(LAST_WRITE), client.flush());
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.runtime.is_of_parent() {
            // The connection is the parent's: this process must neither write to it nor end it.
            std::mem::forget(self.client.clone());
        } else if runtime::is_of_application() {
            let _ = self.runtime.run(self.client.leave());
        }
    }
}

impl<'a> IntoIterator for &'a Client {
    type Item = Frame;
    type IntoIter = Frames<'a>;

    fn into_iter(self) -> Frames<'a> {
        self.iter()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.client.fmt(formatter)
    }
}

impl Builder<Client> {
    /// Connects and registers.
    ///
    /// # Errors
    /// When the broker cannot be reached, is none, or refuses the name.
    pub fn connect(self) -> Result<Client, ConnectError> {
        let runtime = Runtime::current().map_err(ConnectError::Thread)?;
        let connected = runtime.run(self.connect_client());
        let client = connected.unwrap_or_else(|error| Err(ConnectError::Thread(error.into())))?;
        Ok(Client::new(client, runtime))
    }
}

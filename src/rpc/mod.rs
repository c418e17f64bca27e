//! Remote procedure calls between the clients of a bus.
//!
//! An [`Rpc`] stands on a [`Client`]: it calls methods of other clients, and gives what arrives to [`Handlers`], a
//! trait, or [`Methods`], closures by name.
//!
//! ```no_run
//! # async fn lamp(path: &str) -> Result<(), Box<dyn std::error::Error>> {
//! use busway::Client;
//! use busway::rpc::{Methods, Request, Rpc};
//!
//! let methods = Methods::new()
//!     .method("state", async |_: Request| Ok("on"))
//!     .typed_method("add", async |(one, other): (i64, i64), _| Ok(one + other));
//! let _lamp = Rpc::new(Client::connect(path, "lamp").await?, methods);
//!
//! let rpc = Rpc::new(Client::connect(path, "switch").await?, ());
//! let state = rpc.call("lamp", "state", "").await?;
//! assert_eq!(state.as_slice(), b"on");
//! let sum: i64 = rpc.call_typed("lamp", "add", &(40, 2)).await?;
//! assert_eq!(sum, 42);
//! # Ok(())
//! # }
//! ```
//!
//! A call never takes longer than its deadline, 5 s unless asked for otherwise. It fails at once when the peer is not
//! there, when the connection is lost, and when the peer leaves before it has answered. For the last, the first call
//! quietly subscribes to the broker's announcements; an application that has not subscribed to them does not see
//! them. (Who excludes `.broker/info`, calls a secondary client that leaves alone, or may not subscribe, waits for the
//! deadline.) A reply counts only if it comes from the very client that was called.

mod caller;
mod calls;
mod catch;
mod cursor;
mod error;
mod event;
mod handlers;
mod methods;
mod options;
mod pack;
mod server;
mod shared;
mod stake;
mod succession;
mod workers;

use std::fmt;
use std::sync::Arc;

use busway_net::wire::{QoS, rpc};
use serde::Serialize;

pub use caller::{Call, Call0};
pub use cursor::{Cursor, CursorHandle, Cursors, Records};
pub(crate) use cursor::{NEXT, NEXT_BULK};
pub use error::{CallError, ErrorCode, RpcError};
pub use event::{Notification, Request};
pub use handlers::Handlers;
pub use methods::Methods;
pub use options::Builder;
pub(crate) use options::Options;
pub(crate) use pack::pack;
pub(crate) use succession::Succession;
pub(crate) use workers::Workers;

use crate::client::{Client, Operation};
use crate::payload::Content;
use shared::Shared;
use stake::Stake;

/// The RPC layer of a client.
///
/// Clones are one and the same. It takes over the client's receive queue, from an older RPC layer, too: frames go to
/// [`Handlers::frame`] instead of [`Client::recv`]. When the last clone is dropped, serving ends: handlers that run
/// may finish, requests that wait are refused, frames dropped, and the connection ends unless the application has a
/// clone of the client. Handlers that keep a clone of the `Rpc` of their own service keep it alive, until
/// [`close`](Rpc::close) or the end of the connection.
///
/// # Examples
/// ```no_run
/// # async fn switch() -> Result<(), Box<dyn std::error::Error>> {
/// use busway::{Client, rpc::{CallError, Rpc}};
///
/// let rpc = Rpc::new(Client::connect_default("switch").await?, ()); // it calls, and answers nothing
/// match rpc.call("lamp", "state", "").await {
///     Ok(state) => println!("{} bytes", state.len()),
///     Err(CallError::Answered(error)) => println!("the lamp says no: {error}"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "serving ends when it is dropped"]
#[derive(Clone)]
pub struct Rpc {
    guard: Arc<Guard>,
    stake: Stake,
}

/// Ends reading when the last [`Rpc`] is gone, also of those that handlers were lent.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.stop.notify_one();
    }
}

impl Rpc {
    /// Begins to serve what arrives, with the defaults of [`Rpc::builder`]. A program that only calls others gives
    /// `()` for the handlers.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(client: Client, handlers: impl Handlers) -> Self {
        Self::builder(client).start(handlers)
    }

    /// An RPC layer with options.
    pub fn builder(client: Client) -> Builder {
        Builder::new(client)
    }

    pub(crate) fn start(client: Client, options: Options, handlers: impl Handlers, workers: Workers) -> Self {
        let shared = Arc::new(Shared::new(client, options));
        let guard = Arc::new(Guard(Arc::clone(&shared)));
        let stake = Stake::default();
        server::start(&shared, (Arc::downgrade(&guard), stake.lend()), handlers, workers);
        Self { guard, stake }
    }

    /// One for a handler, which does not keep the service alive unless it is cloned.
    pub(crate) fn lend(&self) -> Self {
        Self { guard: Arc::clone(&self.guard), stake: self.stake.lend() }
    }

    fn shared(&self) -> &Shared {
        &self.guard.0
    }

    /// The client on which it stands: to subscribe, publish, broadcast.
    pub fn client(&self) -> &Client {
        &self.shared().client
    }

    /// Calls a method of the client of that full name, with raw bytes; `.broker` is the broker itself. They are copied
    /// behind the call's header, also a loan.
    pub fn call<'a>(&'a self, target: &'a str, method: &'a str, params: impl Into<Content<'a>>) -> Call<'a> {
        Call::raw(self, (target, method), params.into())
    }

    /// Calls a method whose parameters and result are MessagePack: structures as maps of their fields.
    ///
    /// `()` and `None` are no bytes at all, and no bytes are taken for them, or for a structure whose fields may all
    /// be missing.
    pub fn call_typed<'a, R: serde::de::DeserializeOwned>(
        &'a self,
        target: &'a str,
        method: &'a str,
        params: &impl Serialize,
    ) -> Call<'a, R> {
        Call::typed(self, (target, method), pack::pack(params))
    }

    /// Calls a method without waiting for what it makes of it: returns when the broker has given the request to the
    /// peer.
    pub fn call0<'a>(&'a self, target: &'a str, method: &'a str, params: impl Into<Content<'a>>) -> Call0<'a> {
        Call0::new(self, (target, method), params.into())
    }

    /// Sends a notification: returns when the broker has given it to the peer, unless
    /// [`Operation::qos`] says otherwise.
    pub fn notify<'a>(&'a self, target: &'a str, payload: impl Into<Content<'a>>) -> Operation<'a> {
        let payload = payload.into();
        let notification = [&[rpc::NOTIFICATION], payload.as_slice()].concat();
        self.shared().client.send(target, notification).qos(QoS::Processed)
    }

    /// Reads the records of a cursor that the client of that full name has opened.
    pub fn cursor<T>(&self, target: &str, handle: CursorHandle) -> Cursor<T>
    where
        T: serde::de::DeserializeOwned + Send + 'static,
    {
        Cursor::new(self, target, handle)
    }

    /// Calls of this client that wait for an answer at this moment.
    pub fn pending_calls(&self) -> usize {
        self.shared().calls.len()
    }

    /// How many requests were answered that this client is busy, ever.
    pub fn refused_requests(&self) -> u64 {
        self.shared().requests.lost()
    }

    /// How many notifications and frames were dropped because their queue was full, ever. (Those that the client's
    /// own queue did not take are counted in [`Client::lost_frames`].)
    pub fn lost_frames(&self) -> u64 {
        self.shared().frames.lost()
    }

    /// How many replies came that nobody waited for, ever: too late, or from another than was called.
    pub fn unexpected_replies(&self) -> u64 {
        self.shared().unexpected_replies.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Waits until the connection has ended for good and every notification and frame is handled.
    pub async fn closed(&self) {
        // The sender is in `shared`, so that there is always an answer.
        let _ = self.shared().is_finished.subscribe().wait_for(|is_finished| *is_finished).await;
    }

    /// Writes what was accepted and ends the connection, for all clones of the client.
    pub async fn close(&self) {
        self.shared().client.close().await;
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rpc").field("client", self.client()).finish_non_exhaustive()
    }
}

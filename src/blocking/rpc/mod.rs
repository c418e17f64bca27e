//! Remote procedure calls for programs without async code: the layer of [`busway::rpc`](crate::rpc), and the same errors.
//!
//! ```no_run
//! # fn lamp(path: &str) -> Result<(), Box<dyn std::error::Error>> {
//! use busway::blocking::Client;
//! use busway::blocking::rpc::{Methods, Request, Rpc};
//!
//! let methods = Methods::new()
//!     .method("state", |_: Request| Ok("on"))
//!     .typed_method("add", |(one, other): (i64, i64), _| Ok(one + other));
//! let _lamp = Rpc::new(Client::connect(path, "lamp")?, methods);
//!
//! let rpc = Rpc::new(Client::connect(path, "switch")?, ());
//! let state = rpc.call("lamp", "state", "").wait()?;
//! assert_eq!(state.as_slice(), b"on");
//! let sum: i64 = rpc.call_typed("lamp", "add", &(40, 2)).wait()?;
//! assert_eq!(sum, 42);
//! # Ok(())
//! # }
//! ```
//!
//! Handlers run on threads of their own, which come and go with the work: as many requests at once as
//! [`max_handlers`](crate::rpc::Builder::max_handlers) allows, and notifications and frames one after the other beside
//! them. They may block, call others, and call their own service.

mod call;
mod cursor;
mod cursors;
mod event;
mod handlers;
mod methods;
mod service;

use std::fmt;
use std::sync::Arc;

use busway_net::wire::QoS;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use call::{Call, Call0};
pub use cursor::Cursor;
pub use cursors::Cursors;
pub use event::{Notification, Request};
pub use handlers::Handlers;
pub use methods::Methods;

use super::client::{Client, Owner};
use super::operation::Operation;
use crate::payload::Content;
use crate::rpc::{self, Builder, CursorHandle, Workers};
use service::Service;

/// The RPC layer of a client.
///
/// Clones are one and the same. It takes over the client's receive queue, from an older RPC layer, too: frames go to
/// [`Handlers::frame`] instead of [`Client::recv`]. When the last clone is dropped, serving ends: handlers that run
/// may finish, requests that wait are refused, frames dropped, and the connection ends unless the application has a
/// clone of the client. Handlers that keep a clone of the `Rpc` of their own service keep it alive, until
/// [`close`](Rpc::close) or the end of the connection.
#[must_use = "serving ends when it is dropped"]
#[derive(Clone)]
pub struct Rpc {
    /// Ends before the client is let go of.
    rpc: rpc::Rpc,
    client: Client,
}

impl Rpc {
    /// Begins to serve what arrives, with the defaults of [`Rpc::builder`]. A program that only calls others gives
    /// `()` for the handlers.
    pub fn new(client: Client, handlers: impl Handlers) -> Self {
        Self::builder(client).start(handlers)
    }

    /// An RPC layer with options.
    pub fn builder(client: Client) -> Builder<Client> {
        Builder::new(client)
    }

    /// The client on which it stands: to subscribe, publish, broadcast.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Calls a method of the client of that full name, with raw bytes; `.broker` is the broker itself.
    pub fn call<'a>(&'a self, target: &'a str, method: &'a str, params: impl Into<Content<'a>>) -> Call<'a> {
        Call::new(self.client.runtime(), self.rpc.call(target, method, params))
    }

    /// Calls a method whose parameters and result are MessagePack: structures as maps of their fields.
    ///
    /// `()` and `None` are no bytes at all, and no bytes are taken for them, or for a structure whose fields may all
    /// be missing.
    pub fn call_typed<'a, R: DeserializeOwned>(
        &'a self,
        target: &'a str,
        method: &'a str,
        params: &impl Serialize,
    ) -> Call<'a, R> {
        Call::new(self.client.runtime(), self.rpc.call_typed(target, method, params))
    }

    /// Calls a method without waiting for what it makes of it: done when the broker has given the request to the peer.
    pub fn call0<'a>(&'a self, target: &'a str, method: &'a str, params: impl Into<Content<'a>>) -> Call0<'a> {
        Call0::new(self.client.runtime(), self.rpc.call0(target, method, params))
    }

    /// Sends a notification: done when the broker has given it to the peer, unless [`Operation::qos`] says otherwise.
    pub fn notify<'a>(&'a self, target: &'a str, payload: impl Into<Content<'a>>) -> Operation<'a> {
        Operation::new(self.client.runtime(), self.rpc.notify(target, payload)).qos(QoS::Processed)
    }

    /// Reads the records of a cursor that the client of that full name has opened.
    pub fn cursor<T>(&self, target: &str, handle: CursorHandle) -> Cursor<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        Cursor::new(self.rpc.cursor(target, handle), self.clone())
    }

    /// Calls of this client that wait for an answer at this moment.
    pub fn pending_calls(&self) -> usize {
        self.rpc.pending_calls()
    }

    /// How many requests were answered that this client is busy, ever.
    pub fn refused_requests(&self) -> u64 {
        self.rpc.refused_requests()
    }

    /// How many notifications and frames were dropped because their queue was full, ever. (Those that the client's
    /// own queue did not take are counted in [`Client::lost_frames`].)
    pub fn lost_frames(&self) -> u64 {
        self.rpc.lost_frames()
    }

    /// How many replies came that nobody waited for, ever: too late, or from another than was called.
    pub fn unexpected_replies(&self) -> u64 {
        self.rpc.unexpected_replies()
    }

    /// Waits until the connection has ended for good and every notification and frame is handled.
    pub fn closed(&self) {
        let _ = self.client.runtime().run(self.rpc.closed());
    }

    /// Writes what was accepted and ends the connection, for all clones of the client.
    pub fn close(&self) {
        self.client.close();
    }

    /// The layer that a handler sees.
    fn of(rpc: rpc::Rpc, owner: Arc<Owner>) -> Self {
        Self { rpc, client: Client::lent(owner) }
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rpc.fmt(formatter)
    }
}

impl Builder<Client> {
    /// Begins to serve what arrives. A program that only calls others gives `()`.
    pub fn start(self, handlers: impl Handlers) -> Rpc {
        let Self { client, options } = self;
        let service = Service::new(handlers, &client);
        let bus = client.as_async().clone();
        let rpc = client.runtime().within(|| rpc::Rpc::start(bus, options, service, Workers::threads()));
        Rpc { rpc, client }
    }
}

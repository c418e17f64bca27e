//! What a service does with what reaches it, as closures by method name.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Rpc;
use super::cursors::Cursors;
use super::event::{Notification, Request};
use super::handlers::Handlers;
use crate::frame::Frame;
use crate::payload::Payload;
use crate::rpc::{NEXT, NEXT_BULK, RpcError, pack};

type Method = Box<dyn Fn(Request) -> Result<Payload, RpcError> + Send + Sync>;
type OnNotification = Box<dyn Fn(Notification) + Send + Sync>;
type OnFrame = Box<dyn Fn(&Rpc, Frame) + Send + Sync>;

/// Handlers made of closures.
///
/// ```
/// use busway::blocking::rpc::{Methods, Request};
///
/// let methods = Methods::new()
///     .method("echo", |request: Request| Ok(request.params()))
///     .typed_method("add", |(one, other): (i64, i64), _| Ok(one + other))
///     .on_notification(|notification| println!("{} says something", notification.sender()))
///     .on_frame(|_, frame| println!("{:?}", frame.topic()));
/// ```
#[derive(Default)]
pub struct Methods {
    methods: HashMap<String, Method>,
    other: Option<Method>,
    notification: Option<OnNotification>,
    frame: Option<OnFrame>,
}

impl Methods {
    /// None yet: every request is answered that there is no such method.
    pub fn new() -> Self {
        Self::default()
    }

    /// A method of raw bytes.
    #[must_use]
    pub fn method<F, T>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(Request) -> Result<T, RpcError> + Send + Sync + 'static,
        T: Into<Payload>,
    {
        self.methods.insert(name.to_owned(), raw(handler));
        self
    }

    /// A method whose parameters and result are MessagePack.
    ///
    /// Parameters that are none are answered with a parse error, others that do not fit with invalid parameters.
    #[must_use]
    pub fn typed_method<F, P, T>(self, name: &str, handler: F) -> Self
    where
        F: Fn(P, Request) -> Result<T, RpcError> + Send + Sync + 'static,
        P: DeserializeOwned,
        T: Serialize,
    {
        self.method(name, move |request| Ok(pack(&handler(request.unpack()?, request)?)?))
    }

    /// The methods `N` and `NB`, which hand out the records of these cursors.
    #[must_use]
    pub fn cursors(self, cursors: &Cursors) -> Self {
        let (one, many) = (cursors.clone(), cursors.clone());
        self.method(NEXT, move |request| one.next(&request.unpack()?))
            .method(NEXT_BULK, move |request| many.next_bulk(&request.unpack()?))
    }

    /// What answers when no method has the name.
    #[must_use]
    pub fn otherwise<F, T>(mut self, handler: F) -> Self
    where
        F: Fn(Request) -> Result<T, RpcError> + Send + Sync + 'static,
        T: Into<Payload>,
    {
        self.other = Some(raw(handler));
        self
    }

    /// What takes notifications, one after the other.
    #[must_use]
    pub fn on_notification(mut self, handler: impl Fn(Notification) + Send + Sync + 'static) -> Self {
        self.notification = Some(Box::new(handler));
        self
    }

    /// What takes publications, broadcasts and messages that are none of RPC, one after the other.
    #[must_use]
    pub fn on_frame(mut self, handler: impl Fn(&Rpc, Frame) + Send + Sync + 'static) -> Self {
        self.frame = Some(Box::new(handler));
        self
    }
}

fn raw<T: Into<Payload>>(handler: impl Fn(Request) -> Result<T, RpcError> + Send + Sync + 'static) -> Method {
    Box::new(move |request| handler(request).map(Into::into))
}

impl Handlers for Methods {
    fn call(&self, request: Request) -> Result<Payload, RpcError> {
        match self.methods.get(request.method()).or(self.other.as_ref()) {
            Some(method) => method(request),
            None => Err(RpcError::method_not_found()),
        }
    }

    fn notification(&self, notification: Notification) {
        if let Some(handler) = &self.notification {
            handler(notification);
        }
    }

    fn frame(&self, rpc: &Rpc, frame: Frame) {
        if let Some(handler) = &self.frame {
            handler(rpc, frame);
        }
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Methods").field("methods", &self.methods.keys()).finish_non_exhaustive()
    }
}

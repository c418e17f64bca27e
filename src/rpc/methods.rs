//! What a service does with what reaches it, as closures by method name.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Rpc;
use super::cursor::{Cursors, NEXT, NEXT_BULK};
use super::error::RpcError;
use super::event::{Notification, Request};
use super::handlers::Handlers;
use super::pack::pack;
use crate::frame::Frame;
use crate::payload::Payload;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Method = Box<dyn Fn(Request) -> Boxed<Result<Payload, RpcError>> + Send + Sync>;
type OnNotification = Box<dyn Fn(Notification) -> Boxed<()> + Send + Sync>;
type OnFrame = Box<dyn Fn(Rpc, Frame) -> Boxed<()> + Send + Sync>;

/// Handlers made of closures.
///
/// ```
/// use busway::rpc::{Methods, Request};
///
/// let methods = Methods::new()
///     .method("echo", async |request: Request| Ok(request.params()))
///     .typed_method("add", async |(one, other): (i64, i64), _| Ok(one + other))
///     .on_notification(async |notification| println!("{} says something", notification.sender()))
///     .on_frame(async |_, frame| println!("{:?}", frame.topic()));
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
    pub fn method<F, R, T>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, RpcError>> + Send + 'static,
        T: Into<Payload>,
    {
        self.methods.insert(name.to_owned(), raw(handler));
        self
    }

    /// A method whose parameters and result are MessagePack.
    ///
    /// Parameters that are none are answered with a parse error, others that do not fit with invalid parameters.
    #[must_use]
    pub fn typed_method<F, P, R, T>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(P, Request) -> R + Send + Sync + 'static,
        P: DeserializeOwned,
        R: Future<Output = Result<T, RpcError>> + Send + 'static,
        T: Serialize,
    {
        let method: Method = Box::new(move |request| {
            let running = request.unpack().map(|params| handler(params, request));
            Box::pin(async move { Ok(pack(&running?.await?)?.into()) })
        });
        self.methods.insert(name.to_owned(), method);
        self
    }

    /// The methods `N` and `NB`, which hand out the records of these cursors.
    #[must_use]
    pub fn cursors(self, cursors: &Cursors) -> Self {
        let (one, many) = (cursors.clone(), cursors.clone());
        let next = move |request: Request| {
            let cursors = one.clone();
            async move { cursors.next(&request.unpack()?).await }
        };
        let next_bulk = move |request: Request| {
            let cursors = many.clone();
            async move { cursors.next_bulk(&request.unpack()?).await }
        };
        self.method(NEXT, next).method(NEXT_BULK, next_bulk)
    }

    /// What answers when no method has the name.
    #[must_use]
    pub fn otherwise<F, R, T>(mut self, handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, RpcError>> + Send + 'static,
        T: Into<Payload>,
    {
        self.other = Some(raw(handler));
        self
    }

    /// What takes notifications, one after the other.
    #[must_use]
    pub fn on_notification<F, R>(mut self, handler: F) -> Self
    where
        F: Fn(Notification) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.notification = Some(Box::new(move |notification| Box::pin(handler(notification))));
        self
    }

    /// What takes publications, broadcasts and messages that are none of RPC, one after the other.
    #[must_use]
    pub fn on_frame<F, R>(mut self, handler: F) -> Self
    where
        F: Fn(Rpc, Frame) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.frame = Some(Box::new(move |rpc, frame| Box::pin(handler(rpc, frame))));
        self
    }
}

fn raw<F, R, T>(handler: F) -> Method
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Result<T, RpcError>> + Send + 'static,
    T: Into<Payload>,
{
    Box::new(move |request| {
        let running = handler(request);
        Box::pin(async move { running.await.map(Into::into) })
    })
}

impl Handlers for Methods {
    async fn call(&self, request: Request) -> Result<Payload, RpcError> {
        match self.methods.get(request.method()).or(self.other.as_ref()) {
            Some(method) => method(request).await,
            None => Err(RpcError::method_not_found()),
        }
    }

    async fn notification(&self, notification: Notification) {
        if let Some(handler) = &self.notification {
            handler(notification).await;
        }
    }

    async fn frame(&self, rpc: &Rpc, frame: Frame) {
        if let Some(handler) = &self.frame {
            handler(rpc.clone(), frame).await;
        }
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Methods").field("methods", &self.methods.keys()).finish_non_exhaustive()
    }
}

//! What a service does with what reaches it, as a trait.

use std::future::Future;

use super::Rpc;
use super::error::RpcError;
use super::event::{Notification, Request};
use crate::frame::Frame;
use crate::payload::Payload;

/// A service: answers requests, takes notifications and frames. Each has a default that does nothing.
///
/// Requests run concurrently, up to [`max_handlers`](super::Builder::max_handlers). Notifications and frames are
/// handled one after the other, in the order in which they came, beside the requests.
///
/// ```
/// use busway::rpc::{Handlers, Notification, Request, RpcError};
/// use busway::Payload;
///
/// struct Lamp;
///
/// impl Handlers for Lamp {
///     async fn call(&self, request: Request) -> Result<Payload, RpcError> {
///         match request.method() {
///             "state" => Ok("on".into()),
///             _ => Err(RpcError::method_not_found()),
///         }
///     }
///
///     async fn notification(&self, notification: Notification) {
///         println!("{} says {:?}", notification.sender(), notification.payload());
///     }
/// }
/// ```
pub trait Handlers: Send + Sync + 'static {
    /// Answers a request. Without an override there is no method.
    ///
    /// What is returned for a request that wants no reply goes nowhere. A panic answers with an internal error.
    fn call(&self, request: Request) -> impl Future<Output = Result<Payload, RpcError>> + Send {
        let _ = request;
        std::future::ready(Err(RpcError::method_not_found()))
    }

    /// Takes a notification.
    fn notification(&self, notification: Notification) -> impl Future<Output = ()> + Send {
        let _ = notification;
        std::future::ready(())
    }

    /// Takes a publication, a broadcast, or a message that is none of RPC, as it came.
    ///
    /// The announcements of the broker are among them only if the application has subscribed to them.
    fn frame(&self, rpc: &Rpc, frame: Frame) -> impl Future<Output = ()> + Send {
        let _ = (rpc, frame);
        std::future::ready(())
    }
}

/// A program that calls others and serves nobody.
impl Handlers for () {}

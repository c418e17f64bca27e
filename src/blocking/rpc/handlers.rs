//! What a service does with what reaches it, as a trait.

use super::Rpc;
use super::event::{Notification, Request};
use crate::frame::Frame;
use crate::payload::Payload;
use crate::rpc::RpcError;

/// A service: answers requests, takes notifications and frames. Each has a default that does nothing.
///
/// Requests run concurrently, up to [`max_handlers`](crate::rpc::Builder::max_handlers), each on a thread. Notifications
/// and frames are handled one after the other, in the order in which they came, beside the requests.
///
/// ```
/// use busway::Payload;
/// use busway::blocking::rpc::{Handlers, Request};
/// use busway::rpc::RpcError;
///
/// struct Lamp;
///
/// impl Handlers for Lamp {
///     fn call(&self, request: Request) -> Result<Payload, RpcError> {
///         match request.method() {
///             "state" => Ok("on".into()),
///             _ => Err(RpcError::method_not_found()),
///         }
///     }
/// }
/// ```
pub trait Handlers: Send + Sync + 'static {
    /// Answers a request. Without an override there is no method.
    ///
    /// What is returned for a request that wants no reply goes nowhere. A panic answers with an internal error.
    fn call(&self, request: Request) -> Result<Payload, RpcError> {
        drop(request);
        Err(RpcError::method_not_found())
    }

    /// Takes a notification.
    fn notification(&self, notification: Notification) {
        drop(notification);
    }

    /// Takes a publication, a broadcast, or a message that is none of RPC, as it came.
    ///
    /// The announcements of the broker are among them only if the application has subscribed to them.
    fn frame(&self, rpc: &Rpc, frame: Frame) {
        let _ = rpc;
        drop(frame);
    }
}

/// A program that calls others and serves nobody.
impl Handlers for () {}

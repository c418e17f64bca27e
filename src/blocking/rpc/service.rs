//! Blocking handlers as the RPC layer knows them.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

use super::super::client::{Client, Owner};
use super::Rpc;
use super::event::{Notification, Request};
use super::handlers::Handlers;
use crate::frame::Frame;
use crate::payload::Payload;
use crate::rpc::{self, RpcError};

/// Calls blocking handlers; on a thread that they may block.
pub(super) struct Service<H: Handlers> {
    /// Not there only when it is being dropped.
    handlers: Option<H>,
    /// The tasks of the RPC layer hold this; if they held the client, too, it would never end.
    owner: Weak<Owner>,
}

impl<H: Handlers> Service<H> {
    pub(super) fn new(handlers: H, client: &Client) -> Self {
        Self { handlers: Some(handlers), owner: Arc::downgrade(client.owner()) }
    }

    /// The handlers and their service; none when the application has just dropped its own.
    fn served(&self, rpc: &rpc::Rpc) -> Option<(&H, Rpc)> {
        Some((self.handlers.as_ref()?, Rpc::of(rpc.lend(), self.owner.upgrade()?)))
    }
}

impl<H: Handlers> rpc::Handlers for Service<H> {
    async fn call(&self, request: rpc::Request) -> Result<Payload, RpcError> {
        // Also when the handler lets go of its request early: who drops the last clone meanwhile leaves the answer its way.
        let _owner = self.owner.upgrade();
        match self.served(request.rpc()) {
            Some((handlers, rpc)) => handlers.call(Request::new(request, rpc)),
            None => Err(RpcError::internal("the service has ended")),
        }
    }

    async fn notification(&self, notification: rpc::Notification) {
        if let Some((handlers, rpc)) = self.served(notification.rpc()) {
            handlers.notification(Notification::new(notification, rpc));
        }
    }

    async fn frame(&self, rpc: &rpc::Rpc, frame: Frame) {
        if let Some((handlers, rpc)) = self.served(rpc) {
            handlers.frame(&rpc, frame);
        }
    }
}

impl<H: Handlers> Drop for Service<H> {
    /// What the application has put into its handlers may block as it is dropped, and the reading thread must not.
    fn drop(&mut self) {
        if let (Some(handlers), Ok(runtime)) = (self.handlers.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(handlers));
        }
    }
}

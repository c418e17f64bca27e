//! What reaches a service: requests and notifications.

use std::ops::Deref;

use super::Rpc;
use crate::rpc;

/// A call to be answered: what [`rpc::Request`] tells, with a blocking [`Rpc`].
#[derive(Debug)]
pub struct Request {
    request: rpc::Request,
    rpc: Rpc,
}

impl Request {
    pub(super) fn new(request: rpc::Request, rpc: Rpc) -> Self {
        Self { request, rpc }
    }

    /// To call others.
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }
}

impl Deref for Request {
    type Target = rpc::Request;

    fn deref(&self) -> &rpc::Request {
        &self.request
    }
}

/// Something to know, without an answer: what [`rpc::Notification`] tells, with a blocking [`Rpc`].
#[derive(Debug)]
pub struct Notification {
    notification: rpc::Notification,
    rpc: Rpc,
}

impl Notification {
    pub(super) fn new(notification: rpc::Notification, rpc: Rpc) -> Self {
        Self { notification, rpc }
    }

    /// To call others.
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }
}

impl Deref for Notification {
    type Target = rpc::Notification;

    fn deref(&self) -> &rpc::Notification {
        &self.notification
    }
}

//! What reaches a service: requests and notifications.

use std::ops::Range;

use busway_net::wire::rpc::{self, RpcMessage};
use serde::de::DeserializeOwned;

use super::Rpc;
use super::error::RpcError;
use super::pack::unpack_parameters;
use crate::frame::Frame;
use crate::payload::Payload;

/// Where a notification's payload begins.
const NOTIFICATION_HEAD: usize = 1;
/// Where a request's method begins.
const METHOD: usize = 5;

/// A call to be answered.
#[derive(Debug)]
pub struct Request {
    frame: Frame,
    rpc: Rpc,
    call_id: u32,
    method: Range<usize>,
}

impl Request {
    /// A frame that holds a request; otherwise, or when the method is not text, the answer that it gets.
    pub(super) fn new(frame: Frame, rpc: Rpc) -> Result<Self, RpcError> {
        let Ok(RpcMessage::Request { call_id, method, .. }) = rpc::parse(frame.payload()) else {
            return Err(RpcError::invalid_request("not a request"));
        };
        if std::str::from_utf8(method).is_err() {
            return Err(RpcError::invalid_request("the name of a method must be UTF-8"));
        }
        let method = METHOD..METHOD + method.len();
        Ok(Self { frame, rpc, call_id, method })
    }

    /// What is called.
    pub fn method(&self) -> &str {
        // It was text when it arrived; memory that others write to may have changed since.
        std::str::from_utf8(&self.frame.payload()[self.method.clone()]).unwrap_or_default()
    }

    /// With what.
    pub fn params(&self) -> Payload {
        self.frame.payload().tail(self.method.end + 1)
    }

    /// The parameters, unpacked.
    ///
    /// # Errors
    /// The answer for a caller that sent others: a parse error when they are no MessagePack, otherwise invalid
    /// parameters.
    pub fn unpack<T: DeserializeOwned>(&self) -> Result<T, RpcError> {
        unpack_parameters(&self.frame.payload()[self.method.end + 1..])
    }

    /// The full name of the caller.
    pub fn sender(&self) -> &str {
        self.frame.sender()
    }

    /// The caller's name without the suffix of a secondary client.
    pub fn primary_sender(&self) -> &str {
        self.frame.primary_sender()
    }

    /// Whether the caller waits for an answer.
    pub fn wants_reply(&self) -> bool {
        self.call_id != 0
    }

    /// Whether it was sent with a real-time QoS; then the answer is, too.
    pub fn is_realtime(&self) -> bool {
        self.frame.is_realtime()
    }

    /// To call others.
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }
}

/// Something to know, without an answer.
#[derive(Debug)]
pub struct Notification {
    frame: Frame,
    rpc: Rpc,
}

impl Notification {
    pub(super) fn new(frame: Frame, rpc: Rpc) -> Self {
        Self { frame, rpc }
    }

    /// What there is to know.
    pub fn payload(&self) -> Payload {
        self.frame.payload().tail(NOTIFICATION_HEAD)
    }

    /// The full name of the client that sent it.
    pub fn sender(&self) -> &str {
        self.frame.sender()
    }

    /// The sender's name without the suffix of a secondary client.
    pub fn primary_sender(&self) -> &str {
        self.frame.primary_sender()
    }

    /// Whether it was sent with a real-time QoS.
    pub fn is_realtime(&self) -> bool {
        self.frame.is_realtime()
    }

    /// How many frames were lost just before this one, because a queue was full.
    pub fn lost_before(&self) -> u64 {
        self.frame.lost_before()
    }

    /// To call others.
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }
}

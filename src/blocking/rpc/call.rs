//! Calls to be made: built by a method of the RPC layer, run by `.wait()`.

use std::future::IntoFuture;
use std::time::Duration;

use busway_net::wire::QoS;

use super::super::runtime::Runtime;
use crate::client::SendError;
use crate::payload::Payload;
use crate::rpc::{self, CallError};

/// A call to be made: [`wait`](Call::wait) makes it.
#[derive(Debug)]
#[must_use = "nothing is called before `wait`"]
pub struct Call<'a, R = Payload> {
    runtime: &'static Runtime,
    call: rpc::Call<'a, R>,
}

impl<'a, R> Call<'a, R> {
    pub(super) fn new(runtime: &'static Runtime, call: rpc::Call<'a, R>) -> Self {
        Self { runtime, call }
    }

    /// How long the call may take in all, in place of [`Builder::deadline`](rpc::Builder::deadline).
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { call: self.call.deadline(deadline), ..self }
    }

    /// The request is flushed at once on every hop, and so is the answer.
    pub fn realtime(self) -> Self {
        Self { call: self.call.realtime(), ..self }
    }
}

impl<'a, R: Send + 'a> Call<'a, R> {
    /// Calls, and waits for the answer.
    ///
    /// # Errors
    /// When the peer answers with an error, or cannot: it is not there, leaves during the call, the connection is lost, or the
    /// deadline has passed.
    pub fn wait(self) -> Result<R, CallError> {
        self.runtime.run(self.call.into_future()).unwrap_or(Err(CallError::Send(SendError::Disconnected)))
    }
}

/// A call without reply to be made: [`wait`](Call0::wait) makes it.
#[derive(Debug)]
#[must_use = "nothing is called before `wait`"]
pub struct Call0<'a> {
    runtime: &'static Runtime,
    call: rpc::Call0<'a>,
}

impl<'a> Call0<'a> {
    pub(super) fn new(runtime: &'static Runtime, call: rpc::Call0<'a>) -> Self {
        Self { runtime, call }
    }

    /// Confirmation and urgency ([`QoS::Processed`] by default).
    pub fn qos(self, qos: QoS) -> Self {
        Self { call: self.call.qos(qos), ..self }
    }

    /// Returns when the broker has given the request to the peer, or, unconfirmed, when it is accepted for sending.
    ///
    /// # Errors
    /// When it is not accepted, or not confirmed.
    pub fn wait(self) -> Result<(), CallError> {
        self.runtime.run(self.call.into_future()).unwrap_or(Err(CallError::Send(SendError::Disconnected)))
    }
}

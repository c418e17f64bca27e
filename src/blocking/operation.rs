//! Operations as they are called: built by a method of the client, shaped by `.qos()`, run by `.wait()`.

use busway_net::wire::QoS;

use super::runtime::Runtime;
use crate::client::{self, SendError, TryError, TryErrorKind};
#[cfg(feature = "rpc")]
use crate::policy::SlowPolicy;

/// A message, broadcast or publication to be sent: [`wait`](Operation::wait) sends it.
#[derive(Debug)]
#[must_use = "nothing is sent before `wait`"]
pub struct Operation<'a> {
    runtime: &'static Runtime,
    operation: client::Operation<'a>,
}

impl<'a> Operation<'a> {
    pub(super) fn new(runtime: &'static Runtime, operation: client::Operation<'a>) -> Self {
        Self { runtime, operation }
    }

    /// Confirmation and urgency ([`QoS::No`] by default).
    pub fn qos(self, qos: QoS) -> Self {
        Self { operation: self.operation.qos(qos), ..self }
    }

    /// Returns when the frame is accepted for sending, waiting for room if it must; or, confirmed, when the broker has
    /// said what it made of it.
    ///
    /// # Errors
    /// When the frame is not accepted, or not confirmed.
    pub fn wait(self) -> Result<(), SendError> {
        self.runtime.run(self.operation).unwrap_or(Err(SendError::Disconnected))
    }

    /// Returns as soon as the frame is accepted, waiting for room if it must; the confirmation can be waited for later,
    /// or ignored.
    ///
    /// # Errors
    /// When the frame is not accepted.
    pub fn enqueue(self) -> Result<Confirmation, SendError> {
        let Self { runtime, operation } = self;
        let confirmation = runtime.run(operation.enqueue()).unwrap_or(Err(SendError::Disconnected))?;
        Ok(Confirmation { runtime, confirmation })
    }

    /// Accepts the frame if there is room for it at once.
    ///
    /// # Errors
    /// The payload comes back with the reason.
    pub fn try_enqueue(self) -> Result<Confirmation, TryError> {
        let Self { runtime, operation } = self;
        if runtime.is_of_parent() {
            let error = TryErrorKind::Failed(SendError::Disconnected);
            return Err(TryError { error, payload: operation.into_payload() });
        }
        Ok(Confirmation { runtime, confirmation: operation.try_enqueue()? })
    }
}

/// A change of subscriptions or exclusions: [`wait`](Filters::wait) makes it.
#[derive(Debug)]
#[must_use = "nothing is sent before `wait`"]
pub struct Filters<'a> {
    runtime: &'static Runtime,
    filters: client::Filters<'a>,
}

impl<'a> Filters<'a> {
    pub(super) fn new(runtime: &'static Runtime, filters: client::Filters<'a>) -> Self {
        Self { runtime, filters }
    }

    /// Confirmation and urgency ([`QoS::Processed`] by default).
    pub fn qos(self, qos: QoS) -> Self {
        Self { filters: self.filters.qos(qos), ..self }
    }

    /// As [`Filters::slow_policy`](client::Filters::slow_policy).
    #[cfg(feature = "rpc")]
    pub fn slow_policy(self, policy: SlowPolicy) -> Self {
        Self { filters: self.filters.slow_policy(policy), ..self }
    }

    /// Returns when the broker has made the change, or, unconfirmed, when it is accepted for sending.
    ///
    /// # Errors
    /// When it is not accepted, or not confirmed.
    pub fn wait(self) -> Result<(), SendError> {
        self.runtime.run(self.filters).unwrap_or(Err(SendError::Disconnected))
    }
}

/// What the broker makes of an accepted operation: wait for it, or drop it to ignore it.
#[derive(Debug)]
pub struct Confirmation {
    runtime: &'static Runtime,
    confirmation: client::Confirmation,
}

impl Confirmation {
    /// Waits for the broker's answer; for an operation that was not to be confirmed there is none to wait for.
    ///
    /// # Errors
    /// What the broker says, or that it did not say anything in time.
    pub fn wait(self) -> Result<(), SendError> {
        self.runtime.run(self.confirmation).unwrap_or(Err(SendError::Disconnected))
    }
}

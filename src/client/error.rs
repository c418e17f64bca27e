//! What can go wrong, by what was tried.

use std::io;

use busway_net::link::Endpoint;
use busway_net::wire::{NameFault, PathFault, ResultCode};

use crate::payload::Payload;

/// Why a client could not connect.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name is not one that a broker takes.
    #[error("the client name is not valid: {0}")]
    Name(#[from] NameFault),
    /// Nobody answers.
    #[error("cannot connect to {endpoint}: {source}{}", hint(source))]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// Nobody answers at any of the default sockets.
    #[error("no broker at the default sockets ({}); is one running?", listed(tried))]
    NoBroker {
        /// Where, and why not there.
        tried: Vec<(Endpoint, io::Error)>,
    },
    /// Something answers that is not a BUS/RT broker.
    #[error("{endpoint}: what answers is not a BUS/RT broker of version 1")]
    NotBroker {
        /// Where.
        endpoint: Endpoint,
    },
    /// The broker does not register this client.
    #[error("the broker at {endpoint} refused the client name {name:?}: {code}")]
    Refused {
        /// Where.
        endpoint: Endpoint,
        /// The name.
        name: String,
        /// Why.
        code: ResultCode,
    },
    /// The connection ended during the handshake.
    #[error("the connection to {endpoint} ended during the handshake: {source}")]
    Lost {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// The thread behind all blocking clients could not be started.
    #[error("the thread that serves blocking clients cannot be started: {0}")]
    Thread(#[source] io::Error),
    /// It took too long.
    #[error("the broker at {endpoint} did not complete the handshake in time")]
    Timeout {
        /// Where.
        endpoint: Endpoint,
    },
}

busway_net::debug_as_display!(ConnectError);

fn listed(tried: &[(Endpoint, io::Error)]) -> String {
    let places: Vec<String> = tried.iter().map(|(endpoint, source)| format!("{endpoint}: {source}")).collect();
    places.join(", ")
}

/// What may be the matter.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "; this user may not: see --socket-mode of buswayd, and the socket's group",
        // It is no endpoint, and the source says what would be one.
        io::ErrorKind::InvalidInput => "",
        _ => "; is a broker running there?",
    }
}

/// Why an operation failed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection, or it ended before the broker confirmed.
    #[error("not connected to the broker")]
    Disconnected,
    /// The broker did not do it.
    #[error("the broker answered: {0}")]
    Refused(ResultCode),
    /// The broker did not confirm in time; it may or may not have done it.
    #[error("the broker did not confirm in time")]
    Timeout,
    /// The topic, mask or target is not legal.
    #[error("not a legal topic, mask or target: {0}")]
    Address(#[from] PathFault),
    /// The receiver of a publish-for is not a client name.
    #[error("not a legal receiver: {0}")]
    Receiver(#[from] NameFault),
    /// The broker does not take a [`SlowPolicy`](crate::SlowPolicy), or knows none.
    #[error("the broker does not take this policy for a slow receiver: {reason}")]
    Policy {
        /// In the broker's words.
        reason: String,
    },
    /// The payload is over the limit.
    #[error("a payload of {length} bytes is over the limit of {limit}")]
    PayloadTooLong {
        /// Bytes of the payload.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
}

busway_net::debug_as_display!(SendError);

impl SendError {
    /// The result code that stands for it on the wire.
    pub fn code(&self) -> ResultCode {
        match self {
            Self::Disconnected => ResultCode::IO,
            Self::Refused(code) => *code,
            Self::Timeout => ResultCode::TIMEOUT,
            Self::Policy { .. } => ResultCode::NOT_SUPPORTED,
            Self::Address(_) | Self::Receiver(_) | Self::PayloadTooLong { .. } => ResultCode::DATA,
        }
    }
}

/// Why a non-waiting send failed. The payload comes back.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct TryError {
    /// What happened.
    #[source]
    pub error: TryErrorKind,
    /// What was to be sent.
    pub payload: Payload,
}

busway_net::debug_as_display!(TryError);

/// What made a non-waiting send fail.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryErrorKind {
    /// The queue of outgoing frames is full: try again later, or await the operation.
    #[error("the queue of outgoing frames is full")]
    Full,
    /// The operation failed.
    #[error(transparent)]
    Failed(#[from] SendError),
}

busway_net::debug_as_display!(TryErrorKind);

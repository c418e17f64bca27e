//! What can go wrong with a call: seen by the handler, on the wire, and by the caller.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use busway_net::wire::{ResultCode, rpc};

use crate::client::SendError;
use crate::payload::Payload;

/// The code of an error as it travels.
///
/// Services may use codes of their own; the protocol's are named here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i16);

impl ErrorCode {
    /// The parameters could not be parsed.
    pub const PARSE: Self = Self(rpc::PARSE_ERROR);
    /// Not a request.
    pub const INVALID_REQUEST: Self = Self(rpc::INVALID_REQUEST);
    /// No such method.
    pub const METHOD_NOT_FOUND: Self = Self(rpc::METHOD_NOT_FOUND);
    /// The parameters do not fit the method.
    pub const INVALID_PARAMETERS: Self = Self(rpc::INVALID_PARAMETERS);
    /// The handler failed.
    pub const INTERNAL: Self = Self(rpc::INTERNAL_ERROR);
    /// What was asked for is not there.
    pub const NOT_FOUND: Self = Self(-32001);

    /// Transport codes count down from here.
    const TRANSPORT: i16 = -32000;

    /// The code that stands for a result code of the bus.
    pub const fn transport(code: ResultCode) -> Self {
        Self(Self::TRANSPORT - code.0 as i16)
    }

    /// The result code of the bus that this code stands for, if it does.
    pub fn result_code(self) -> Option<ResultCode> {
        let code = u8::try_from(Self::TRANSPORT.checked_sub(self.0)?).ok().map(ResultCode)?;
        // 1 would be success; its place is taken by NOT_FOUND.
        (code.0 > ResultCode::OK.0).then_some(code)
    }

    fn words(self) -> &'static str {
        match self {
            Self::PARSE => "the parameters could not be parsed",
            Self::INVALID_REQUEST => "not a request",
            Self::METHOD_NOT_FOUND => "no such method",
            Self::INVALID_PARAMETERS => "the parameters do not fit the method",
            Self::INTERNAL => "the handler failed",
            Self::NOT_FOUND => "not found",
            other => other.result_code().map_or("failed", ResultCode::words),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ErrorCode({})", self.0)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (code {})", self.words(), self.0)
    }
}

/// What a handler answers when it cannot do what was asked; it travels to the caller as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct RpcError {
    code: ErrorCode,
    data: Payload,
}

busway_net::debug_as_display!(RpcError);

impl RpcError {
    /// An error with any code; the data is usually text for people.
    pub fn new(code: ErrorCode, data: impl Into<Payload>) -> Self {
        Self { code, data: data.into() }
    }

    /// The parameters could not be parsed.
    pub fn parse(reason: impl fmt::Display) -> Self {
        Self::new(ErrorCode::PARSE, reason.to_string())
    }

    /// Not a request.
    pub fn invalid_request(reason: impl fmt::Display) -> Self {
        Self::new(ErrorCode::INVALID_REQUEST, reason.to_string())
    }

    /// No such method.
    pub fn method_not_found() -> Self {
        Self::new(ErrorCode::METHOD_NOT_FOUND, "no such method")
    }

    /// The parameters do not fit the method.
    pub fn invalid_parameters(reason: impl fmt::Display) -> Self {
        Self::new(ErrorCode::INVALID_PARAMETERS, reason.to_string())
    }

    /// The handler failed.
    pub fn internal(reason: impl fmt::Display) -> Self {
        Self::new(ErrorCode::INTERNAL, reason.to_string())
    }

    /// What was asked for is not there.
    pub fn not_found(reason: impl fmt::Display) -> Self {
        Self::new(ErrorCode::NOT_FOUND, reason.to_string())
    }

    /// What went wrong.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What the handler had to say about it.
    pub fn data(&self) -> &Payload {
        &self.data
    }

    /// The data as text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.data)
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            text if text.is_empty() || text == self.code.words() => self.code.fmt(formatter),
            text => write!(formatter, "{}: {}", self.code, text.escape_debug()),
        }
    }
}

impl std::error::Error for RpcError {}

impl From<SendError> for RpcError {
    fn from(error: SendError) -> Self {
        Self::new(ErrorCode::transport(error.code()), error.to_string())
    }
}

impl From<rmp_serde::encode::Error> for RpcError {
    fn from(error: rmp_serde::encode::Error) -> Self {
        Self::internal(error)
    }
}

impl From<rmp_serde::decode::Error> for RpcError {
    fn from(error: rmp_serde::decode::Error) -> Self {
        Self::invalid_parameters(error)
    }
}

/// A handler that calls others may hand their errors on with `?`: the code stays.
impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Answered(error) => error,
            error => Self::new(error.code(), error.to_string()),
        }
    }
}

/// Why a call came to nothing.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The peer answered with an error.
    #[error("the peer answered: {0}")]
    Answered(#[source] RpcError),
    /// The request did not reach the peer: it is not there, its queue is full, the connection is lost ...
    #[error("the request was not delivered: {0}")]
    Send(#[from] SendError),
    /// The peer was called and left before it answered.
    #[error("the peer left before it answered")]
    Left,
    /// No answer came in time; the peer may or may not have done what was asked.
    #[error("no answer came within {} s", .0.as_secs_f64())]
    Deadline(Duration),
    /// The name of a method ends at its first NUL.
    #[error("the name of a method must not contain a NUL byte")]
    Method,
    /// The parameters cannot be packed.
    #[error("the parameters cannot be packed: {0}")]
    Pack(#[source] rmp_serde::encode::Error),
    /// The answer is not what the caller expects.
    #[error("the answer is not what was expected: {0}")]
    Unpack(#[source] rmp_serde::decode::Error),
}

busway_net::debug_as_display!(CallError);

impl CallError {
    /// The code that stands for it: the peer's own, or one of the protocol's.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Answered(error) => error.code,
            Self::Send(error) => ErrorCode::transport(error.code()),
            Self::Left => ErrorCode::transport(ResultCode::NOT_REGISTERED),
            Self::Deadline(_) => ErrorCode::transport(ResultCode::TIMEOUT),
            Self::Method => ErrorCode::INVALID_REQUEST,
            Self::Pack(_) => ErrorCode::INTERNAL,
            Self::Unpack(_) => ErrorCode::PARSE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transport_codes_count_down_from_minus_32000() {
        assert_eq!(ErrorCode::transport(ResultCode::NOT_REGISTERED), ErrorCode(-32113));
        assert_eq!(ErrorCode::transport(ResultCode::ACCESS_DENIED).result_code(), Some(ResultCode::ACCESS_DENIED));
        for code in [0, 1, -1, -777, -31999, -32000, -32001, -32256, -32601, -32700, i16::MIN, i16::MAX] {
            assert_eq!(ErrorCode(code).result_code(), None, "{code}");
        }
        assert_eq!(ErrorCode(-32255).result_code(), Some(ResultCode(255)));
    }

    #[test]
    fn messages_say_what_happened_once() {
        assert_eq!(RpcError::method_not_found().to_string(), "no such method (code -32601)");
        assert_eq!(RpcError::new(ErrorCode(-777), "out\nof fruit").to_string(), "failed (code -777): out\\nof fruit");
        let sent = RpcError::from(SendError::Refused(ResultCode::NOT_DELIVERED));
        assert_eq!((sent.code(), sent.code().result_code()), (ErrorCode(-32119), Some(ResultCode::NOT_DELIVERED)));
    }
}

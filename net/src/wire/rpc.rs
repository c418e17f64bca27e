//! The RPC layer's prefix inside the payload of a message.

/// First byte of a notification.
pub const NOTIFICATION: u8 = 0x00;
/// First byte of a request.
pub const REQUEST: u8 = 0x01;
/// First byte of a reply.
pub const REPLY: u8 = 0x11;
/// First byte of an error reply.
pub const ERROR_REPLY: u8 = 0x12;

/// Error code: the request could not be parsed.
pub const PARSE_ERROR: i16 = -32700;
/// Error code: not a request.
pub const INVALID_REQUEST: i16 = -32600;
/// Error code: no such method.
pub const METHOD_NOT_FOUND: i16 = -32601;
/// Error code: the parameters do not fit the method.
pub const INVALID_PARAMETERS: i16 = -32602;
/// Error code: the handler failed.
pub const INTERNAL_ERROR: i16 = -32603;

/// An RPC payload taken apart; everything borrows from the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcMessage<'a> {
    /// Something to know, without an answer.
    Notification {
        /// What there is to know.
        payload: &'a [u8],
    },
    /// A call.
    Request {
        /// Echoed in the reply; 0 means that no reply is wanted.
        call_id: u32,
        /// What to call.
        method: &'a [u8],
        /// With what.
        params: &'a [u8],
    },
    /// A call's result.
    Reply {
        /// The request's.
        call_id: u32,
        /// What the call returned.
        result: &'a [u8],
    },
    /// A call's failure.
    ErrorReply {
        /// The request's.
        call_id: u32,
        /// One of the error codes, or the service's own.
        code: i16,
        /// Usually text.
        data: &'a [u8],
    },
}

/// Why a payload is not an RPC message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RpcViolation {
    /// No bytes at all.
    #[error("an RPC message must not be empty")]
    Empty,
    /// A first byte that stands for nothing.
    #[error("unknown RPC message type {0:#04x}")]
    UnknownType(u8),
    /// Too short for its type, or a method that no NUL ends.
    #[error("the RPC message is cut short")]
    CutShort,
}

/// Takes an RPC payload apart.
///
/// # Errors
/// When the payload is not an RPC message.
pub fn parse(payload: &[u8]) -> Result<RpcMessage<'_>, RpcViolation> {
    let (kind, rest) = payload.split_first().ok_or(RpcViolation::Empty)?;
    if *kind == NOTIFICATION {
        return Ok(RpcMessage::Notification { payload: rest });
    }
    if ![REQUEST, REPLY, ERROR_REPLY].contains(kind) {
        return Err(RpcViolation::UnknownType(*kind));
    }
    let (call_id, rest) = rest.split_first_chunk::<4>().ok_or(RpcViolation::CutShort)?;
    let call_id = u32::from_le_bytes(*call_id);
    match *kind {
        REQUEST => {
            let end = rest.iter().position(|byte| *byte == 0).ok_or(RpcViolation::CutShort)?;
            Ok(RpcMessage::Request { call_id, method: &rest[..end], params: &rest[end + 1..] })
        }
        REPLY => Ok(RpcMessage::Reply { call_id, result: rest }),
        _ => {
            let (code, data) = rest.split_first_chunk::<2>().ok_or(RpcViolation::CutShort)?;
            Ok(RpcMessage::ErrorReply { call_id, code: i16::from_le_bytes(*code), data })
        }
    }
}

/// Appends what stands before a request's parameters. `method` must not contain a NUL.
pub fn encode_request_head(out: &mut Vec<u8>, call_id: u32, method: &str) {
    out.push(REQUEST);
    out.extend_from_slice(&call_id.to_le_bytes());
    out.extend_from_slice(method.as_bytes());
    out.push(0);
}

/// What stands before a result.
pub fn reply_head(call_id: u32) -> [u8; 5] {
    let [a, b, c, d] = call_id.to_le_bytes();
    [REPLY, a, b, c, d]
}

/// What stands before an error's data.
pub fn error_reply_head(call_id: u32, code: i16) -> [u8; 7] {
    let [a, b, c, d] = call_id.to_le_bytes();
    let [low, high] = code.to_le_bytes();
    [ERROR_REPLY, a, b, c, d, low, high]
}

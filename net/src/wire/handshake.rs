//! The handshake of both sides as state machines: bytes in, what to do next out.

use super::{HELLO, Limits, NameFault, ResultCode};

/// Why a broker turns a client away during the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not BUS/RT, or not version 1.
    #[error("the peer does not speak BUS/RT version 1")]
    Protocol,
    /// The name cannot be registered.
    #[error("{0}")]
    Name(#[from] NameFault),
    /// The name is not UTF-8.
    #[error("the client name is not UTF-8")]
    NameNotUtf8,
}

impl Refusal {
    /// The code to send before closing; a name that is not UTF-8 gets none.
    pub fn code(self) -> Option<ResultCode> {
        match self {
            Self::Protocol => Some(ResultCode::NOT_SUPPORTED),
            Self::Name(_) => Some(ResultCode::DATA),
            Self::NameNotUtf8 => None,
        }
    }
}

/// What the broker does next.
#[derive(Debug, PartialEq, Eq)]
pub enum BrokerStep<'a> {
    /// Read more.
    Incomplete,
    /// Send these bytes and go on.
    Reply(&'static [u8]),
    /// The client wants to be called this. The answer is the registry's.
    Register(&'a str),
    /// Send the refusal's code, if it has one, and close.
    Refuse(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BrokerState {
    Hello,
    Name,
    /// Over the limit: what is left of the name is read and dropped, so that the refusal reaches the client.
    Discard {
        left: usize,
        length: usize,
    },
}

/// The broker's side, after it has sent [`HELLO`].
#[derive(Debug)]
pub struct BrokerHandshake {
    state: BrokerState,
    limits: Limits,
}

impl BrokerHandshake {
    /// A handshake of which nothing has arrived.
    pub fn new(limits: Limits) -> Self {
        Self { state: BrokerState::Hello, limits }
    }

    /// Takes what is in `input`; says how many bytes of it are used up and what to do. Call again with the rest
    /// until it says [`BrokerStep::Incomplete`], [`BrokerStep::Register`] or [`BrokerStep::Refuse`].
    pub fn advance<'a>(&mut self, input: &'a [u8]) -> (usize, BrokerStep<'a>) {
        match self.state {
            BrokerState::Hello => {
                let Some(hello) = input.first_chunk::<3>() else {
                    return (0, BrokerStep::Incomplete);
                };
                if *hello != HELLO {
                    return (3, BrokerStep::Refuse(Refusal::Protocol));
                }
                self.state = BrokerState::Name;
                (3, BrokerStep::Reply(&[ResultCode::OK.0]))
            }
            BrokerState::Name => {
                let Some(length) = input.first_chunk::<2>() else {
                    return (0, BrokerStep::Incomplete);
                };
                let length = usize::from(u16::from_le_bytes(*length));
                if length > self.limits.max_name {
                    self.state = BrokerState::Discard { left: length, length };
                    let (used, step) = self.advance(&input[2..]);
                    return (2 + used, step);
                }
                let Some(name) = input.get(2..2 + length) else {
                    return (0, BrokerStep::Incomplete);
                };
                let step = match std::str::from_utf8(name) {
                    Err(_) => BrokerStep::Refuse(Refusal::NameNotUtf8),
                    Ok(name) => match self.limits.check_name(name) {
                        Ok(()) => BrokerStep::Register(name),
                        Err(fault) => BrokerStep::Refuse(fault.into()),
                    },
                };
                (2 + length, step)
            }
            BrokerState::Discard { left, length } => {
                let used = left.min(input.len());
                if used == left {
                    let fault = NameFault::TooLong { length, limit: self.limits.max_name };
                    return (used, BrokerStep::Refuse(fault.into()));
                }
                self.state = BrokerState::Discard { left: left - used, length };
                (used, BrokerStep::Incomplete)
            }
        }
    }
}

/// What the client does next.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientStep {
    /// Read more.
    Incomplete,
    /// Send [`HELLO`] and go on.
    SendHello,
    /// Send the name (see [`encode_name`]) and go on.
    SendName,
    /// Registered.
    Done,
    /// The other end is not a BUS/RT broker of version 1.
    NotBroker,
    /// The broker refused with this code.
    Refused(ResultCode),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    Hello,
    Accepted,
    Registered,
}

/// The client's side.
#[derive(Debug)]
pub struct ClientHandshake {
    state: ClientState,
}

impl Default for ClientHandshake {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientHandshake {
    /// A handshake of which nothing has arrived.
    pub fn new() -> Self {
        Self { state: ClientState::Hello }
    }

    /// Takes what is in `input`; says how many bytes of it are used up and what to do.
    pub fn advance(&mut self, input: &[u8]) -> (usize, ClientStep) {
        match self.state {
            ClientState::Hello => {
                let Some(hello) = input.first_chunk::<3>() else {
                    let wrong = !input.is_empty() && !HELLO.starts_with(input);
                    return (0, if wrong { ClientStep::NotBroker } else { ClientStep::Incomplete });
                };
                if *hello != HELLO {
                    return (3, ClientStep::NotBroker);
                }
                self.state = ClientState::Accepted;
                (3, ClientStep::SendHello)
            }
            ClientState::Accepted | ClientState::Registered => {
                let Some(code) = input.first() else {
                    return (0, ClientStep::Incomplete);
                };
                let step = match (ResultCode(*code), self.state) {
                    (ResultCode::OK, ClientState::Accepted) => {
                        self.state = ClientState::Registered;
                        ClientStep::SendName
                    }
                    (ResultCode::OK, _) => ClientStep::Done,
                    (code, _) => ClientStep::Refused(code),
                };
                (1, step)
            }
        }
    }
}

/// A client name as the handshake carries it: u16 length, then the bytes.
///
/// # Errors
/// The fault of a name that no broker of these limits takes.
pub fn encode_name(name: &str, limits: &Limits) -> Result<Vec<u8>, NameFault> {
    limits.check_name(name)?;
    let too_long = NameFault::TooLong { length: name.len(), limit: limits.max_name };
    let length = u16::try_from(name.len()).map_err(|_| too_long)?;
    let mut bytes = Vec::with_capacity(2 + name.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
    Ok(bytes)
}

//! Options of the lane, the same for brokers and clients.

use std::str::FromStr;
#[cfg(feature = "broker")]
use std::time::Duration;

#[cfg(feature = "broker")]
use busway_net::link::BusyPoll;

/// Whose memory may be read in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShmTrust {
    /// That of processes of the same user.
    #[default]
    SameUser,
    /// Everybody's: any client can then read all that lies in the arenas of any other, and could change what it has
    /// sent while it is read.
    All,
    /// Nobody's: the broker copies every payload.
    None,
}

impl ShmTrust {
    /// Whether a process of one user reads what one of the other has written.
    #[cfg(all(feature = "shm", feature = "broker"))]
    pub(crate) fn allows(self, writer: u32, reader: u32) -> bool {
        match self {
            Self::SameUser => writer == reader,
            Self::All => true,
            Self::None => false,
        }
    }
}

impl FromStr for ShmTrust {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "same-user" => Ok(Self::SameUser),
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => Err("must be same-user, all or none".to_owned()),
        }
    }
}

/// What a broker grants.
#[cfg(feature = "broker")]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "shm"), allow(dead_code, reason = "options are accepted where there is no lane"))]
pub(crate) struct BrokerOptions {
    pub(crate) is_on: bool,
    pub(crate) trust: ShmTrust,
    /// Bytes of all segments; a quarter of the memory if not given.
    pub(crate) bytes: Option<u64>,
    /// Bytes of the arenas of one client.
    pub(crate) arena_bytes: u64,
    /// For how long a connection looks for the next frame before it sleeps.
    pub(crate) busy_poll: Duration,
}

#[cfg(feature = "broker")]
impl Default for BrokerOptions {
    fn default() -> Self {
        Self { is_on: true, trust: ShmTrust::SameUser, bytes: None, arena_bytes: 1 << 30, busy_poll: BusyPoll::BUDGET }
    }
}

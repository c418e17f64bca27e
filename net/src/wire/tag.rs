//! What peers that know more than BUS/RT say to each other in pings.
//!
//! A client's ping has eight bytes that every broker ignores, a broker's five that every client ignores. Whoever wants
//! a lane says so there, and peers that know nothing of it are not disturbed.
//!
//! ```text
//! client   0        4     5      6         7          9
//!          | "BUSW" |  0  | step | version | features |
//! broker   0     1        4      5         6
//!          |  0  | "BUS"  | step | detail  |
//!          |  0  | frames (u32)  | "G"     |
//! ```

use super::{BrokerHeader, ClientHeader};

/// What a client's tagged ping says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTag {
    /// It would like a lane of this version, with these features.
    Request {
        /// The version of the lane that it knows.
        version: u8,
        /// Features that it knows.
        features: u16,
    },
    /// It has taken the lane over: what follows this ping comes by it.
    Ready,
    /// It could not; everything goes on over the socket.
    Failed,
}

/// What a broker's tagged ping says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerTag {
    /// A lane; its descriptors ride on this ping.
    Offer,
    /// The broker has taken the lane over: what follows this ping comes by it.
    Switch,
    /// There is no lane for this client, for this reason (a number that the lane gives meaning to).
    Refusal(u8),
    /// So many frames for this client were dropped before the next one.
    Gap(u32),
}

const CLIENT_MARK: &[u8; 4] = b"BUSW";
const BROKER_MARK: &[u8; 3] = b"BUS";
/// In the place of a detail, which is always smaller.
const GAP_MARK: u8 = b'G';

impl ClientTag {
    /// What a ping says, if it says something.
    pub fn parse(raw: &[u8; ClientHeader::SIZE]) -> Option<Self> {
        let [mark @ .., 0, step, version, low, high] = raw else { return None };
        if mark != CLIENT_MARK {
            return None;
        }
        match step {
            1 => Some(Self::Request { version: *version, features: u16::from_le_bytes([*low, *high]) }),
            2 => Some(Self::Ready),
            3 => Some(Self::Failed),
            _ => None,
        }
    }

    /// The ping that says it.
    pub fn encode(self) -> [u8; ClientHeader::SIZE] {
        let (step, version, features) = match self {
            Self::Request { version, features } => (1, version, features),
            Self::Ready => (2, 0, 0),
            Self::Failed => (3, 0, 0),
        };
        let [b, u, s, w] = *CLIENT_MARK;
        let [low, high] = features.to_le_bytes();
        [b, u, s, w, 0, step, version, low, high]
    }
}

impl BrokerTag {
    /// What a ping says, if it says something.
    pub fn parse(raw: &[u8; BrokerHeader::SIZE]) -> Option<Self> {
        if let [0, frames @ .., GAP_MARK] = raw {
            return Some(Self::Gap(u32::from_le_bytes(*frames)));
        }
        let [0, mark @ .., step, detail] = raw else { return None };
        if mark != BROKER_MARK {
            return None;
        }
        match step {
            1 => Some(Self::Offer),
            2 => Some(Self::Switch),
            3 => Some(Self::Refusal(*detail)),
            _ => None,
        }
    }

    /// The ping that says it.
    pub fn encode(self) -> [u8; BrokerHeader::SIZE] {
        let (step, detail) = match self {
            Self::Offer => (1, 0),
            Self::Switch => (2, 0),
            Self::Refusal(reason) => (3, reason),
            Self::Gap(frames) => {
                let [a, b, c, d] = frames.to_le_bytes();
                return [0, a, b, c, d, GAP_MARK];
            }
        };
        let [b, u, s] = *BROKER_MARK;
        [0, b, u, s, step, detail]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{BROKER_PING, CLIENT_PING};

    #[test]
    fn what_is_said_is_understood_and_a_plain_ping_says_nothing() {
        for tag in [ClientTag::Request { version: 1, features: 0x1234 }, ClientTag::Ready, ClientTag::Failed] {
            assert_eq!(ClientTag::parse(&tag.encode()), Some(tag));
        }
        for tag in [BrokerTag::Offer, BrokerTag::Switch, BrokerTag::Refusal(7), BrokerTag::Gap(70_000)] {
            assert_eq!(BrokerTag::parse(&tag.encode()), Some(tag));
        }
        assert_eq!(ClientTag::Request { version: 1, features: 0 }.encode(), *b"BUSW\0\x01\x01\0\0");
        assert_eq!(BrokerTag::Offer.encode(), *b"\0BUS\x01\0");
        assert_eq!(BrokerTag::Gap(0x0102).encode(), *b"\0\x02\x01\0\0G");
        assert_eq!(ClientTag::parse(&CLIENT_PING), None);
        assert_eq!(BrokerTag::parse(&BROKER_PING), None);
        assert_eq!(ClientTag::parse(b"BUSW\0\x09\x01\0\0"), None);
    }
}

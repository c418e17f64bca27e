//! What happens to frames for a client that reads too slowly.

#![cfg_attr(
    not(all(feature = "rpc", feature = "broker")),
    allow(dead_code, reason = "policies are asked for by RPC, and a broker has more to do with them")
)]

mod queue;
mod rules;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub(crate) use queue::{PolicyQueue, Pushed, Queued};
#[cfg(feature = "broker")]
pub(crate) use rules::MAX_FILTERS;
pub(crate) use rules::Rules;

/// What happens to a frame whose receiver has no room for it.
///
/// Every frame that is dropped is counted for its receiver (`lost_frames` in `client.list`), and the receiver finds the
/// gap: [`Frame::lost_before`](crate::Frame::lost_before).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SlowPolicy {
    /// The receiver is cut (what waits for it is lost); it may connect again. The default, and what BUS/RT does.
    #[default]
    Cut,
    /// The frame at hand is dropped.
    DropNewest,
    /// The oldest frames that wait are dropped for it.
    DropOldest,
    /// At most one publication of each topic waits: a newer one takes the place of an older one, also while there is
    /// room. Order between topics is that in which their first ones came. Messages, broadcasts and the broker's
    /// announcements (`.broker/...`): as [`DropOldest`](Self::DropOldest).
    Latest,
    /// The sender waits for room, and its confirmation with it; it sends nothing else meanwhile. It gives up when the
    /// receiver has taken nothing for so long: then the frame is dropped, and until the receiver takes something, other
    /// frames are without a wait, unless they may wait for longer.
    ///
    /// - What a receiver takes is seen in steps, and a bound should be several times what it needs for one: a few frames on
    ///   the lane and of a client in the broker's process, some 64 KiB over a UNIX socket, and as much as the systems at
    ///   both ends make of it over TCP.
    /// - Senders wait for what the client reads, and it stops reading when its receive queue is full: its own
    ///   confirmations are behind the frames that it does not read. **Whoever receives must not wait for a confirmation
    ///   between two frames**: with a full queue it comes only when room is made, by nobody, and the operation ends with
    ///   [`Timeout`](crate::client::SendError::Timeout). Send without a confirmation (`QoS::No`) there, await it in another
    ///   task than the one that receives, or send by a second client. In-process clients are not affected.
    /// - Beside `Rpc`, which takes the frames of its client into a queue of its own, nobody waits for the application: a
    ///   frame for which that queue has no room is dropped, as with [`DropNewest`](Self::DropNewest). The broker's part
    ///   holds: senders wait for a process that does not read.
    Wait(Duration),
}

impl SlowPolicy {
    /// Whether a frame that waits may be dropped for a newer one.
    pub(crate) fn may_drop_waiting(self) -> bool {
        matches!(self, Self::DropOldest | Self::Latest)
    }
}

/// A text that names no policy.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be cut, drop-newest, drop-oldest, latest or wait:SECONDS (more than 0, at most 3600)")]
pub struct PolicyFault;

busway_net::debug_as_display!(PolicyFault);

impl FromStr for SlowPolicy {
    type Err = PolicyFault;

    /// `cut`, `drop-newest`, `drop-oldest`, `latest`, or `wait:SECONDS` (such as `wait:0.5`).
    fn from_str(text: &str) -> Result<Self, PolicyFault> {
        match text {
            "cut" => Ok(Self::Cut),
            "drop-newest" => Ok(Self::DropNewest),
            "drop-oldest" => Ok(Self::DropOldest),
            "latest" => Ok(Self::Latest),
            _ => {
                let seconds: f64 = text.strip_prefix("wait:").and_then(|text| text.parse().ok()).ok_or(PolicyFault)?;
                match Duration::try_from_secs_f64(seconds) {
                    Ok(bound) if !bound.is_zero() && bound <= Duration::from_secs(3600) => Ok(Self::Wait(bound)),
                    _ => Err(PolicyFault),
                }
            }
        }
    }
}

impl fmt::Display for SlowPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => formatter.write_str("cut"),
            Self::DropNewest => formatter.write_str("drop-newest"),
            Self::DropOldest => formatter.write_str("drop-oldest"),
            Self::Latest => formatter.write_str("latest"),
            Self::Wait(bound) => write!(formatter, "wait:{}", bound.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        let wait = SlowPolicy::Wait(Duration::from_millis(250));
        for policy in [SlowPolicy::Cut, SlowPolicy::DropNewest, SlowPolicy::DropOldest, SlowPolicy::Latest, wait] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert_eq!("wait:0.25".parse(), Ok(wait));
        for wrong in ["", "Cut", "wait", "wait:", "wait:0", "wait:-1", "wait:NaN", "wait:inf", "wait:1e9", "drop"] {
            assert_eq!(wrong.parse::<SlowPolicy>(), Err(PolicyFault), "{wrong}");
        }
    }
}

//! How a client is connected, and whether it is on the lane.

use std::fmt;
use std::time::Duration;

use busway_net::link::Endpoint;

use super::{Client, Link};
use crate::lane::LaneOff;

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// In the broker's own process.
    Internal,
    /// By shared memory, with a UNIX socket beside it.
    Lane,
    /// By a UNIX socket.
    Unix,
    /// By TCP.
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Internal => "internal",
            Self::Lane => "lane",
            Self::Unix => "unix",
            Self::Tcp => "tcp",
        })
    }
}

impl Client {
    /// How this client is connected at this moment. A local client begins on its socket and moves to the lane as soon
    /// as that is negotiated, if the broker has one for it: the first frames after connecting go by the socket, and
    /// [`loan`](Client::loan) gives heap memory, unless the program [waits](Client::wait_for_lane).
    pub fn transport(&self) -> Transport {
        match &self.inner.link {
            Link::Remote(remote) => match remote.endpoint() {
                Endpoint::Tcp(_) => Transport::Tcp,
                Endpoint::Unix(_) if remote.lane_off_reason().is_none() => Transport::Lane,
                Endpoint::Unix(_) => Transport::Unix,
            },
            #[cfg(feature = "broker")]
            Link::Local(_) => Transport::Internal,
        }
    }

    /// Why a local client is on its socket and not on the lane: [`LaneOff::Negotiating`] from when it connects until
    /// the broker has answered. `None` for clients that are on the lane, and for those that have no socket of this
    /// machine.
    pub fn lane_off_reason(&self) -> Option<LaneOff> {
        match &self.inner.link {
            Link::Remote(remote) if matches!(remote.endpoint(), Endpoint::Unix(_)) => remote.lane_off_reason(),
            _ => None,
        }
    }

    /// Waits until this client is on the lane, for so long at most. Nobody has to: what is sent before goes by the
    /// socket. A client in the broker's own process shares memory with it anyway, and does not wait.
    ///
    /// # Errors
    /// At once why there will be no lane. When the time is over, why there is none yet: [`LaneOff::Negotiating`], which
    /// is all that is ever known of a broker that knows nothing of lanes.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn camera() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = busway::Client::connect("/run/busway/busway.sock", "camera").await?;
    /// if let Err(reason) = client.wait_for_lane(std::time::Duration::from_secs(1)).await {
    ///     eprintln!("payloads are copied: {reason}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_for_lane(&self, timeout: Duration) -> Result<(), LaneOff> {
        match &self.inner.link {
            Link::Remote(remote) if matches!(remote.endpoint(), Endpoint::Unix(_)) => {
                remote.wait_for_lane(timeout).await
            }
            Link::Remote(_) => Err(LaneOff::NotAsked),
            #[cfg(feature = "broker")]
            Link::Local(_) => Ok(()),
        }
    }
}

//! Where the router's frames go.

use std::task::{Context, Poll};
use std::time::Duration;

use busway_net::link::{Level, OutboxLimits, Refused, Touch};
use busway_net::wire::ResultCode;
use tokio::sync::Notify;

use super::LaneOff;
use super::frame_run::FrameRun;
use super::outgoing::Outgoing;
use crate::policy::SlowPolicy;

/// Why a sink did not take a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// It is full, and the peer is to be cut for it.
    Full,
    /// It is full, and the frame is lost.
    Dropped,
    /// It is full, and the sender may wait for so long.
    Wait(Duration),
    /// The peer has gone.
    Closed,
}

impl From<Refused> for Declined {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Closed | Refused::Switched => Self::Closed,
        }
    }
}

/// Where a peer's frames go.
pub(crate) trait Sink: Send + Sync {
    /// Takes a frame, without waiting. `token` names the batch; who gets [`Touch::First`] flushes when it is over.
    fn offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Declined>;

    /// Takes frames that have nothing of their own but these payloads, as many as there is room for: as
    /// [`offer`](Sink::offer) for each, in one go. Says how many: none, if there is no better way than one by one. The
    /// others are to be offered then.
    fn offer_run(&self, _token: u64, _frame: &Outgoing<'_>, _run: &FrameRun<'_>) -> (usize, Touch) {
        (0, Touch::Again)
    }

    /// Whether it asks for each frame what is to be done when there is no room.
    fn has_policies(&self) -> bool {
        false
    }

    /// Takes an acknowledgement, in order with the frames (ahead of those that a slow client's policies keep back).
    fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Declined>;

    /// Takes a keep-alive, if nothing else is on its way.
    fn ping(&self) {}

    /// Does what has to be done now and then.
    fn tidy(&self) {}

    /// Hands on what was taken, without blocking.
    fn flush(&self);

    /// Takes no more; drops what waits and says what that was.
    fn close(&self) -> Level;

    /// Whether the peer has gone already, and what it sent is yet to be read.
    fn has_left(&self) -> bool {
        false
    }

    /// Whether a payload that lies in pipes can go on from there: others are copied first.
    fn takes_pipes(&self) -> bool {
        false
    }

    /// Ready when less than so many bytes wait, or the connection has ended; for sinks that take pipes.
    fn poll_relief(&self, _context: &mut Context<'_>, _bytes: usize) -> Poll<()> {
        Poll::Ready(())
    }

    /// What waits and what was taken.
    fn level(&self) -> Level;

    /// Whether the peer has a lane.
    fn lane_status(&self) -> LaneStatus {
        LaneStatus::NotLocal
    }

    /// What happens from now on to frames for which there is no room: to publications that match a filter, or to all
    /// that no filter names. Says whether it is noted.
    fn set_policy(&self, _filter: Option<&str>, _policy: SlowPolicy) -> bool {
        false
    }

    /// A filter has no policy of its own any longer.
    fn forget_policy(&self, _filter: &str) {}

    /// Tells those that wait for room that there is some.
    fn room(&self) -> Option<&Notify> {
        None
    }

    /// Looks how far the receiver has come: a number that stands still as long as it takes nothing.
    fn progress(&self) -> u64 {
        self.level().progress
    }

    /// Somebody has waited for so long in vain: nobody else has to until the receiver takes something, unless for longer.
    fn stall(&self, _bound: Duration) {}

    /// A frame for which its sender should have waited is lost without that: it leaves a gap.
    fn miss(&self) {}

    /// Frames that it had taken and dropped for newer ones.
    fn dropped(&self) -> u64 {
        0
    }
}

/// The sink of a client in another process, as far as its policies need it.
pub(crate) trait RemoteSink: Sink + Clone + 'static {
    /// Ready with `true` when less than `window` waits, with `false` when the connection has ended.
    fn poll_below(&self, context: &mut Context<'_>, window: OutboxLimits) -> Poll<bool>;

    /// Moves on what there is room for already: of little room nobody tells.
    fn move_on(&self);

    /// Senders are to wait for this client: it is to be seen soon that it reads.
    fn narrow(&self);

    /// Tells the client how many frames it has lost before the next one.
    fn tell_gap(&self, frames: u32);
}

/// Whether a peer has a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "shm"), allow(dead_code, reason = "without the lane nobody asks why there is none"))]
pub(crate) enum LaneStatus {
    /// It is not on a UNIX socket.
    NotLocal,
    /// It has none, for this reason.
    Off(LaneOff),
    /// It has one: payloads that it got in place, and payloads that could have been and were copied.
    #[cfg(feature = "shm")]
    On { in_place: u64, copied: u64 },
}

impl LaneStatus {
    /// Why a local peer has none.
    pub(crate) fn off_reason(self) -> Option<LaneOff> {
        match self {
            Self::Off(reason) => Some(reason),
            _ => None,
        }
    }

    /// Payloads in place and copied, of a peer that has one.
    pub(crate) fn counts(self) -> Option<(u64, u64)> {
        match self {
            #[cfg(feature = "shm")]
            Self::On { in_place, copied } => Some((in_place, copied)),
            _ => None,
        }
    }
}

//! What stands in a receive queue, and what is counted of it: all that its lock guards.

use std::time::Duration;

use super::frame_store::FrameStore;
use super::queue_rules::QueueRules;
use crate::frame::Frame;
use crate::policy::{Pushed, SlowPolicy};

/// What a full queue does with a frame whose sender is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtWait {
    /// Takes it; the connection is not read from until there is room.
    Take,
    /// Asks the sender to wait.
    #[cfg(feature = "broker")]
    Ask,
    /// Drops it.
    #[cfg(feature = "rpc")]
    Drop,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) frames: FrameStore,
    at_wait: AtWait,
    /// Dropped, here or by the broker, ever.
    pub(super) lost: u64,
    /// Dropped after they had been taken.
    pub(super) dropped: u64,
    pub(super) arrived: u64,
    pub(super) taken_frames: u64,
    pub(super) taken_bytes: u64,
    /// Frames that had arrived up to the one taken last, lost ones included.
    pub(super) position: u64,
    pub(super) closed: bool,
    /// The longest bound for which a sender has waited in vain since something was taken.
    pub(super) stalled_for: Duration,
}

/// A frame for which there is no room.
#[derive(Debug)]
pub(crate) enum Unpushed {
    /// It is lost and counted; where there are no policies, it comes back.
    #[cfg_attr(not(feature = "rpc"), allow(dead_code, reason = "only the RPC layer answers what it cannot take"))]
    Lost(Option<Box<Frame>>),
    /// Its sender may wait for so long.
    #[cfg(feature = "broker")]
    Wait(Duration),
}

impl State {
    /// An empty one.
    pub(super) fn new(frames: FrameStore, at_wait: AtWait) -> Self {
        Self {
            frames,
            at_wait,
            lost: 0,
            dropped: 0,
            arrived: 0,
            taken_frames: 0,
            taken_bytes: 0,
            position: 0,
            closed: false,
            stalled_for: Duration::ZERO,
        }
    }

    /// Takes a frame, or does what the policies say.
    ///
    /// # Errors
    /// When there is no room.
    #[inline]
    pub(super) fn push(&mut self, mut frame: Frame, rules: &QueueRules) -> Result<(), Unpushed> {
        // What was dropped before it, and is counted where it was.
        let gap = frame.take_lost_before();
        self.arrived += gap;
        self.frames.add_gap(gap);
        let policy = rules.of(&frame);
        if self.closed || (policy.is_none() && !self.frames.has_room(&frame)) {
            return Err(self.refuse(frame));
        }
        self.arrived += 1;
        self.taken_frames += 1;
        self.taken_bytes += frame.payload.len() as u64;
        match policy {
            None => {
                self.frames.append(frame);
                Ok(())
            }
            Some(policy) => self.push_by(frame, policy),
        }
    }

    /// As the policy says; the frame has been counted as taken.
    #[cold]
    fn push_by(&mut self, frame: Frame, policy: SlowPolicy) -> Result<(), Unpushed> {
        let length = frame.payload.len() as u64;
        let refused = match self.frames.ruled().push(frame, policy) {
            Pushed::Taken { dropped } => {
                self.lost += dropped;
                self.dropped += dropped;
                return Ok(());
            }
            Pushed::Full(frame) if self.at_wait == AtWait::Take => {
                self.frames.ruled().append(frame, policy);
                return Ok(());
            }
            Pushed::Dropped { older } => {
                self.lost += older + 1;
                self.dropped += older;
                Unpushed::Lost(None)
            }
            #[cfg(feature = "broker")]
            Pushed::Full(_) if self.at_wait == AtWait::Ask => match policy {
                SlowPolicy::Wait(bound) if bound > self.stalled_for => {
                    self.arrived -= 1;
                    Unpushed::Wait(bound)
                }
                _ => self.lose_arrived(),
            },
            Pushed::Full(_) => self.lose_arrived(),
        };
        self.taken_frames -= 1;
        self.taken_bytes -= length;
        Err(refused)
    }

    /// A frame that there is no room for.
    #[cold]
    fn refuse(&mut self, frame: Frame) -> Unpushed {
        self.lose(1);
        Unpushed::Lost(Some(Box::new(frame)))
    }

    /// A frame that has arrived is dropped behind the last one.
    fn lose_arrived(&mut self) -> Unpushed {
        self.arrived -= 1;
        self.lose(1);
        Unpushed::Lost(None)
    }

    /// Counts frames that were dropped behind the last one.
    pub(super) fn lose(&mut self, frames: u64) {
        self.arrived += frames;
        self.lost += frames;
        self.frames.add_gap(frames);
    }
}

//! An in-process client's queue as a sink.

use std::sync::Arc;
use std::time::Duration;

use busway_net::link::{Level, Touch};
use busway_net::wire::ResultCode;
use tokio::sync::Notify;

use super::{Declined, Outgoing, Routed, ShmTrust, Sink};
use crate::client::queue::ReceiveQueue;
use crate::client::queue_state::Unpushed;
use crate::frame::Frame;
use crate::payload::Payload;
use crate::policy::SlowPolicy;

/// Who reads in this process, and whom it trusts.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "shm"), allow(dead_code, reason = "only payloads in shared memory need trust"))]
pub(crate) struct Reader {
    /// The peer's number.
    pub(crate) receiver: u64,
    pub(crate) trust: ShmTrust,
    /// The user of this process.
    pub(crate) user: u32,
}

/// An in-process client's sink.
pub(crate) struct QueueSink {
    pub(crate) queue: ReceiveQueue,
    #[cfg_attr(not(feature = "shm"), allow(dead_code, reason = "only payloads in shared memory need trust"))]
    pub(crate) reader: Reader,
}

impl QueueSink {
    fn payload(&self, content: &Routed<'_>) -> Payload {
        #[cfg(feature = "shm")]
        if let Routed::Lane(place) = content
            && self.reader.trust.allows(place.payload().user(), self.reader.user)
            && let Some(pin) = place.pin(self.reader.receiver)
        {
            return Payload::in_place(Arc::new(pin));
        }
        content.owned_bytes()
    }
}

impl Sink for QueueSink {
    fn offer(&self, _token: u64, frame: &Outgoing<'_>) -> Result<Touch, Declined> {
        let payload = if frame.prefix.is_empty() {
            self.payload(&frame.content)
        } else {
            frame.content.with_prefix(frame.prefix).into()
        };
        let frame = Frame::new(frame.kind, frame.realtime, Arc::clone(frame.names), payload);
        match self.queue.push(frame) {
            Ok(()) => Ok(Touch::Again),
            // It is part of the program, and is not cut.
            Err(Unpushed::Lost(_)) => Err(Declined::Dropped),
            Err(Unpushed::Wait(bound)) => Err(Declined::Wait(bound)),
        }
    }

    fn has_policies(&self) -> bool {
        self.queue.rules().is_set()
    }

    fn acknowledge(&self, _token: u64, _op_id: u32, _code: ResultCode) -> Result<Touch, Declined> {
        // An in-process sender learns the code from the call itself.
        Ok(Touch::Again)
    }

    fn flush(&self) {}

    fn close(&self) -> Level {
        self.queue.close();
        self.level()
    }

    fn level(&self) -> Level {
        let level = self.queue.level();
        Level {
            frames: level.frames,
            bytes: level.bytes,
            taken_frames: level.taken_frames,
            taken_bytes: level.taken_bytes,
            progress: level.position,
        }
    }

    fn set_policy(&self, filter: Option<&str>, policy: SlowPolicy) -> bool {
        let is_set = self.queue.rules().set(filter, policy);
        // Who waits for room may no longer have to.
        self.queue.room().notify_waiters();
        is_set
    }

    fn forget_policy(&self, filter: &str) {
        self.queue.rules().remove(filter);
        self.queue.room().notify_waiters();
    }

    fn room(&self) -> Option<&Notify> {
        Some(self.queue.room())
    }

    fn stall(&self, bound: Duration) {
        self.queue.stall(bound);
    }

    fn miss(&self) {
        self.queue.miss();
    }

    fn dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

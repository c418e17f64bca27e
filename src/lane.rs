//! THE SEAM: where sockets and, one day, shared memory meet.
//!
//! Everything that can take frames from the router is a [`Sink`]. A socket's sink is an outbox, an in-process
//! client's a queue; the shared-memory lane will be a third and bring nothing else into the broker. The rules that
//! make this possible are kept by the tests at the end of this file: routing runs on any thread, also one without a
//! runtime, the set of touched sinks is a parameter of it, and a payload is an object whose memory the router never
//! looks at.

use std::sync::Arc;

use busway_net::link::{Batch, Level, Outbox, Refused, Touch};
use busway_net::wire::{BROKER_PING, FrameKind, ResultCode, encode_acknowledgement, encode_broker_head};

use crate::client::queue::ReceiveQueue;
use crate::frame::Frame;
use crate::names::ClientName;
use crate::payload::{Content, Payload};

/// A body up to this size is copied behind its head: cheaper than sharing it.
pub(crate) const COPY_MAX: usize = 4 << 10;

/// A frame on its way from the router to a sink.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) realtime: bool,
    pub(crate) sender: &'a ClientName,
    pub(crate) topic: Option<&'a Arc<str>>,
    /// Bytes of ours before the payload.
    pub(crate) prefix: &'a [u8],
    /// Borrowed up to [`COPY_MAX`], a shared payload above.
    pub(crate) content: Content<'a>,
}

/// Where a peer's frames go.
pub(crate) trait Sink: Send + Sync {
    /// Takes a frame, without waiting. `token` names the batch; who gets [`Touch::First`] flushes when it is over.
    fn offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Refused>;

    /// Takes an acknowledgement, in order with the frames.
    fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Refused>;

    /// Takes a keep-alive, if nothing else is on its way.
    fn ping(&self);

    /// Hands on what was taken, without blocking.
    fn flush(&self);

    /// Takes no more; drops what waits and says what that was.
    fn close(&self) -> Level;

    /// What waits and what was taken.
    fn level(&self) -> Level;

    /// Whether the peer's slowness ends its connection (it does not for a part of this program).
    fn is_cut_when_full(&self) -> bool;
}

/// A socket's sink.
pub(crate) struct SocketSink(pub(crate) Arc<Outbox>);

impl Sink for SocketSink {
    fn offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Refused> {
        self.0.offer(token, |batch| write_frame(batch, frame))
    }

    fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Refused> {
        self.0.offer(token, |batch| batch.inline().extend_from_slice(&encode_acknowledgement(op_id, code)))
    }

    fn ping(&self) {
        if self.0.level().bytes == 0 && self.0.offer(0, |batch| batch.inline().extend_from_slice(&BROKER_PING)).is_ok()
        {
            self.0.flush();
        }
    }

    fn flush(&self) {
        self.0.flush();
    }

    fn close(&self) -> Level {
        self.0.close()
    }

    fn level(&self) -> Level {
        self.0.level()
    }

    fn is_cut_when_full(&self) -> bool {
        true
    }
}

fn write_frame(batch: &mut Batch, frame: &Outgoing<'_>) {
    let names = (frame.sender.as_bytes(), frame.topic.map(|topic| topic.as_bytes()));
    let length = frame.prefix.len() + frame.content.len();
    encode_broker_head(batch.inline(), (frame.kind, frame.realtime), names, length);
    batch.inline().extend_from_slice(frame.prefix);
    match &frame.content {
        Content::Owned(payload) if payload.len() > COPY_MAX => batch.push_body(payload.body()),
        content => batch.inline().extend_from_slice(content.as_slice()),
    }
}

/// An in-process client's sink.
pub(crate) struct QueueSink(pub(crate) ReceiveQueue);

impl Sink for QueueSink {
    fn offer(&self, _token: u64, frame: &Outgoing<'_>) -> Result<Touch, Refused> {
        let payload = if frame.prefix.is_empty() {
            frame.content.clone().into_payload()
        } else {
            Payload::from([frame.prefix, frame.content.as_slice()].concat())
        };
        let frame = Frame {
            kind: frame.kind,
            realtime: frame.realtime,
            sender: frame.sender.shared().clone(),
            topic: frame.topic.cloned(),
            payload,
            lost_before: 0,
        };
        self.0.push(frame).map(|()| Touch::Again).map_err(|_| Refused::Full)
    }

    fn acknowledge(&self, _token: u64, _op_id: u32, _code: ResultCode) -> Result<Touch, Refused> {
        // An in-process sender learns the code from the call itself.
        Ok(Touch::Again)
    }

    fn ping(&self) {}

    fn flush(&self) {}

    fn close(&self) -> Level {
        self.0.close();
        self.level()
    }

    fn level(&self) -> Level {
        let level = self.0.level();
        Level {
            frames: level.frames,
            bytes: level.bytes,
            taken_frames: level.taken_frames,
            taken_bytes: level.taken_bytes,
            progress: 0,
        }
    }

    fn is_cut_when_full(&self) -> bool {
        false
    }
}

//! Where the router's frames go.

use std::sync::Arc;

use busway_net::link::{Batch, Level, Outbox, Refused, Touch};
use busway_net::wire::{BROKER_PING, FrameKind, ResultCode, encode_acknowledgement, encode_broker_head};

#[cfg(feature = "shm")]
use super::account::{Incoming, Pin};
use super::{COPY_MAX, LaneOff, ShmTrust};
use crate::client::queue::ReceiveQueue;
use crate::frame::Frame;
use crate::names::ClientName;
use crate::payload::{Content, Payload};

/// A frame on its way from the router to a sink.
#[derive(Clone)]
pub(crate) struct Outgoing<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) realtime: bool,
    pub(crate) sender: &'a ClientName,
    pub(crate) topic: Option<&'a Arc<str>>,
    /// Bytes of ours before the payload.
    pub(crate) prefix: &'a [u8],
    /// Borrowed up to [`COPY_MAX`], shared above.
    pub(crate) content: Routed<'a>,
}

/// A payload on its way through the router.
#[derive(Clone)]
pub(crate) enum Routed<'a> {
    /// In a read buffer.
    Borrowed(&'a [u8]),
    /// Memory of this process.
    Owned(Payload),
    /// In the arena of its sender, who could change it: never looked at, only copied or handed on.
    #[cfg(feature = "shm")]
    Lane(Arc<Incoming>),
}

impl Routed<'_> {
    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Borrowed(bytes) => bytes.len(),
            Self::Owned(payload) => payload.len(),
            #[cfg(feature = "shm")]
            Self::Lane(incoming) => incoming.len(),
        }
    }

    /// In memory that nobody else can change; bytes of another process are copied.
    pub(crate) fn owned_bytes(&self) -> Payload {
        match self {
            Self::Borrowed(bytes) => (*bytes).into(),
            Self::Owned(payload) => payload.clone(),
            #[cfg(feature = "shm")]
            Self::Lane(incoming) => {
                let mut bytes = Vec::with_capacity(incoming.len());
                incoming.copy_all(&mut bytes);
                bytes.into()
            }
        }
    }

    /// As content that can be looked at.
    pub(crate) fn content(&self) -> Content<'_> {
        match self {
            Self::Borrowed(bytes) => Content::Borrowed(bytes),
            Self::Owned(payload) => Content::Owned(payload.clone()),
            #[cfg(feature = "shm")]
            Self::Lane(_) => Content::Owned(self.owned_bytes()),
        }
    }

    /// The bytes behind a prefix.
    pub(crate) fn with_prefix(&self, prefix: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(prefix.len() + self.len());
        bytes.extend_from_slice(prefix);
        match self {
            Self::Borrowed(content) => bytes.extend_from_slice(content),
            Self::Owned(payload) => bytes.extend_from_slice(payload),
            #[cfg(feature = "shm")]
            Self::Lane(incoming) => bytes.extend_from_slice(&self.owned_bytes()[..incoming.len()]),
        }
        bytes
    }
}

impl<'a> From<Content<'a>> for Routed<'a> {
    fn from(content: Content<'a>) -> Self {
        match content {
            Content::Borrowed(bytes) => Self::Borrowed(bytes),
            Content::Owned(payload) => Self::Owned(payload),
        }
    }
}

/// Where a peer's frames go.
pub(crate) trait Sink: Send + Sync {
    /// Takes a frame, without waiting. `token` names the batch; who gets [`Touch::First`] flushes when it is over.
    fn offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Refused>;

    /// Takes an acknowledgement, in order with the frames.
    fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Refused>;

    /// Takes a keep-alive, if nothing else is on its way.
    fn ping(&self) {}

    /// Does what has to be done now and then.
    fn tidy(&self) {}

    /// Hands on what was taken, without blocking.
    fn flush(&self);

    /// Takes no more; drops what waits and says what that was.
    fn close(&self) -> Level;

    /// What waits and what was taken.
    fn level(&self) -> Level;

    /// Whether the peer's slowness ends its connection (it does not for a part of this program).
    fn is_cut_when_full(&self) -> bool;

    /// Whether the peer has a lane.
    fn lane_status(&self) -> LaneStatus {
        LaneStatus::NotLocal
    }
}

/// Whether a peer has a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneStatus {
    /// It is not on a UNIX socket.
    NotLocal,
    /// It has none, for this reason.
    Off(LaneOff),
    /// It has one: payloads that it got in place, and payloads that could have been and were copied.
    #[cfg(feature = "shm")]
    On { in_place: u64, copied: u64 },
}

/// A socket's sink.
pub(crate) struct SocketSink {
    pub(crate) outbox: Arc<Outbox>,
    /// The peer's number, under which it holds payloads of others.
    pub(crate) receiver: u64,
}

impl Sink for SocketSink {
    fn offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Refused> {
        self.outbox.offer(token, |batch| write_frame(batch, frame, self.receiver))
    }

    fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Refused> {
        self.outbox.offer(token, |batch| batch.inline().extend_from_slice(&encode_acknowledgement(op_id, code)))
    }

    fn ping(&self) {
        let ping = |batch: &mut Batch| batch.inline().extend_from_slice(&BROKER_PING);
        if self.outbox.level().bytes == 0 {
            match self.outbox.offer(0, ping) {
                Err(Refused::Switched) => self.outbox.offer_control(ping),
                offered => offered.is_ok(),
            };
            self.outbox.flush();
        }
    }

    fn flush(&self) {
        self.outbox.flush();
    }

    fn close(&self) -> Level {
        self.outbox.close()
    }

    fn level(&self) -> Level {
        self.outbox.level()
    }

    fn is_cut_when_full(&self) -> bool {
        true
    }
}

#[cfg_attr(not(feature = "shm"), expect(unused_variables, reason = "only payloads in shared memory are held"))]
fn write_frame(batch: &mut Batch, frame: &Outgoing<'_>, receiver: u64) {
    let names = (frame.sender.as_bytes(), frame.topic.map(|topic| topic.as_bytes()));
    let length = frame.prefix.len() + frame.content.len();
    encode_broker_head(batch.inline(), (frame.kind, frame.realtime), names, length);
    batch.inline().extend_from_slice(frame.prefix);
    match &frame.content {
        Routed::Borrowed(bytes) => batch.inline().extend_from_slice(bytes),
        Routed::Owned(payload) if payload.len() > COPY_MAX => batch.push_body(payload.body()),
        Routed::Owned(payload) => batch.inline().extend_from_slice(payload),
        #[cfg(feature = "shm")]
        Routed::Lane(incoming) if incoming.len() > COPY_MAX => match incoming.pin(receiver) {
            Some(pin) => batch.push_body(busway_net::link::Body::Object(Arc::new(pin))),
            None => batch.push_body(frame.content.owned_bytes().body()),
        },
        #[cfg(feature = "shm")]
        Routed::Lane(incoming) => incoming.copy_all(batch.inline()),
    }
}

/// Written by the kernel from where it lies; nobody here looks at it.
#[cfg(feature = "shm")]
impl busway_net::link::BodyObject for Pin {
    fn len(&self) -> usize {
        self.payload().len()
    }

    fn write_to(
        &self,
        socket: std::os::fd::BorrowedFd<'_>,
        heads: &[std::io::IoSlice<'_>],
        position: usize,
    ) -> std::io::Result<usize> {
        self.send(socket, heads, position)
    }
}

#[cfg(feature = "shm")]
impl crate::payload::InPlace for Pin {
    fn as_slice(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Who reads in this process, and whom it trusts.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "shm"), expect(dead_code, reason = "only payloads in shared memory need trust"))]
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
    pub(crate) reader: Reader,
}

impl QueueSink {
    fn payload(&self, content: &Routed<'_>) -> Payload {
        #[cfg(feature = "shm")]
        if let Routed::Lane(incoming) = content
            && self.reader.trust.allows(incoming.user(), self.reader.user)
            && let Some(pin) = incoming.pin(self.reader.receiver)
        {
            return Payload::in_place(Arc::new(pin));
        }
        content.owned_bytes()
    }
}

impl Sink for QueueSink {
    fn offer(&self, _token: u64, frame: &Outgoing<'_>) -> Result<Touch, Refused> {
        let payload = if frame.prefix.is_empty() {
            self.payload(&frame.content)
        } else {
            frame.content.with_prefix(frame.prefix).into()
        };
        let frame = Frame {
            kind: frame.kind,
            realtime: frame.realtime,
            sender: frame.sender.shared().clone(),
            topic: frame.topic.cloned(),
            payload,
            lost_before: 0,
        };
        self.queue.push(frame).map(|()| Touch::Again).map_err(|_| Refused::Full)
    }

    fn acknowledge(&self, _token: u64, _op_id: u32, _code: ResultCode) -> Result<Touch, Refused> {
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
            progress: 0,
        }
    }

    fn is_cut_when_full(&self) -> bool {
        false
    }
}

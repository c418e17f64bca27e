//! A socket as a sink.

use std::sync::Arc;
use std::task::{Context, Poll};

use busway_net::link::{Batch, Body, BodyObject, Level, Outbox, OutboxLimits, Refused, Touch};
use busway_net::wire::{BROKER_PING, BrokerTag, Payloads, ResultCode, encode_acknowledgement, encode_broker_head};

#[cfg(feature = "shm")]
use super::account::Pin;
use super::{COPY_MAX, Declined, FrameRun, Outgoing, RemoteSink, Routed, Sink};

/// A socket's sink.
#[derive(Clone)]
pub(crate) struct SocketSink {
    pub(crate) outbox: Arc<Outbox>,
    /// The peer's number, under which it holds payloads of others.
    pub(crate) receiver: u64,
}

impl Sink for SocketSink {
    fn offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Declined> {
        self.try_offer(token, frame).map_err(Declined::from)
    }

    fn offer_run(&self, token: u64, frame: &Outgoing<'_>, run: &FrameRun<'_>) -> (usize, Touch) {
        self.try_offer_run(token, frame, run.payloads()).unwrap_or((0, Touch::Again))
    }

    fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Declined> {
        self.try_acknowledge(token, op_id, code).map_err(Declined::from)
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

    fn has_left(&self) -> bool {
        self.outbox.has_left()
    }

    fn takes_pipes(&self) -> bool {
        self.outbox.is_local()
    }

    fn poll_relief(&self, context: &mut Context<'_>, bytes: usize) -> Poll<()> {
        self.outbox.poll_below(context, OutboxLimits { frames: usize::MAX, bytes }).map(|_| ())
    }

    fn level(&self) -> Level {
        self.outbox.level()
    }
}

impl SocketSink {
    /// As [`Sink::offer`].
    pub(super) fn try_offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Refused> {
        if let Routed::Piped(piped) = frame.content
            && !self.outbox.is_local()
        {
            // Its receiver was on a UNIX socket when the payload began.
            piped.copy();
        }
        self.outbox.offer(token, |batch| write_frame(batch, frame, self.receiver))
    }

    /// As [`Sink::offer_run`].
    pub(super) fn try_offer_run(
        &self,
        token: u64,
        frame: &Outgoing<'_>,
        payloads: Payloads<'_>,
    ) -> Result<(usize, Touch), Refused> {
        let names = names_of(frame);
        let frames = payloads.iter().map(|payload| {
            move |batch: &mut Batch| {
                encode_broker_head(batch.inline(), (frame.kind, frame.realtime), names, payload.len());
                batch.inline().extend_from_slice(payload);
            }
        });
        self.outbox.offer_run(token, frames)
    }

    /// As [`Sink::acknowledge`].
    pub(super) fn try_acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Refused> {
        // It answers the peer's own operation. The connection is held when more than half of the outbox waits, so that
        // these are few; refused, they would cut a client for a large frame that it has sent to itself.
        self.outbox.offer_answer(token, |batch| batch.inline().extend_from_slice(&encode_acknowledgement(op_id, code)))
    }
}

impl RemoteSink for SocketSink {
    fn poll_below(&self, context: &mut Context<'_>, window: OutboxLimits) -> Poll<bool> {
        self.outbox.poll_below(context, window)
    }

    fn move_on(&self) {
        self.outbox.write_on();
    }

    fn narrow(&self) {
        self.outbox.narrow();
    }

    fn tell_gap(&self, frames: u32) {
        self.outbox.offer_control(|batch| batch.inline().extend_from_slice(&BrokerTag::Gap(frames).encode()));
    }
}

fn names_of<'a>(frame: &Outgoing<'a>) -> (&'a [u8], Option<&'a [u8]>) {
    (frame.names.sender.as_bytes(), frame.names.topic.as_ref().map(|topic| topic.as_bytes()))
}

#[cfg_attr(not(feature = "shm"), expect(unused_variables, reason = "only payloads in shared memory are held"))]
fn write_frame(batch: &mut Batch, frame: &Outgoing<'_>, receiver: u64) {
    let names = names_of(frame);
    let length = frame.prefix.len() + frame.content.len();
    encode_broker_head(batch.inline(), (frame.kind, frame.realtime), names, length);
    batch.inline().extend_from_slice(frame.prefix);
    match &frame.content {
        Routed::Borrowed(bytes) => batch.inline().extend_from_slice(bytes),
        Routed::Owned(payload) if payload.len() > COPY_MAX => batch.push_body(payload.body()),
        Routed::Owned(payload) => batch.inline().extend_from_slice(payload),
        Routed::Piped(piped) => batch.push_body(match piped.copied() {
            Some(copy) => Body::Bytes(copy.clone()),
            None => Body::Object(Arc::clone(*piped) as Arc<dyn BodyObject>),
        }),
        #[cfg(feature = "shm")]
        Routed::Lane(place) if place.payload().len() > COPY_MAX => match place.pin(receiver) {
            Some(pin) => batch.push_body(Body::Object(Arc::new(pin))),
            None => batch.push_body(frame.content.owned_bytes().body()),
        },
        #[cfg(feature = "shm")]
        Routed::Lane(place) => place.payload().copy_all(batch.inline()),
    }
}

/// Written by the kernel from where it lies; nobody here looks at it.
#[cfg(feature = "shm")]
impl BodyObject for Pin {
    fn len(&self) -> usize {
        self.payload().len()
    }

    fn write_to(
        &self,
        socket: std::os::fd::BorrowedFd<'_>,
        heads: &[std::io::IoSlice<'_>],
        range: std::ops::Range<usize>,
    ) -> std::io::Result<usize> {
        self.send(socket, heads, range)
    }
}

#[cfg(feature = "shm")]
impl crate::payload::InPlace for Pin {
    fn as_slice(&self) -> &[u8] {
        self.as_slice()
    }
}

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use busway_net::wire::{Operation, QoS};
    use busway_net::{Pool, wire::Limits};
    use parking_lot::Mutex;

    use busway_net::link::{Level, Refused, Touch};
    use busway_net::wire::{FrameKind, ResultCode};
    use std::sync::Arc;

    use super::*;
    use crate::broker::peer::{Peer, Transport};
    use crate::broker::registry::RegistryLimits;
    use crate::broker::router::{Request, Router, Source};
    use crate::broker::touched::Touched;
    use crate::names::ClientName;

    /// Kind, sender, topic and payload of a frame.
    type Taken = (FrameKind, String, Option<String>, Payload);

    /// A sink that is neither a socket nor a queue.
    #[derive(Default)]
    struct FakeSink {
        taken: Mutex<Vec<Taken>>,
        codes: Mutex<Vec<(u32, ResultCode)>>,
        last_token: Mutex<u64>,
        flushes: AtomicUsize,
        is_full: bool,
    }

    impl FakeSink {
        fn touch(&self, token: u64) -> Touch {
            let mut last = self.last_token.lock();
            if std::mem::replace(&mut *last, token) == token { Touch::Again } else { Touch::First }
        }
    }

    impl Sink for Arc<FakeSink> {
        fn offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Refused> {
            if self.is_full {
                return Err(Refused::Full);
            }
            let topic = frame.topic.map(ToString::to_string);
            let payload = frame.content.owned_bytes();
            self.taken.lock().push((frame.kind, frame.sender.to_string(), topic, payload));
            Ok(self.touch(token))
        }

        fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Refused> {
            self.codes.lock().push((op_id, code));
            Ok(self.touch(token))
        }

        fn flush(&self) {
            self.flushes.fetch_add(1, Ordering::Relaxed);
        }

        fn close(&self) -> Level {
            Level::default()
        }

        fn level(&self) -> Level {
            Level::default()
        }

        fn is_cut_when_full(&self) -> bool {
            true
        }
    }

    fn router() -> Router {
        let registry = RegistryLimits { clients: 10, subscriptions: 10, force_register: false };
        Router::new(Limits::default(), registry, Pool::default())
    }

    fn register(router: &Router, name: &str, sink: &Arc<FakeSink>) -> Arc<Peer> {
        let name = ClientName::parse(name, &Limits::default()).unwrap();
        let peer = Peer::new(router.next_id(), name, (Transport::Internal, None), Box::new(Arc::clone(sink)));
        let mut touched = Touched::new(peer.id);
        router.register(&peer, &mut touched).unwrap();
        router.finish(&mut touched);
        peer
    }

    fn request(operation: Operation, qos: QoS, address: &str) -> Request<'_> {
        Request { op_id: 7, operation, qos, address: address.as_bytes(), receiver: &[] }
    }

    #[test]
    fn routing_needs_no_runtime_and_flushes_each_touched_sink_once_a_batch() {
        let router = router();
        let (sender, receiver) = (Arc::new(FakeSink::default()), Arc::new(FakeSink::default()));
        let (from, to) = (register(&router, "from", &sender), register(&router, "to", &receiver));
        let flushed_before = (sender.flushes.load(Ordering::Relaxed), receiver.flushes.load(Ordering::Relaxed));
        assert!(tokio::runtime::Handle::try_current().is_err());
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut touched = Touched::new(to.id);
                let mut source = Source::new(Arc::clone(&to));
                let subscribe = request(Operation::Subscribe, QoS::Processed, "");
                router.route(&mut source, subscribe, Routed::Borrowed(b"a/#"), &mut touched).unwrap();
                router.finish(&mut touched);
            });
        });
        assert_eq!(*receiver.codes.lock(), [(7, ResultCode::OK)]);
        let large = Payload::from(vec![7; 1 << 20]);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut touched = Touched::new(from.id);
                let mut source = Source::new(Arc::clone(&from));
                for _ in 0..3 {
                    let publish = request(Operation::Publish, QoS::Processed, "a/b");
                    router.route(&mut source, publish, Routed::Owned(large.clone()), &mut touched).unwrap();
                }
                let message = request(Operation::Message, QoS::No, "to");
                router.route(&mut source, message, Routed::Borrowed(b"hi"), &mut touched).unwrap();
                assert_eq!(receiver.taken.lock().len(), 4, "offering does not wait for the end of the batch");
                router.finish(&mut touched);
            });
        });
        let taken = receiver.taken.lock();
        for (kind, sender, topic, payload) in &taken[..3] {
            assert_eq!((*kind, sender.as_str(), topic.as_deref()), (FrameKind::Publication, "from", Some("a/b")));
            assert_eq!(payload.as_ptr(), large.as_ptr(), "a large payload is handed on, not copied");
        }
        assert_eq!((taken[3].0, &*taken[3].3), (FrameKind::Message, b"hi".as_slice()));
        assert_eq!(sender.codes.lock().len(), 3);
        assert_eq!(receiver.flushes.load(Ordering::Relaxed) - flushed_before.1, 2, "its own batch and the sender's");
        assert_eq!(sender.flushes.load(Ordering::Relaxed) - flushed_before.0, 1);
    }

    #[test]
    fn a_sink_that_is_full_is_cut_and_the_loss_is_counted_for_it() {
        let router = router();
        let full = Arc::new(FakeSink { is_full: true, ..FakeSink::default() });
        let sender = Arc::new(FakeSink::default());
        let (from, to) = (register(&router, "from", &sender), register(&router, "to", &full));
        let mut touched = Touched::new(from.id);
        let mut source = Source::new(from);
        let message = request(Operation::Message, QoS::Processed, "to");
        router.route(&mut source, message, Routed::Borrowed(b"hi"), &mut touched).unwrap();
        router.finish(&mut touched);
        assert_eq!(*sender.codes.lock(), [(7, ResultCode::NOT_DELIVERED)]);
        assert!(to.is_ended());
        assert_eq!(to.lost.load(Ordering::Relaxed), 1);
        router.route(&mut source, message, Routed::Borrowed(b"hi"), &mut touched).unwrap();
        assert_eq!(sender.codes.lock().last(), Some(&(7, ResultCode::NOT_REGISTERED)));
        let warning = sender.taken.lock().last().cloned().unwrap();
        assert_eq!((warning.0, warning.2.as_deref()), (FrameKind::Publication, Some(".broker/warn")));
    }

    #[test]
    fn a_peer_may_be_held_after_it_has_gone() {
        let router = router();
        let sink = Arc::new(FakeSink::default());
        let peer = register(&router, "leased", &sink);
        let mut touched = Touched::new(peer.id);
        router.unregister(&peer, &mut touched);
        router.finish(&mut touched);
        assert!(peer.is_ended());
        assert_eq!(&*peer.name, "leased");
        // Its name is free again.
        register(&router, "leased", &Arc::new(FakeSink::default()));
    }
}

//! THE SEAM: where sockets and, one day, shared memory meet.
//!
//! Everything that can take frames from the router is a [`Sink`]. A socket's sink is an outbox, an in-process
//! client's a queue; the shared-memory lane will be a third and bring nothing else into the broker. The rules that
//! make this possible are kept by the tests at the end of this file: routing runs on any thread, also one without a
//! runtime, the set of touched sinks is a parameter of it, and a payload is an object whose memory the router never
//! looks at.

use std::sync::Arc;

use busway_net::link::{Batch, Level, Outbox, Refused, Touch};
use busway_net::wire::{BROKER_PING, ClientHeader, FrameKind, ResultCode, encode_acknowledgement, encode_broker_head};

use crate::broker::peer::Peer;
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

/// What the lane does with a peer's pings: BUS/RT ignores eight of their nine bytes, so that a peer that knows of the
/// lane can say so in them. Called on the connection's task; must not block.
pub(crate) type PingHook = Arc<dyn Fn(&Arc<Peer>, [u8; ClientHeader::SIZE]) + Send + Sync>;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use busway_net::wire::{Operation, QoS};
    use busway_net::{Pool, wire::Limits};
    use parking_lot::Mutex;

    use super::*;
    use crate::broker::peer::Transport;
    use crate::broker::registry::RegistryLimits;
    use crate::broker::router::{Request, Router, Source};
    use crate::broker::touched::Touched;

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
            let payload = frame.content.clone().into_payload();
            self.taken.lock().push((frame.kind, frame.sender.to_string(), topic, payload));
            Ok(self.touch(token))
        }

        fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Refused> {
            self.codes.lock().push((op_id, code));
            Ok(self.touch(token))
        }

        fn ping(&self) {}

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
                router.route(&mut source, subscribe, Content::Borrowed(b"a/#"), &mut touched).unwrap();
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
                    router.route(&mut source, publish, (&large).into(), &mut touched).unwrap();
                }
                let message = request(Operation::Message, QoS::No, "to");
                router.route(&mut source, message, Content::Borrowed(b"hi"), &mut touched).unwrap();
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
        router.route(&mut source, message, Content::Borrowed(b"hi"), &mut touched).unwrap();
        router.finish(&mut touched);
        assert_eq!(*sender.codes.lock(), [(7, ResultCode::NOT_DELIVERED)]);
        assert!(to.is_ended());
        assert_eq!(to.lost.load(Ordering::Relaxed), 1);
        router.route(&mut source, message, Content::Borrowed(b"hi"), &mut touched).unwrap();
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

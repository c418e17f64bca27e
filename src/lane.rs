//! THE SEAM: where sockets and shared memory meet.
//!
//! Everything that can take frames from the router is a [`Sink`]. A socket's sink is an outbox, an in-process
//! client's a queue, a local client's the two ways that it may be reached by: its socket, and its lane once there is
//! one. Routing runs on any thread, also one without a runtime, the set of touched sinks is a parameter of it, and a
//! payload is an object whose memory the router never looks at.
//!
//! `host` is where a broker's lanes begin, `down` what the broker sends by one, `intake` what it reads from one;
//! `up` is a client's end. `queue` (with its `backlog`) is what waits before a ring on either side.

#[cfg(all(feature = "shm", feature = "broker"))]
mod account;
#[cfg(feature = "shm")]
mod backlog;
#[cfg(all(feature = "shm", feature = "broker"))]
mod budget;
#[cfg(feature = "shm")]
mod control_frame;
#[cfg(all(feature = "shm", feature = "broker"))]
mod down;
#[cfg(feature = "shm")]
mod fragments;
#[cfg(all(feature = "shm", feature = "broker"))]
mod host;
#[cfg(all(feature = "shm", feature = "broker"))]
mod intake;
#[cfg(all(feature = "shm", feature = "broker"))]
mod local_sink;
mod options;
#[cfg(feature = "shm")]
mod queue;
mod reason;
#[cfg(feature = "broker")]
mod sink;
#[cfg(feature = "shm")]
mod up;

#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use budget::Spent;
#[cfg(feature = "shm")]
pub(crate) use control_frame::{SEGMENT_KIND, SegmentFrame};
#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use down::DownLane;
#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use host::{LaneHost, Offer};
#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use intake::{Intake, LaneFrame};
#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use local_sink::LocalSink;
#[cfg(feature = "broker")]
pub(crate) use options::BrokerOptions;
pub use options::ShmTrust;
#[cfg(feature = "shm")]
pub(crate) use queue::Offered;
pub use reason::LaneOff;
#[cfg(feature = "broker")]
pub(crate) use sink::{LaneStatus, Outgoing, QueueSink, Reader, Routed, Sink, SocketSink};
#[cfg(feature = "shm")]
pub(crate) use up::{Arrival, DownIntake, TakenOver, UpLane};

/// A body up to this size is copied behind its head: cheaper than sharing it.
#[cfg(feature = "ipc")]
pub(crate) const COPY_MAX: usize = 4 << 10;

#[cfg(all(test, feature = "broker"))]
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
    use crate::broker::peer::Transport;
    use crate::broker::registry::RegistryLimits;
    use crate::broker::router::{Request, Router, Source};
    use crate::broker::touched::Touched;
    use crate::names::ClientName;
    use crate::payload::{Content, Payload};

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

//! Where the router's frames go.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use busway_net::link::{Level, Refused, Touch};
use busway_net::wire::{FrameKind, Payloads, ResultCode};
use tokio::sync::Notify;

use super::LaneOff;
#[cfg(feature = "shm")]
use super::account::Incoming;
use crate::frame_names::FrameNames;
use crate::payload::{Content, Payload};
use crate::policy::SlowPolicy;

/// A frame on its way from the router to a sink.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) realtime: bool,
    pub(crate) names: &'a Arc<FrameNames>,
    /// Bytes of ours before the payload.
    pub(crate) prefix: &'a [u8],
    /// Borrowed up to [`COPY_MAX`], shared above.
    pub(crate) content: Routed<'a>,
}

/// A payload on its way through the router; whoever has it keeps it meanwhile.
#[derive(Clone, Copy)]
pub(crate) enum Routed<'a> {
    /// In a read buffer.
    Borrowed(&'a [u8]),
    /// Memory of this process.
    Owned(&'a Payload),
    /// In the arena of its sender, who could change it: never looked at, only copied or handed on.
    #[cfg(feature = "shm")]
    Lane(&'a Arc<Incoming>),
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
            Self::Owned(payload) => (*payload).clone(),
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
            Self::Owned(payload) => Content::Owned((*payload).clone()),
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

impl<'a> From<&'a Content<'_>> for Routed<'a> {
    fn from(content: &'a Content<'_>) -> Self {
        match content {
            Content::Borrowed(bytes) => Self::Borrowed(bytes),
            Content::Owned(payload) => Self::Owned(payload),
        }
    }
}

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
    fn offer_run(&self, _token: u64, _frame: &Outgoing<'_>, _payloads: Payloads<'_>) -> (usize, Touch) {
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

    /// Somebody has waited in vain: nobody else has to until there is room.
    fn stall(&self) {}

    /// A frame for which its sender should have waited is lost without that: it leaves a gap.
    fn miss(&self) {}

    /// Frames that it had taken and dropped for newer ones.
    fn dropped(&self) -> u64 {
        0
    }
}

/// The sink of a client in another process, as far as its policies need it.
pub(crate) trait RemoteSink: Sink + Clone + 'static {
    /// Ready with `true` when nothing waits, with `false` when the connection has ended.
    fn poll_drained(&self, context: &mut Context<'_>) -> Poll<bool>;

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use busway_net::wire::{Operation, QoS};
    use busway_net::{Pool, wire::Limits};
    use parking_lot::Mutex;

    use busway_net::link::{Level, Touch};
    use busway_net::wire::{FrameKind, ResultCode};
    use std::sync::Arc;

    use super::*;
    use crate::broker::peer::{Peer, Transport};
    use crate::broker::registry::RegistryLimits;
    use crate::broker::router::{Request, Router, Source};
    use crate::broker::slow_receivers::SlowReceivers;
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
        /// Every frame after the first of a batch makes much wait.
        is_due: bool,
    }

    impl FakeSink {
        fn touch(&self, token: u64) -> Touch {
            let mut last = self.last_token.lock();
            match std::mem::replace(&mut *last, token) == token {
                false => Touch::First,
                true if self.is_due => Touch::Due,
                true => Touch::Again,
            }
        }
    }

    impl Sink for Arc<FakeSink> {
        fn offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Declined> {
            if self.is_full {
                return Err(Declined::Full);
            }
            let topic = frame.names.topic.as_deref().map(str::to_owned);
            let payload = frame.content.owned_bytes();
            self.taken.lock().push((frame.kind, frame.names.sender.to_string(), topic, payload));
            Ok(self.touch(token))
        }

        fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Declined> {
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
    }

    fn router() -> Router {
        let registry = RegistryLimits { clients: 10, subscriptions: 10, force_register: false };
        Router::new(Limits::default(), registry, SlowReceivers::default(), Pool::default())
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
                    router.route(&mut source, publish, Routed::Owned(&large), &mut touched).unwrap();
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
    fn what_is_due_is_flushed_amid_a_batch_that_has_several_receivers() {
        let router = router();
        let due = || Arc::new(FakeSink { is_due: true, ..FakeSink::default() });
        let (sender, one, other) = (Arc::new(FakeSink::default()), due(), due());
        let from = register(&router, "from", &sender);
        let _peers = [register(&router, "to.one", &one), register(&router, "to.other", &other)];
        let mut touched = Touched::new(from.id);
        let mut source = Source::new(from);
        let flushes = || [&one, &other].map(|sink| sink.flushes.load(Ordering::Relaxed));
        let mut send = |operation, address: &str| {
            let before = flushes();
            let request = request(operation, QoS::No, address);
            router.route(&mut source, request, Routed::Borrowed(b"hi"), &mut touched).unwrap();
            let after = flushes();
            (after[0] - before[0], after[1] - before[1])
        };
        assert_eq!(send(Operation::Message, "to.one"), (0, 0), "it is the first");
        assert_eq!(send(Operation::Message, "to.one"), (0, 0), "the end of the batch is waited for");
        // In whatever order: the other is the first of its own.
        send(Operation::Broadcast, "to.*");
        assert_eq!(send(Operation::Broadcast, "to.*"), (1, 1));
        assert_eq!(send(Operation::Message, "to.other"), (0, 1));
        let before = flushes();
        router.finish(&mut touched);
        assert_eq!(flushes(), before.map(|count| count + 1), "once more at the end");
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
        assert_eq!(to.lost(), 1);
        router.route(&mut source, message, Routed::Borrowed(b"hi"), &mut touched).unwrap();
        assert_eq!(sender.codes.lock().last(), Some(&(7, ResultCode::NOT_REGISTERED)));
        let warning = sender.taken.lock().last().cloned().unwrap();
        assert_eq!((warning.0, warning.2.as_deref()), (FrameKind::Publication, Some(".broker/warn")));
    }

    #[test]
    fn who_has_gone_is_remembered_until_the_next_sign_of_life_of_who_sent_to_it() {
        let router = router();
        let from = register(&router, "from", &Arc::new(FakeSink::default()));
        let peer = register(&router, "to", &Arc::new(FakeSink::default()));
        let mut touched = Touched::new(from.id);
        let mut source = Source::new(from);
        let message = request(Operation::Message, QoS::No, "to");
        router.route(&mut source, message, Routed::Borrowed(b"hi"), &mut touched).unwrap();
        router.finish(&mut touched);
        router.forget_outdated(&mut source);
        router.unregister(&peer, &mut touched);
        router.finish(&mut touched);
        assert_eq!(Arc::strong_count(&peer), 2, "here, and where its sender remembers it");
        router.forget_outdated(&mut source);
        assert_eq!(Arc::strong_count(&peer), 1);
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

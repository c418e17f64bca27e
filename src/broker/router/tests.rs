//! The router and sinks that are neither sockets nor queues.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::Duration;

use busway_net::link::{Level, Touch};
use busway_net::wire::Payloads;
use tokio::sync::Notify;

use super::*;
use crate::lane::Sink;
use crate::payload::Content;

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
    /// The frame to come, counted from 0, for which there is room only when it is offered once more.
    has_no_room_once: Mutex<Option<usize>>,
    room: Notify,
    is_closed: AtomicBool,
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
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Declined::Closed);
        }
        if self.is_full {
            return Err(Declined::Full);
        }
        if self.has_no_room_once.lock().take_if(|at| *at == self.taken.lock().len()).is_some() {
            return Err(Declined::Wait(Duration::from_secs(60)));
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
        self.is_closed.store(true, Ordering::Relaxed);
        Level::default()
    }

    fn level(&self) -> Level {
        Level::default()
    }

    fn room(&self) -> Option<&Notify> {
        Some(&self.room)
    }
}

fn router() -> Router {
    let registry = RegistryLimits { clients: 10, subscriptions: 1000, force_register: false };
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

#[test]
fn who_goes_with_many_filters_is_forgotten_in_steps_and_gets_nothing_meanwhile() {
    const FILTERS: usize = 1000;
    let router = router();
    let from = register(&router, "from", &Arc::new(FakeSink::default()));
    let sink = Arc::new(FakeSink::default());
    let peer = register(&router, "to", &sink);
    let list = (0..FILTERS).map(|number| format!("a/{number}")).collect::<Vec<_>>().join("\0");
    let listed = router.change_filters(&peer, Operation::Subscribe, &Content::Borrowed(list.as_bytes()));
    assert_eq!(listed, Ok(ResultCode::OK));
    let mut touched = Touched::new(from.id);
    let mut source = Source::new(from);
    let mut publish_to_all = |touched: &mut Touched| {
        for number in 0..FILTERS {
            let topic = format!("a/{number}");
            let publication = request(Operation::Publish, QoS::No, &topic);
            router.route(&mut source, publication, Routed::Borrowed(b"hi"), touched).unwrap();
        }
        router.finish(touched);
    };
    publish_to_all(&mut touched);
    assert_eq!(sink.taken.lock().len(), FILTERS);
    router.unregister(&peer, &mut touched);
    let mut steps = 0;
    while router.forget_some() {
        publish_to_all(&mut touched);
        steps += 1;
    }
    assert!((2..10).contains(&steps), "{steps} steps");
    assert_eq!((sink.taken.lock().len(), peer.lost()), (FILTERS, 0), "nothing was meant for it after it had gone");
    publish_to_all(&mut touched);
    drop(source);
    assert_eq!(Arc::strong_count(&peer), 1, "nobody remembers it");
}

#[tokio::test]
async fn frames_of_a_run_keep_their_order_behind_one_that_waits() {
    let router = router();
    let (sender, receiver) = (Arc::new(FakeSink::default()), Arc::new(FakeSink::default()));
    let (from, _to) = (register(&router, "from", &sender), register(&router, "to", &receiver));
    let mut touched = Touched::new(from.id);
    let mut source = Source::new(from);
    for _ in 0..2 {
        let message = request(Operation::Message, QoS::No, "to");
        router.route(&mut source, message, Routed::Borrowed(b"before"), &mut touched).unwrap();
    }
    let (operation, address) = router.repeated(&source).map(|(operation, to)| (operation, Arc::clone(to))).unwrap();
    *receiver.has_no_room_once.lock() = Some(3);
    let places = [0..1, 1..2, 2..3, 3..4];
    router.route_run(&mut source, (operation, &address), Payloads::new(b"abcd", &places), &mut touched).unwrap();
    assert!(touched.has_waits());
    assert_eq!(router.wait_for_room(&mut touched).await, ResultCode::OK);
    let taken = receiver.taken.lock();
    let payloads: Vec<&[u8]> = taken[2..].iter().map(|(_, _, _, payload)| payload.as_slice()).collect();
    assert_eq!(payloads, [b"a", b"b", b"c", b"d"]);
}

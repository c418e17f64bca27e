//! Who gets a frame.
//!
//! Plain synchronous code: nothing here awaits, and nothing needs a runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use busway_net::Pool;
use busway_net::wire::{FrameKind, Limits, Operation, QoS, ResultCode, Violation};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;

use super::access::Way;
use super::cache::{Route, RouteCache};
use super::control;
use super::membership::Retired;
use super::peer::{Peer, Transport};
use super::registry::{Registry, RegistryLimits};
use super::slow_receivers::SlowReceivers;
use super::touched::{HeldAnswer, LongList, Touched, Wait};
use crate::frame_names::FrameNames;
#[cfg(feature = "shm")]
use crate::lane::CommonArena;
use crate::lane::{COPY_MAX, Declined, Outgoing, Routed, StoredFrame};
use crate::names::ClientName;
use crate::payload::Payload;

/// Where calls to the broker go.
const BROKER: &[u8] = b".broker";
/// Bytes of a list of topics that are changed in no time.
const SHORT_LIST: usize = 4096;

/// Broker-wide state and the routes through it.
pub(crate) struct Router {
    pub(super) registry: RwLock<Registry>,
    /// Held until a change of who is there is announced, so that announcements come in the order of the changes.
    pub(super) announcing: Mutex<()>,
    /// Set for good when the broker ends; changed under the registry's lock.
    pub(super) has_ended: AtomicBool,
    /// Changes with every registration, subscription and exclusion, and with the access rules.
    pub(super) epoch: AtomicU64,
    /// The number of the process that has started the broker.
    process: u32,
    pub(crate) limits: Limits,
    pub(crate) registry_limits: RegistryLimits,
    pub(crate) pool: Pool,
    pub(crate) broker: Arc<Peer>,
    /// Of frames that the broker itself sends to one client.
    pub(crate) broker_names: Arc<FrameNames>,
    pub(crate) started: Instant,
    pub(crate) retired: Retired,
    pub(crate) slow_receivers: SlowReceivers,
    /// Where senders wait that have no task of their own.
    pub(crate) runtime: Option<Handle>,
    next_id: AtomicU64,
}

/// Where frames come from: a peer and what it remembers.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) peer: Arc<Peer>,
    pub(super) cache: RouteCache,
    /// Where what it sends to several lanes is written once: only who is on a lane itself has its frames there.
    #[cfg(feature = "shm")]
    pub(super) common: Option<Arc<CommonArena>>,
}

impl Source {
    pub(crate) fn new(peer: Arc<Peer>) -> Self {
        Self {
            peer,
            cache: RouteCache::default(),
            #[cfg(feature = "shm")]
            common: None,
        }
    }

    /// Lets go of the peers it remembers.
    pub(crate) fn forget(&mut self) {
        self.cache.forget();
    }
}

/// An operation as it came from a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) op_id: u32,
    pub(crate) operation: Operation,
    pub(crate) qos: QoS,
    /// Topic, target or mask.
    pub(crate) address: &'a [u8],
    /// The receiver of a publish-for.
    pub(crate) receiver: &'a [u8],
}

impl Request<'_> {
    /// Whether it is a call to the broker.
    #[inline]
    pub(super) fn may_take_long(&self) -> bool {
        self.address == BROKER
    }
}

impl Router {
    pub(crate) fn new(
        limits: Limits,
        registry_limits: RegistryLimits,
        slow_receivers: SlowReceivers,
        pool: Pool,
    ) -> Self {
        let broker = Peer::new(1, ClientName::broker(), (Transport::Internal, None), Box::new(control::ControlSink));
        let mut registry = Registry::default();
        let inserted = registry.insert(&broker, &registry_limits);
        debug_assert!(inserted.is_ok(), "an empty registry takes the broker");
        Self {
            registry: RwLock::new(registry),
            announcing: Mutex::default(),
            has_ended: AtomicBool::new(false),
            epoch: AtomicU64::new(1),
            process: std::process::id(),
            limits,
            registry_limits,
            pool,
            broker_names: Arc::new(FrameNames { sender: Arc::clone(broker.name.shared()), topic: None }),
            broker,
            started: Instant::now(),
            retired: Retired::default(),
            slow_receivers,
            runtime: Handle::try_current().ok(),
            next_id: AtomicU64::new(2),
        }
    }

    /// Whether this process is a child that was forked with the broker: what its sockets say is the parent's business.
    /// One system call.
    pub(crate) fn is_of_parent(&self) -> bool {
        self.process != std::process::id()
    }

    /// A number for the next peer; later peers have greater ones.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Routes one operation; acknowledges it if that was asked for.
    ///
    /// # Errors
    /// When the operation is not the protocol: the connection cannot go on.
    pub(crate) fn route(
        &self,
        source: &mut Source,
        request: Request<'_>,
        content: Routed<'_>,
        touched: &mut Touched,
    ) -> Result<(), Violation> {
        let is_control = request.operation == Operation::Message && request.address == self.broker.name.as_bytes();
        if is_control {
            // Its answer comes after the acknowledgement.
            let code = self.admit_to_broker(&source.peer, &request);
            self.acknowledge(&source.peer, &request, code, touched);
            if code.is_ok() {
                control::handle(self, &source.peer, request.qos, &content.content(), touched);
            }
            return Ok(());
        }
        let code = match request.operation {
            Operation::Nop => {
                std::str::from_utf8(request.address).map_err(|_| Violation::NotUtf8)?;
                return Ok(());
            }
            operation if operation.takes_topics() && content.len() > SHORT_LIST => {
                let content = content.owned_bytes();
                std::str::from_utf8(&content).map_err(|_| Violation::NotUtf8)?;
                touched.long_list = Some(LongList { operation, content });
                ResultCode::OK
            }
            operation if operation.takes_topics() => {
                self.change_filters(&source.peer, operation, &content.content())?
            }
            _ => self.deliver(source, &request, content, touched)?,
        };
        if touched.has_waits() {
            let kind = kind_of(request.operation);
            touched.answer = Some(HeldAnswer { op_id: request.op_id, qos: request.qos, kind });
        } else {
            self.acknowledge(&source.peer, &request, code, touched);
        }
        Ok(())
    }

    fn acknowledge(&self, peer: &Arc<Peer>, request: &Request<'_>, code: ResultCode, touched: &mut Touched) {
        if request.qos.is_confirmed() {
            self.confirm(peer, request.op_id, code, touched);
        }
    }

    pub(super) fn confirm(&self, peer: &Arc<Peer>, op_id: u32, code: ResultCode, touched: &mut Touched) {
        match peer.sink.acknowledge(touched.token(), op_id, code) {
            Ok(touch) => touched.heed(peer, touch),
            Err(declined) => self.on_declined(peer, declined, touched),
        }
    }

    /// Delivers a message, broadcast or publication.
    pub(crate) fn deliver(
        &self,
        source: &mut Source,
        request: &Request<'_>,
        content: Routed<'_>,
        touched: &mut Touched,
    ) -> Result<ResultCode, Violation> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let resolve = || self.resolve(&source.peer, request.operation, request.address);
        let route = source.cache.route(epoch, request.operation, request.address, resolve)?;
        let (names, peers, way) = match route {
            Route::Receivers { names, peers, way } => (names, peers, *way),
            Route::Refused(ResultCode::ACCESS_DENIED) => {
                return Ok(Self::deny(&source.peer, request.operation, request.address));
            }
            Route::Refused(code) => return Ok(*code),
        };
        let mut only = None;
        if request.operation == Operation::PublishFor {
            if request.receiver.len() > self.limits.max_name {
                return Ok(ResultCode::DATA);
            }
            only = Some(std::str::from_utf8(request.receiver).map_err(|_| Violation::NotUtf8)?);
        }
        if way != Way::Open && !self.may_go(way, &source.peer, peers, only) {
            return Ok(Self::deny(&source.peer, request.operation, request.address));
        }
        let kind = kind_of(request.operation);
        let mut shared = None;
        let content = match content {
            _ if peers.is_empty() => Routed::Borrowed(&[]),
            // It is in the pipes once.
            Routed::Piped(piped) if peers.len() > 1 => Routed::Owned(shared.insert(piped.copy().clone().into())),
            content => self.share_if_large(content, &mut shared),
        };
        let frame = Outgoing { kind, realtime: request.qos.is_realtime(), names, prefix: &[], content };
        let mut delivered = Err(ResultCode::NOT_REGISTERED);
        for peer in peers {
            if only.is_none_or(|primary| peer.name.primary() == primary) {
                delivered = self.offer(peer, &frame, touched);
            }
        }
        match (kind, delivered) {
            (FrameKind::Message, Err(code)) => Ok(code),
            _ => Ok(ResultCode::OK),
        }
    }

    /// The receiver of an operation, if it is the only one and its sink takes payloads that lie in pipes. It may be otherwise
    /// when the frame is routed.
    pub(crate) fn receiver_by_pipe<'a>(
        &self,
        source: &'a mut Source,
        operation: Operation,
        address: &[u8],
    ) -> Option<&'a Arc<Peer>> {
        if !matches!(operation, Operation::Message | Operation::Publish) {
            return None;
        }
        let resolve = || self.resolve(&source.peer, operation, address);
        match source.cache.route(self.epoch.load(Ordering::Acquire), operation, address, resolve) {
            Ok(Route::Receivers { peers, .. }) => match &**peers {
                [peer] if peer.sink.takes_pipes() => Some(peer),
                _ => None,
            },
            _ => None,
        }
    }

    /// A large body is shared by all who get it; nobody copies it twice.
    #[inline]
    pub(super) fn share_if_large<'a>(&self, content: Routed<'a>, shared: &'a mut Option<Payload>) -> Routed<'a> {
        match content {
            Routed::Borrowed(bytes) if bytes.len() > COPY_MAX => {
                Routed::Owned(shared.insert(self.pool.share_copy(bytes).into()))
            }
            content => content,
        }
    }

    /// Offers a frame to one peer.
    pub(super) fn offer(
        &self,
        peer: &Arc<Peer>,
        frame: &Outgoing<'_>,
        touched: &mut Touched,
    ) -> Result<(), ResultCode> {
        match peer.sink.offer(touched.token(), frame) {
            Ok(touch) => touched.heed(peer, touch),
            // Nobody would wait in the broker's place.
            Err(Declined::Wait(bound)) if *frame.names.sender != *self.broker.name => {
                let frame = StoredFrame::new(frame, peer.id);
                touched.waits.push(Wait { peer: Arc::clone(peer), frame, bound });
            }
            Err(declined) => {
                if let Declined::Wait(_) = declined {
                    peer.sink.miss();
                }
                self.on_declined(peer, declined, touched);
                return Err(ResultCode::NOT_DELIVERED);
            }
        }
        Ok(())
    }

    pub(super) fn on_declined(&self, peer: &Arc<Peer>, declined: Declined, touched: &mut Touched) {
        self.lose(peer, 1);
        if declined == Declined::Full && !peer.is_ended() {
            self.cut(peer, "its queue is full, it reads too slowly");
            touched.slow.push(Arc::clone(peer));
        }
    }

    /// Counts frames for a peer that are lost, also of one that has gone meanwhile.
    pub(super) fn lose(&self, peer: &Peer, frames: u64) {
        peer.lose(frames);
        self.retired.lost.fetch_add(frames, Ordering::Relaxed);
    }

    /// Ends a batch: flushes every touched sink once, and takes out the peers that were cut for being slow.
    pub(crate) fn finish(&self, touched: &mut Touched) {
        touched.flush();
        while let Some(peer) = touched.slow.pop() {
            self.unregister(&peer, touched);
            control::announce(self, control::WARN_TOPIC, "slow", Some(&peer.name), touched);
            touched.flush();
        }
    }

    fn resolve(&self, sender: &Peer, operation: Operation, address: &[u8]) -> Result<Route, Violation> {
        let separator = if matches!(operation, Operation::Message | Operation::Broadcast) { b'.' } else { b'/' };
        // Its length first: one over the limit may have been cut amid a character.
        if self.limits.check_path(address, separator).is_err() {
            return Ok(Route::Refused(ResultCode::DATA));
        }
        let text = std::str::from_utf8(address).map_err(|_| Violation::NotUtf8)?;
        let registry = self.registry.read();
        let Some(way) = Way::of(&registry, sender, operation, text) else {
            return Ok(Route::Refused(ResultCode::ACCESS_DENIED));
        };
        let mut peers = match operation {
            Operation::Message => registry.by_name(text).cloned().into_iter().collect(),
            Operation::Broadcast => registry.by_mask(text),
            _ => registry.by_topic(text),
        };
        drop(registry);
        if operation == Operation::Message && peers.is_empty() {
            return Ok(Route::Refused(ResultCode::NOT_REGISTERED));
        }
        peers.sort_by_key(|peer: &Arc<Peer>| peer.id);
        let topic = (kind_of(operation) == FrameKind::Publication).then(|| text.into());
        let names = Arc::new(FrameNames { sender: Arc::clone(sender.name.shared()), topic });
        Ok(Route::Receivers { names, peers: peers.into(), way })
    }

    /// Lets go of peers that have gone, for a source that may not send for a long time.
    pub(crate) fn forget_outdated(&self, source: &mut Source) {
        source.cache.forget_outdated(self.epoch.load(Ordering::Acquire));
    }

    /// Makes every route cache out of date; called under the registry's lock.
    pub(super) fn change(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Looks at the registry.
    pub(crate) fn with_registry<T>(&self, look: impl FnOnce(&Registry) -> T) -> T {
        look(&self.registry.read())
    }
}

pub(super) fn kind_of(operation: Operation) -> FrameKind {
    match operation {
        Operation::Message => FrameKind::Message,
        Operation::Broadcast => FrameKind::Broadcast,
        _ => FrameKind::Publication,
    }
}

#[cfg(test)]
mod tests;

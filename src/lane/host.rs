//! Where lanes of a broker begin and end.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use busway_net::link::{Body as SocketBody, Outbox, OutboxLimits, PeerIdentity, Socket, Watch, has_ended};
use busway_net::wire::{BrokerTag, Limits};
use busway_shm::layout::{ControlLayout, Header, MAGIC, VERSION};
use busway_shm::{
    Consumer, DownBell, OwnMemory, OwnSegment, PeerSegment, Producer, ReturnReader, Returns, UpBell, create_for_peer,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use zerocopy::IntoBytes;

use super::account::Account;
use super::budget::{Budget, Cost, Spent};
use super::common::CommonArena;
use super::down::{DownLane, Zombie};
use super::errands::{Entrusted, Errands};
use super::intake::Intake;
use super::options::BrokerOptions;
use super::reason::LaneOff;

/// Bytes of the ring by which a client sends: who has filled it waits until the broker has read half of it.
const UP_RING: usize = 256 << 10;
/// Bytes of the ring by which it receives: what finds no room is copied twice more on its way.
const DOWN_RING: usize = 512 << 10;
/// The same where memory for lanes has become scarce.
const NARROW_DOWN_RING: usize = 128 << 10;
/// Payloads that one client may hold, and that may be out of one client.
const SLOTS: u32 = 8192;
/// Payloads up to this many bytes travel in the ring.
const INLINE_MAX: u32 = 512;
/// Connections of one user that have ended and still hold payloads.
const MAX_ZOMBIES: usize = 64;
/// How often these are looked at.
const ZOMBIE_LOOK: Duration = Duration::from_millis(50);

/// What all lanes of a broker share.
pub(crate) struct LaneHost {
    pub(super) options: BrokerOptions,
    pub(super) budget: Arc<Budget>,
    next_segment: AtomicU32,
    zombies: Mutex<Vec<ZombieEntry>>,
    zombie_came: Notify,
    /// By user.
    common_arenas: Mutex<HashMap<u32, Weak<CommonArena>>>,
    pub(super) errands: Arc<Errands>,
}

struct ZombieEntry {
    zombie: Zombie,
    leavings: Leavings,
}

/// What of a lane outlives its connection.
pub(super) struct Leavings {
    pidfd: OwnedFd,
    user: u32,
    spent: Arc<Spent>,
}

/// How the two segments of a lane are divided.
#[derive(Clone, Copy)]
struct Layouts {
    up: ControlLayout,
    down: ControlLayout,
}

impl Layouts {
    fn new(down_ring: usize) -> Self {
        let of = |ring| ControlLayout { ring, slots: SLOTS as usize };
        Self { up: of(UP_RING), down: of(down_ring) }
    }

    fn bytes(self) -> u64 {
        (self.up.total() + self.down.total()) as u64
    }
}

/// A lane that a client was offered.
pub(crate) struct Offer {
    up: OwnedFd,
    pid: i32,
    prepared: Prepared,
}

/// What the broker has of it.
struct Prepared {
    layouts: Layouts,
    up_bell: Entrusted<UpBell>,
    down: Arc<OwnSegment>,
    down_bell: DownBell,
    leavings: Leavings,
}

/// A lane of which the client says that it has taken it over.
pub(crate) struct Taking {
    prepared: Prepared,
    up: oneshot::Receiver<std::io::Result<PeerSegment>>,
}

/// A lane that a client has taken over.
pub(crate) struct Accepted {
    pub(crate) lane: Arc<DownLane>,
    pub(crate) intake: Intake,
    pub(crate) bell: Entrusted<Watch>,
    pub(super) leavings: Leavings,
}

impl LaneHost {
    /// For how long a connection looks for the next frame before it sleeps.
    pub(crate) fn busy_poll(&self) -> Duration {
        self.options.busy_poll
    }

    pub(crate) fn new(options: BrokerOptions) -> Arc<Self> {
        Arc::new(Self {
            options,
            budget: Budget::of_system(options.bytes),
            next_segment: AtomicU32::new(1),
            zombies: Mutex::default(),
            zombie_came: Notify::new(),
            common_arenas: Mutex::default(),
            errands: Arc::default(),
        })
    }

    pub(super) fn next_segment(&self) -> u32 {
        self.next_segment.fetch_add(1, Ordering::Relaxed)
    }

    /// The common arena of a user, which lasts as long as somebody has it; `None` where nobody would read it, or memory is
    /// scarce.
    pub(super) fn common_arena(&self, user: u32) -> Option<Arc<CommonArena>> {
        if !self.options.trust.allows(user, user) {
            return None;
        }
        let mut arenas = self.common_arenas.lock();
        if let Some(arena) = arenas.get(&user).and_then(Weak::upgrade) {
            return Some(arena);
        }
        arenas.retain(|_, arena| arena.strong_count() > 0);
        let arena = CommonArena::new(self, user)?;
        arenas.insert(user, Arc::downgrade(&arena));
        Some(arena)
    }

    /// Makes a lane for a client that asks for one, and sends it.
    ///
    /// # Errors
    /// Why there is none for it.
    pub(crate) fn offer(
        &self,
        socket: &Socket,
        identity: Option<PeerIdentity>,
        (version, outbox, limits): (u8, &Arc<Outbox>, &Limits),
    ) -> Result<Offer, LaneOff> {
        if !self.options.is_on {
            return Err(LaneOff::Disabled);
        }
        if u16::from(version) != VERSION {
            return Err(LaneOff::Version);
        }
        let identity = identity.filter(|identity| identity.pid != 0).ok_or(LaneOff::Unidentified)?;
        let pidfd = socket.peer_pidfd().map_err(|_| LaneOff::Unidentified)?;
        let user = identity.uid;
        if self.zombies.lock().iter().filter(|entry| entry.leavings.user == user).count() >= MAX_ZOMBIES {
            return Err(LaneOff::Zombies);
        }
        let layouts = Layouts::new(if self.budget.is_scarce() { NARROW_DOWN_RING } else { DOWN_RING });
        // Two bells, the process, and a segment until it is mapped.
        let cost = Cost { descriptors: 4, mappings: 2, bytes: layouts.bytes() };
        let spent = self.budget.spend(user, cost)?;
        let system = |error: std::io::Error| {
            tracing::debug!("no lane: {error}");
            LaneOff::System
        };
        let up = create_for_peer(c"busway-up", layouts.up.total()).map_err(system)?;
        let (down, down_descriptor) = OwnSegment::create_control(c"busway-down", layouts.down).map_err(system)?;
        down.write(busway_shm::layout::HEADER, self.header(layouts, limits).as_bytes());
        let up_bell = UpBell::new().map_err(system)?;
        let is_own = user == rustix::process::geteuid().as_raw();
        let made = if is_own { DownBell::of_trusted() } else { DownBell::new() };
        let (down_bell, waiter) = made.map_err(system)?;
        let descriptors = vec![
            up.try_clone().map_err(system)?,
            down_descriptor,
            up_bell.as_fd().try_clone_to_owned().map_err(system)?,
            waiter,
        ];
        // Only now: from here on a read may end before the socket is drained, which matters to who reads bytes alone.
        socket.attest_senders().map_err(|_| LaneOff::Unidentified)?;
        outbox.offer_control(|batch| {
            batch.push_body(SocketBody::Descriptors(descriptors));
            batch.inline().extend_from_slice(&BrokerTag::Offer.encode());
        });
        outbox.flush();
        let leavings = Leavings { pidfd, user, spent: Arc::new(spent) };
        let up_bell = Entrusted::new(up_bell, Arc::<Spent>::clone(&leavings.spent), (&self.errands, user));
        let prepared = Prepared { layouts, up_bell, down: Arc::new(down), down_bell, leavings };
        Ok(Offer { up, pid: identity.pid, prepared })
    }

    fn header(&self, layouts: Layouts, limits: &Limits) -> Header {
        let ring = |layout: ControlLayout| u32::try_from(layout.ring).unwrap_or(u32::MAX);
        Header {
            magic: MAGIC.into(),
            version: VERSION.into(),
            features: 0.into(),
            up_ring: ring(layouts.up).into(),
            down_ring: ring(layouts.down).into(),
            leases: SLOTS.into(),
            submissions: SLOTS.into(),
            inline_max: INLINE_MAX.into(),
            arena_bytes: self.options.arena_bytes.into(),
            max_payload: (limits.max_payload as u64).into(),
            reserved: [0; 16],
        }
    }

    /// Keeps what a client still holds whose connection has ended, until its process has given it back or has ended
    /// itself: only then is nobody reading it any more.
    pub(super) fn keep_zombie(&self, mut zombie: Zombie, leavings: Leavings) {
        if zombie.holds_something() && !has_ended(leavings.pidfd.as_fd()) {
            self.zombies.lock().push(ZombieEntry { zombie, leavings });
            self.zombie_came.notify_one();
        }
    }

    /// Looks after what dead connections hold; runs until the broker ends.
    pub(crate) async fn reap(self: Arc<Self>) {
        loop {
            self.zombie_came.notified().await;
            while !self.zombies.lock().is_empty() {
                tokio::time::sleep(ZOMBIE_LOOK).await;
                let mut zombies = std::mem::take(&mut *self.zombies.lock());
                // Without the lock: giving back takes others.
                zombies.retain_mut(|entry| !has_ended(entry.leavings.pidfd.as_fd()) && entry.zombie.holds_something());
                self.zombies.lock().append(&mut zombies);
            }
        }
    }
}

impl Offer {
    /// What it costs. Whoever keeps it while the connection lasts counts descriptors that may never be read.
    pub(crate) fn spent(&self) -> Arc<Spent> {
        Arc::clone(&self.prepared.leavings.spent)
    }

    /// The client has taken the lane over; `sender` is the process that says so. Begins to take over what it has allocated.
    ///
    /// # Errors
    /// Why there will be no lane after all.
    pub(crate) fn take(self, host: &LaneHost, sender: Option<i32>) -> Result<Taking, LaneOff> {
        if sender != Some(self.pid) {
            return Err(LaneOff::OtherProcess);
        }
        let (length, spent) = (self.prepared.layouts.up.total(), self.spent());
        let Self { up, prepared, .. } = self;
        let up = host.errands.begin(prepared.leavings.user, move || {
            let adopted = PeerSegment::adopt(&up, length);
            // The descriptor counts until here.
            drop((up, spent));
            adopted
        });
        Ok(Taking { prepared, up })
    }
}

impl Taking {
    /// The lane, once that is done; it may take `patience`.
    ///
    /// # Errors
    /// Why there will be no lane after all.
    pub(crate) async fn finish(
        self,
        host: &Arc<LaneHost>,
        patience: Duration,
        (outbox, limits, queue, receiver): (&Arc<Outbox>, Limits, OutboxLimits, u64),
    ) -> Result<Accepted, LaneOff> {
        let Self { prepared: Prepared { layouts, up_bell, down, down_bell, leavings }, up } = self;
        let Layouts { up: up_layout, down: down_layout } = layouts;
        let up = match tokio::time::timeout(patience, up).await {
            Ok(Ok(Ok(up))) => Arc::new(up),
            Ok(Ok(Err(error))) => {
                tracing::debug!("no lane: {error}");
                return Err(LaneOff::ClientFailed);
            }
            Ok(Err(_)) => return Err(LaneOff::System),
            Err(_) => {
                tracing::warn!(
                    user = leavings.user,
                    "no lane: a process of this user holds up what it was to allocate"
                );
                return Err(LaneOff::ClientFailed);
            }
        };
        let spent = Arc::clone(&leavings.spent);
        let bell = up_bell.try_map(|bell| Watch::new(bell.into_descriptor())).map_err(|_| LaneOff::System)?;
        let user = leavings.user;
        let arena_bytes = host.options.arena_bytes;
        // Nobody holds a fair part of more than the client can get.
        let quota = (SLOTS, usize::try_from(arena_bytes.min(host.budget.user_bytes())).unwrap_or(usize::MAX));
        let account = Account::new(Returns::new(Arc::clone(&down), down_layout), quota, user);
        let lane = DownLane::new(
            Producer::new(Arc::clone(&down), Arc::clone(&up), down_layout),
            ReturnReader::new(Arc::clone(&up), up_layout),
            SLOTS,
            down_bell,
            outbox,
            (queue, user, host.options.trust, receiver),
            (spent, host.common_arena(user)),
        );
        let consumer = Consumer::new(down, up, up_layout);
        let intake = Intake::new(consumer, (&lane, account), host, outbox, limits, arena_bytes);
        Ok(Accepted { lane, intake, bell, leavings })
    }
}

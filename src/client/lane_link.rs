//! Where a client finds the lane beside its socket.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use crate::lane::{LaneOff, UpLane};

/// The lane of a connection, if it has one.
pub(super) struct LaneLink {
    lane: Place,
    /// Frames go by the lane.
    is_on: AtomicBool,
    /// Frames come by it, too.
    is_switched: AtomicBool,
    reason: AtomicU8,
}

/// Where the lane is.
enum Place {
    /// Of a client with one connection in its life: to find the lane takes no lock, which cost its sender a tenth
    /// of the time of a small frame. Afterwards it stays, closed, as long as the client.
    Once(OnceLock<Arc<UpLane>>),
    /// Of a client that connects again.
    Changing(RwLock<Option<Arc<UpLane>>>),
}

impl Place {
    #[inline]
    fn with<T>(&self, work: impl FnOnce(&Arc<UpLane>) -> T) -> Option<T> {
        match self {
            Self::Once(lane) => lane.get().map(work),
            Self::Changing(lane) => lane.read().as_ref().map(work),
        }
    }

    fn set(&self, lane: Arc<UpLane>) {
        match self {
            Self::Once(place) => drop(place.set(lane)),
            Self::Changing(place) => *place.write() = Some(lane),
        }
    }

    fn take(&self) -> Option<Arc<UpLane>> {
        match self {
            Self::Once(lane) => lane.get().cloned(),
            Self::Changing(lane) => lane.write().take(),
        }
    }
}

impl LaneLink {
    /// That of a client which `connects_again` when its connection is lost, or does not.
    pub(super) fn new(connects_again: bool) -> Self {
        Self {
            lane: if connects_again { Place::Changing(RwLock::default()) } else { Place::Once(OnceLock::new()) },
            is_on: AtomicBool::new(false),
            is_switched: AtomicBool::new(false),
            reason: AtomicU8::new(0),
        }
    }

    /// The lane by which frames go, if they do.
    pub(super) fn current(&self) -> Option<Arc<UpLane>> {
        if self.is_on() { self.lane.with(Arc::clone) } else { None }
    }

    /// The lane, also while nothing goes by it yet, for a short call: taking part in the count of its owners would cost each
    /// frame more than the rest of its way.
    #[inline]
    pub(super) fn with<T>(&self, work: impl FnOnce(&Arc<UpLane>) -> T) -> Option<T> {
        self.lane.with(work)
    }

    /// Whether frames go by it.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Here it is; nothing goes by it yet.
    pub(super) fn place(&self, lane: Arc<UpLane>) {
        self.lane.set(lane);
    }

    /// From now on frames go by it.
    pub(super) fn turn_on(&self) {
        self.is_on.store(true, Ordering::Release);
    }

    /// From now on frames come by it.
    pub(super) fn set_switched(&self) {
        self.is_switched.store(true, Ordering::Release);
    }

    /// Why there is none; `None` when there is one.
    pub(super) fn off_reason(&self) -> Option<LaneOff> {
        let is_on = self.is_switched.load(Ordering::Acquire);
        (!is_on).then(|| LaneOff::from_number(self.reason.load(Ordering::Relaxed)))
    }

    /// There is none, and this is why.
    pub(super) fn set_off(&self, reason: LaneOff) {
        self.reason.store(reason as u8, Ordering::Relaxed);
    }

    /// The connection is gone.
    pub(super) fn lose(&self) {
        self.is_on.store(false, Ordering::Release);
        self.is_switched.store(false, Ordering::Release);
        if let Some(lane) = self.lane.take() {
            lane.close();
        }
    }
}

impl std::fmt::Debug for LaneLink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "LaneLink({:?})", self.off_reason())
    }
}

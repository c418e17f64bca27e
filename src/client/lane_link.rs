//! Where a client finds the lane beside its socket.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::lane::{LaneOff, UpLane};

/// The lane of a connection, if it has one.
pub(super) struct LaneLink {
    lane: Place,
    /// Frames go by the lane.
    is_on: AtomicBool,
    /// Frames come by it, too.
    is_switched: AtomicBool,
    reason: AtomicU8,
    /// Something has changed for those who wait for the lane.
    changed: Notify,
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
    /// That of a client which `connects_again` when its connection is lost, or does not; there is no lane yet, for this
    /// reason.
    pub(super) fn new(connects_again: bool, reason: LaneOff) -> Self {
        Self {
            lane: if connects_again { Place::Changing(RwLock::default()) } else { Place::Once(OnceLock::new()) },
            is_on: AtomicBool::new(false),
            is_switched: AtomicBool::new(false),
            reason: AtomicU8::new(reason as u8),
            changed: Notify::new(),
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
        self.changed.notify_waiters();
    }

    /// Why there is none; `None` when there is one.
    pub(super) fn off_reason(&self) -> Option<LaneOff> {
        let is_on = self.is_switched.load(Ordering::Acquire);
        (!is_on).then(|| LaneOff::from_number(self.reason.load(Ordering::Relaxed)))
    }

    /// There is none, and this is why.
    pub(super) fn set_off(&self, reason: LaneOff) {
        self.reason.store(reason as u8, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Waits until there is a lane.
    ///
    /// # Errors
    /// Why there will be none; a reason that `may_pass` is waited out.
    pub(super) async fn settled(&self, may_pass: impl Fn(LaneOff) -> bool) -> Result<(), LaneOff> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on, so that no change is missed that comes before the look.
            changed.as_mut().enable();
            match self.off_reason() {
                None => return Ok(()),
                Some(reason) if may_pass(reason) => changed.await,
                Some(reason) => return Err(reason),
            }
        }
    }

    /// The connection is gone.
    pub(super) fn lose(&self) {
        self.is_on.store(false, Ordering::Release);
        // Before the switch: nobody finds neither a lane nor the reason.
        self.reason.store(LaneOff::Disconnected as u8, Ordering::Relaxed);
        self.is_switched.store(false, Ordering::Release);
        self.changed.notify_waiters();
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

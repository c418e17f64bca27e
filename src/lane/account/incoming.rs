//! A payload in its sender's arena, and who holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use busway_shm::Sample;

use super::{ALL, ALWAYS, Account, Amount, ONE, Segment};

/// A payload that lies in its sender's arena. Dropping the last share of it gives it back.
pub(crate) struct Incoming {
    /// Goes before the sample, which tells the sender: whoever has everything back may drop the arena and ask for another.
    pub(super) segment: Arc<Segment>,
    pub(super) sample: Sample,
    pub(super) account: Arc<Account>,
    pub(super) pins: AtomicU32,
}

/// A payload in its sender's arena, on its way to a receiver.
#[derive(Clone, Copy)]
pub(crate) enum OnLane<'a> {
    Arrived(&'a Arc<Incoming>),
    /// It has waited for a receiver, who holds it already.
    Held(&'a Pin),
}

impl OnLane<'_> {
    pub(crate) fn payload(&self) -> &Arc<Incoming> {
        match self {
            Self::Arrived(payload) => payload,
            Self::Held(pin) => pin.payload(),
        }
    }

    /// As [`Incoming::pin`]. Who holds it already may hold it on, however much that is.
    pub(crate) fn pin(&self, receiver: u64) -> Option<Pin> {
        match self {
            Self::Held(pin) if pin.receiver == receiver => Some(pin.again()),
            _ => self.payload().pin(receiver),
        }
    }
}

/// A payload that a receiver holds.
pub(crate) struct Pin {
    payload: Arc<Incoming>,
    receiver: u64,
}

impl Incoming {
    pub(crate) fn len(&self) -> usize {
        self.sample.len()
    }

    pub(in crate::lane) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(in crate::lane) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub(in crate::lane) fn offset(&self) -> usize {
        self.sample.offset()
    }

    /// The user whose process wrote it.
    pub(in crate::lane) fn user(&self) -> u32 {
        self.account.user
    }

    /// Copies a part of it; `position` is a multiple of 8.
    pub(in crate::lane) fn copy(&self, position: usize, bytes: &mut [u8]) {
        self.sample.copy_to(position, bytes);
    }

    /// Appends all of it.
    pub(crate) fn copy_all(&self, bytes: &mut Vec<u8>) {
        let before = bytes.len();
        bytes.resize(before + self.len(), 0);
        self.sample.copy_to(0, &mut bytes[before..]);
    }

    /// Holds it for a receiver, or says that the receiver, or all together, hold too much of this sender.
    pub(crate) fn pin(self: &Arc<Self>, receiver: u64) -> Option<Pin> {
        let account = &*self.account;
        let mut held = account.held.lock();
        let one = held.receivers.get(&receiver).copied().unwrap_or_default();
        let more = one.plus(self.len());
        let all = held.all.plus(self.len());
        let is_first = self.pins.load(Ordering::Relaxed) == 0;
        let is_much = more.exceeds(account, ONE) || (is_first && all.exceeds(account, ALL));
        if one.slots >= ALWAYS && is_much {
            return None;
        }
        held.receivers.insert(receiver, more);
        if is_first {
            held.all = all;
        }
        self.pins.fetch_add(1, Ordering::Relaxed);
        Some(Pin { payload: Arc::clone(self), receiver })
    }
}

impl Pin {
    pub(crate) fn payload(&self) -> &Arc<Incoming> {
        &self.payload
    }

    /// Holds it once more for the same receiver: until this or the other is dropped it counts twice.
    fn again(&self) -> Self {
        let mut held = self.payload.account.held.lock();
        let one = held.receivers.entry(self.receiver).or_default();
        *one = one.plus(self.payload.len());
        self.payload.pins.fetch_add(1, Ordering::Relaxed);
        Self { payload: Arc::clone(&self.payload), receiver: self.receiver }
    }

    /// The bytes in place: for receivers in this process that trust the sender.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.payload.sample.as_slice()
    }

    /// See [`Sample::send`].
    pub(crate) fn send(
        &self,
        socket: std::os::fd::BorrowedFd<'_>,
        heads: &[std::io::IoSlice<'_>],
        range: std::ops::Range<usize>,
    ) -> std::io::Result<usize> {
        self.payload.sample.send(socket, heads, range)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let length = self.payload.len();
        let mut held = self.payload.account.held.lock();
        if let Some(one) = held.receivers.get_mut(&self.receiver) {
            *one = one.minus(length);
            if *one == Amount::default() {
                held.receivers.remove(&self.receiver);
            }
        }
        // Under the lock, so that the count and the sum agree.
        if self.payload.pins.fetch_sub(1, Ordering::Relaxed) == 1 {
            held.all = held.all.minus(length);
        }
    }
}

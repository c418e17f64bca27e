//! Large payloads that are only borrowed: written from where they lie, if the broker reads them at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busway_net::link::{Endpoint, LendingPatience, Lent, Refused};
use busway_net::wire::encode_client_head;

use super::{Remote, check};
use crate::client::confirmation::{Accepted, Confirmation};
use crate::client::error::SendError;
use crate::client::operation::Operation;
use crate::payload::Content;

/// Payloads from here on are worth it: a copy of less stays in the caches until it is written.
const LONG: usize = 256 << 10;
/// A thread waits this long for a broker that does not read, ...
const STANDSTILL: Duration = Duration::from_millis(4);
/// ... and this long for each MiB with one that does: a copy would take a quarter of it, and the broker's reading the rest.
const TIME_OF_A_MEBIBYTE: Duration = Duration::from_millis(2);
/// Payloads that are copied without a try after many tries in a row that the broker was too slow for.
const MOST_SKIPPED: u32 = 255;

/// Whether a try is worth it, as the last ones went.
#[derive(Debug)]
pub(super) struct Lending {
    /// Who is on another host takes longer to read than it takes to copy.
    is_local: bool,
    /// Payloads that are still copied without a try.
    skip: AtomicU32,
    /// How many will be after the next try in vain.
    penalty: AtomicU32,
}

impl Lending {
    pub(super) fn to(endpoint: &Endpoint) -> Self {
        let is_local = matches!(endpoint, Endpoint::Unix(_));
        Self { is_local, skip: AtomicU32::new(0), penalty: AtomicU32::new(1) }
    }

    /// Whether this payload is to be tried with. Who comes at the same time may see the same.
    fn is_due(&self) -> bool {
        let skip = self.skip.load(Ordering::Relaxed);
        self.skip.store(skip.saturating_sub(1), Ordering::Relaxed);
        self.is_local && skip == 0
    }

    /// How a try went.
    fn learn(&self, lent: Lent) {
        match lent {
            Lent::Written => self.penalty.store(1, Ordering::Relaxed),
            Lent::Copied => {
                let penalty = self.penalty.load(Ordering::Relaxed);
                self.skip.store(penalty, Ordering::Relaxed);
                self.penalty.store((penalty * 2).min(MOST_SKIPPED), Ordering::Relaxed);
            }
            Lent::Behind => {}
        }
    }
}

impl Remote {
    /// Sends a large borrowed payload without a copy; `None` when it is to be queued. The thread may wait for the broker,
    /// about as long as a copy would take it: a frame that is begun and not owned is never left behind, because nobody
    /// knows when its operation is polled again, and all other frames would wait for that.
    #[inline]
    pub(in crate::client) fn send_lent(&self, operation: &Operation<'_>) -> Option<Accepted> {
        match operation.content {
            Content::Borrowed(bytes) if bytes.len() >= LONG => self.send_long(operation, bytes),
            _ => None,
        }
    }

    #[cold]
    fn send_long(&self, operation: &Operation<'_>, bytes: &[u8]) -> Option<Accepted> {
        #[cfg(feature = "shm")]
        if self.lane.is_on() {
            return None;
        }
        if self.is_closing() || check(operation, &self.options.limits).is_err() || !self.lending.is_due() {
            return None;
        }
        // Small frames before it that were left for later.
        self.outbox.flush();
        let names = (operation.address.as_bytes(), operation.receiver.map(str::as_bytes));
        let shape = (operation.operation, operation.qos);
        let mebibytes = u32::try_from(bytes.len() >> 20).unwrap_or(u32::MAX);
        let patience = LendingPatience {
            in_all: STANDSTILL + TIME_OF_A_MEBIBYTE.saturating_mul(mebibytes),
            standstill: STANDSTILL,
        };
        let mut answer = None;
        let head = |head: &mut Vec<u8>| {
            let op_id = self.op_id(operation.qos, &mut answer);
            encode_client_head(head, op_id, shape, names, bytes.len());
        };
        match self.outbox.offer_lent(bytes, head, patience, &self.pool) {
            Ok(Lent::Behind) | Err(Refused::Switched | Refused::Full) => None,
            Ok(lent) => {
                self.lending.learn(lent);
                Some(Ok(answer.map_or(Confirmation::done(), Confirmation::coming)))
            }
            Err(Refused::Closed) => Some(Err(SendError::Disconnected.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(lending: &Lending, payloads: u32, lent: Lent) -> u32 {
        let mut tries = 0;
        for _ in 0..payloads {
            if lending.is_due() {
                tries += 1;
                lending.learn(lent);
            }
        }
        tries
    }

    #[test]
    fn a_broker_that_is_too_slow_is_tried_less_and_less_and_one_that_reads_always() {
        let lending = Lending::to(&Endpoint::Unix("/run/bus.sock".into()));
        assert_eq!(tries(&lending, 100, Lent::Written), 100);
        assert!((8..12).contains(&tries(&lending, 1000, Lent::Copied)));
        assert!(tries(&lending, 256, Lent::Written) >= 1, "it is tried again in the end");
        assert_eq!(tries(&lending, 100, Lent::Written), 100);
    }

    #[test]
    fn nobody_waits_for_another_host() {
        let lending = Lending::to(&Endpoint::Tcp("host:9924".into()));
        assert_eq!(tries(&lending, 100, Lent::Written), 0);
    }
}

//! How those who send leave the connection, and others, their turn.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use busway_net::link::coarse_now;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::payload::Content;

/// Operations after which a task that never waits takes a turn of its budget: it has 128 before it has to let others run.
const SHORT_OPERATIONS: u32 = 32;
/// Payloads from here on take a turn each, ...
const LONG: usize = 4 << 10;
/// ... and one for so many bytes that have to be copied, which takes longer than most operations do, ...
const BYTES_OF_A_TURN: usize = 128 << 10;
/// ... up to half of a budget. Without these the connection's task, by which memory comes that needs no copying, waited for
/// 128 of the largest.
const MOST_TURNS: usize = 64;
/// Operations of a batch at which the clock is looked at, ...
const FIRST_OPERATIONS: u32 = 4;
/// ... and of those behind them, where most of a stream come, one in so many.
const LATER_OPERATIONS: u32 = 16;

/// Whether a caller has to do what the connection's task would, because it may keep the only thread for itself.
#[derive(Debug)]
pub(super) struct Turns {
    is_single_threaded: bool,
    /// The tick of the coarse clock in which a caller last wrote, in nanoseconds.
    last_write: AtomicI64,
    /// The connection's next number when its task was last told that something waits.
    left_at: AtomicU32,
}

impl Turns {
    /// For a connection whose task runs on this runtime.
    pub(super) fn on(runtime: &Handle) -> Self {
        let is_single_threaded = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
        Self { is_single_threaded, last_write: AtomicI64::new(0), left_at: AtomicU32::new(0) }
    }

    /// How many turns of its task's budget an operation takes: the connection's next number says how many came before.
    #[inline]
    pub(super) fn asked_for(next_op_id: u32, payload: &Content<'_>) -> usize {
        match payload.len() {
            LONG.. if payload.is_lent() => 1,
            length @ LONG.. => (length / BYTES_OF_A_TURN).clamp(1, MOST_TURNS),
            _ => usize::from(next_op_id.is_multiple_of(SHORT_OPERATIONS)),
        }
    }

    /// Something is left to the connection's task.
    #[inline]
    pub(super) fn leave(&self, next_op_id: u32) {
        self.left_at.store(next_op_id, Ordering::Relaxed);
    }

    /// Whether the caller writes what waits itself: once in a tick of the coarse clock (1 to 10 ms, as the kernel is
    /// built), and only where nobody else may run before it waits. Who works on without waiting, on a device or for
    /// long, would otherwise leave what it has sent behind for as long.
    #[inline]
    pub(super) fn must_write(&self, next_op_id: u32) -> bool {
        self.is_single_threaded
            && (next_op_id.wrapping_sub(self.left_at.load(Ordering::Relaxed)) <= FIRST_OPERATIONS
                || next_op_id.is_multiple_of(LATER_OPERATIONS))
            && self.is_new_tick()
    }

    #[cold]
    fn is_new_tick(&self) -> bool {
        let now = coarse_now();
        let is_new = self.last_write.load(Ordering::Relaxed) != now;
        if is_new {
            self.last_write.store(now, Ordering::Relaxed);
        }
        is_new
    }
}

//! How much may be on its way to one client.

use tokio::sync::Semaphore;

/// Bytes that may be on their way: a quarter of what brokers let wait for a client.
const BYTES: usize = 16 << 20;

/// Frames that a sender may send and a receiver has not yet read, handed out by the step: one by one would cost more than
/// small frames do.
pub(crate) struct Window {
    frames: usize,
    free: Semaphore,
}

impl Window {
    /// For payloads of one size.
    pub(crate) fn new(limit: u32, payload: usize) -> Self {
        let frames = (BYTES / payload.max(1)).min(limit as usize).max(1);
        Self { frames, free: Semaphore::new(frames) }
    }

    /// Frames of a step.
    pub(crate) fn step(&self) -> usize {
        (self.frames / 4).max(1)
    }

    /// Waits until a step is free.
    pub(crate) async fn take(&self) {
        let step = u32::try_from(self.step()).unwrap_or(u32::MAX);
        // It is never closed.
        if let Ok(permit) = self.free.acquire_many(step).await {
            permit.forget();
        }
    }

    /// A step was read.
    pub(crate) fn give_back(&self) {
        self.free.add_permits(self.step());
    }

    /// Waits, where a single frame fills the window, until it was read: nothing else may go along with it.
    pub(crate) async fn clear(&self) {
        if self.frames == 1 {
            self.take().await;
        }
    }
}

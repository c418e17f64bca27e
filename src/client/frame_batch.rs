//! What one read brought for the application.

use std::collections::VecDeque;

use crate::frame::Frame;

/// Frames, and what they are together.
#[derive(Debug, Default)]
pub(crate) struct FrameBatch {
    /// In the order of their arrival; each says how many were dropped just before it.
    pub(super) frames: VecDeque<Frame>,
    /// Bytes of all payloads.
    pub(super) bytes: u64,
    /// What the payloads weigh in a queue.
    pub(super) weight: usize,
    /// Frames that were dropped before those in the batch.
    pub(super) gaps: u64,
}

impl FrameBatch {
    /// Adds a frame.
    // Inlined, so that a frame is made where it stays.
    #[inline(always)]
    pub(super) fn push(&mut self, frame: Frame) {
        self.bytes += frame.payload.len() as u64;
        self.weight += frame.payload.weight();
        self.gaps += frame.lost_before();
        self.frames.push_back(frame);
    }

    /// Frames that have arrived, dropped ones included.
    #[inline]
    pub(super) fn arrived(&self) -> u64 {
        self.frames.len() as u64 + self.gaps
    }

    /// The frames are gone.
    pub(super) fn reset(&mut self) {
        (self.bytes, self.weight, self.gaps) = (0, 0, 0);
    }
}

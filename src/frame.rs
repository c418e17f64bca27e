//! What arrives, as a user sees it.

use std::fmt;
use std::sync::Arc;

use busway_net::wire::{FrameKind, SECONDARY_SEPARATOR};

use crate::frame_names::FrameNames;
use crate::payload::Payload;

/// A message, broadcast or publication that arrived.
// Whole words only: what is moved in other pieces than it was stored in makes the processor wait for its own stores.
#[derive(Clone)]
pub struct Frame {
    pub(crate) names: Arc<FrameNames>,
    pub(crate) payload: Payload,
    /// Bits 0 to 7 the kind, 8 whether it is urgent, 16 to 63 how many were lost before it.
    marks: u64,
}

// Each is moved some five times on its way.
const _: () = assert!(size_of::<Frame>() <= 96);

const REALTIME: u64 = 1 << 8;
const LOST_SHIFT: u32 = 16;
const MOST_LOST: u64 = u64::MAX >> LOST_SHIFT;

impl Frame {
    #[cfg_attr(not(feature = "ipc"), allow(dead_code, reason = "only clients receive any"))]
    #[inline]
    pub(crate) fn new(kind: FrameKind, is_realtime: bool, names: Arc<FrameNames>, payload: Payload) -> Self {
        let marks = kind as u64 | if is_realtime { REALTIME } else { 0 };
        Self { names, payload, marks }
    }

    /// The same behind so many more frames that were dropped.
    #[cfg_attr(not(feature = "ipc"), allow(dead_code, reason = "only clients receive any"))]
    #[inline]
    pub(crate) fn lose_before(&mut self, frames: u64) {
        let lost = self.lost_before().saturating_add(frames).min(MOST_LOST);
        self.marks = self.marks & !(MOST_LOST << LOST_SHIFT) | lost << LOST_SHIFT;
    }

    /// Takes what it says of frames that were dropped.
    #[cfg_attr(not(feature = "ipc"), allow(dead_code, reason = "only clients receive any"))]
    #[inline]
    pub(crate) fn take_lost_before(&mut self) -> u64 {
        let lost = self.lost_before();
        self.marks &= !(MOST_LOST << LOST_SHIFT);
        lost
    }

    /// How it was addressed.
    pub fn kind(&self) -> FrameKind {
        // What it was made of.
        FrameKind::from_byte(self.marks.to_le_bytes()[0]).unwrap_or(FrameKind::Message)
    }

    /// The full name of the client that sent it.
    pub fn sender(&self) -> &str {
        &self.names.sender
    }

    /// The sender's name without the suffix of a secondary client.
    pub fn primary_sender(&self) -> &str {
        self.sender().split(SECONDARY_SEPARATOR).next().unwrap_or_default()
    }

    /// The topic of a publication.
    pub fn topic(&self) -> Option<&str> {
        self.names.topic.as_deref()
    }

    /// The bytes.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The bytes, without the rest.
    pub fn into_payload(self) -> Payload {
        self.payload
    }

    /// Whether it was sent with a real-time QoS.
    pub fn is_realtime(&self) -> bool {
        self.marks & REALTIME != 0
    }

    /// How many frames for this client were dropped just before this one, because its receive queue was full or by
    /// its [`SlowPolicy`](crate::SlowPolicy): here, or in the broker.
    pub fn lost_before(&self) -> u64 {
        self.marks >> LOST_SHIFT
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Frame")
            .field("kind", &self.kind())
            .field("realtime", &self.is_realtime())
            .field("sender", &self.sender())
            .field("topic", &self.topic())
            .field("payload", &self.payload)
            .field("lost_before", &self.lost_before())
            .finish()
    }
}

#[cfg(feature = "ipc")]
impl crate::policy::Queued for Frame {
    fn topic(&self) -> Option<&Arc<str>> {
        self.names.topic.as_ref()
    }

    #[inline]
    fn weight(&self) -> usize {
        self.payload.weight()
    }
}

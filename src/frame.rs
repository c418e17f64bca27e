//! What arrives, as a user sees it.

#[cfg(feature = "ipc")]
use std::sync::Arc;

use busway_net::wire::{FrameKind, SECONDARY_SEPARATOR};

use crate::frame_names::FrameNames;
use crate::payload::Payload;

/// A message, broadcast or publication that arrived.
#[derive(Clone, Debug)]
pub struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) realtime: bool,
    pub(crate) names: FrameNames,
    pub(crate) payload: Payload,
    pub(crate) lost_before: u64,
}

impl Frame {
    /// How it was addressed.
    pub fn kind(&self) -> FrameKind {
        self.kind
    }

    /// The full name of the client that sent it.
    pub fn sender(&self) -> &str {
        self.names.sender()
    }

    /// The sender's name without the suffix of a secondary client.
    pub fn primary_sender(&self) -> &str {
        self.sender().split(SECONDARY_SEPARATOR).next().unwrap_or_default()
    }

    /// The topic of a publication.
    pub fn topic(&self) -> Option<&str> {
        self.names.topic().map(|topic| &**topic)
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
        self.realtime
    }

    /// How many frames for this client were dropped just before this one, because its receive queue was full or by
    /// its [`SlowPolicy`](crate::SlowPolicy): here, or in the broker.
    pub fn lost_before(&self) -> u64 {
        self.lost_before
    }
}

#[cfg(feature = "ipc")]
impl crate::policy::Queued for Frame {
    fn topic(&self) -> Option<&Arc<str>> {
        self.names.topic()
    }

    #[inline]
    fn weight(&self) -> usize {
        self.payload.weight()
    }
}

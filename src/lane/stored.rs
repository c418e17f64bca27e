//! A frame that is kept until there is room for it.

use std::sync::Arc;

use busway_net::wire::FrameKind;

#[cfg(feature = "shm")]
use super::account::{OnLane, Pin};
use super::{Outgoing, Routed};
use crate::frame_names::FrameNames;
use crate::payload::Payload;
use crate::policy::Queued;

/// A frame for one receiver, with everything it needs.
pub(crate) struct StoredFrame {
    kind: FrameKind,
    realtime: bool,
    names: Arc<FrameNames>,
    content: StoredContent,
}

enum StoredContent {
    Heap(Payload),
    /// In its sender's arena, held for the receiver.
    #[cfg(feature = "shm")]
    Held(Pin),
}

/// What a payload counts for that is held where it lies.
#[cfg(feature = "shm")]
const HELD_WEIGHT: usize = 64;

impl StoredFrame {
    /// Keeps a frame for the peer of this number. Bytes in a sender's arena are held, or copied if the receiver holds
    /// too much of that sender.
    #[cfg_attr(not(feature = "shm"), expect(unused_variables, reason = "only payloads in shared memory are held"))]
    pub(crate) fn new(frame: &Outgoing<'_>, receiver: u64) -> Self {
        let content = match &frame.content {
            content if !frame.prefix.is_empty() => StoredContent::Heap(content.with_prefix(frame.prefix).into()),
            #[cfg(feature = "shm")]
            Routed::Lane(place) => match place.pin(receiver) {
                Some(pin) => StoredContent::Held(pin),
                None => StoredContent::Heap(frame.content.owned_bytes()),
            },
            content => StoredContent::Heap(content.owned_bytes()),
        };
        Self { kind: frame.kind, realtime: frame.realtime, names: Arc::clone(frame.names), content }
    }

    /// The frame again.
    pub(crate) fn outgoing(&self) -> Outgoing<'_> {
        let content = match &self.content {
            StoredContent::Heap(payload) => Routed::Owned(payload),
            #[cfg(feature = "shm")]
            StoredContent::Held(pin) => Routed::Lane(OnLane::Held(pin)),
        };
        Outgoing { kind: self.kind, realtime: self.realtime, names: &self.names, prefix: &[], content }
    }
}

impl Queued for StoredFrame {
    fn topic(&self) -> Option<&Arc<str>> {
        self.names.topic.as_ref()
    }

    fn weight(&self) -> usize {
        match &self.content {
            StoredContent::Heap(payload) => payload.len(),
            #[cfg(feature = "shm")]
            StoredContent::Held(_) => HELD_WEIGHT,
        }
    }
}

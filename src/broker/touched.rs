//! The sinks that one batch of frames has touched.

use std::sync::Arc;
use std::time::Duration;

use busway_net::link::Touch;
use busway_net::wire::{FrameKind, Operation, QoS};

use super::peer::Peer;
use crate::lane::{Outgoing, StoredFrame};
use crate::payload::Payload;

/// Which peers are to be flushed, once each, when a batch is over, and which were found too slow.
pub(crate) struct Touched {
    token: u64,
    peers: Vec<Arc<Peer>>,
    pub(super) slow: Vec<Arc<Peer>>,
    /// What the operation at hand waits for.
    pub(super) waits: Vec<Wait>,
    pub(super) answer: Option<HeldAnswer>,
    /// The operation at hand, if it is a list of topics that takes long.
    pub(super) long_list: Option<LongList>,
}

/// A change of subscriptions or exclusions that others do not wait for.
pub(crate) struct LongList {
    pub(super) operation: Operation,
    /// Text.
    pub(super) content: Payload,
}

/// A frame whose sender waits until its receiver has room.
pub(crate) struct Wait {
    pub(super) peer: Arc<Peer>,
    pub(super) frame: StoredFrame,
    pub(super) bound: Duration,
}

/// What the sender of an operation that waits is told afterwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldAnswer {
    pub(super) op_id: u32,
    pub(super) qos: QoS,
    pub(super) kind: FrameKind,
}

impl Touched {
    /// The batches of one party, which a number from [`Router::next_id`](super::router::Router::next_id) tells from
    /// those of others.
    pub(crate) fn new(party: u64) -> Self {
        Self {
            token: (party << 32) + 1,
            peers: Vec::new(),
            slow: Vec::new(),
            waits: Vec::new(),
            answer: None,
            long_list: None,
        }
    }

    /// The name of the batch at hand.
    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    /// Remembers a peer, or flushes it already: what several receivers have of one batch would be memory many times.
    /// Where there is only one, writing all at once wakes that less often.
    #[inline]
    pub(crate) fn heed(&mut self, peer: &Arc<Peer>, touch: Touch) {
        match touch {
            Touch::First => self.peers.push(Arc::clone(peer)),
            Touch::Again => {}
            Touch::Due => self.flush_if_several(peer),
        }
    }

    #[cold]
    fn flush_if_several(&self, peer: &Peer) {
        if self.peers.len() > 1 {
            peer.sink.flush();
        }
    }

    /// Lets a frame wait, if the one before it waits for the same receiver; says whether it does.
    pub(super) fn wait_behind(&mut self, peer: &Arc<Peer>, frame: &Outgoing<'_>) -> bool {
        match self.waits.last() {
            Some(before) if Arc::ptr_eq(&before.peer, peer) => {
                let wait =
                    Wait { peer: Arc::clone(peer), frame: StoredFrame::new(frame, peer.id), bound: before.bound };
                self.waits.push(wait);
                true
            }
            _ => false,
        }
    }

    /// Whether the operation at hand waits for room, or for others to have their turn.
    pub(crate) fn has_waits(&self) -> bool {
        !self.waits.is_empty() || self.long_list.is_some()
    }

    /// Flushes every peer once and begins the next batch.
    pub(crate) fn flush(&mut self) {
        // Frames offered from now on belong to a new batch, also those of a peer flushed in this one.
        self.token += 1;
        for peer in self.peers.drain(..) {
            peer.sink.flush();
        }
    }
}

//! The sinks that one batch of frames has touched.

use std::sync::Arc;

use super::peer::Peer;

/// Which peers are to be flushed, once each, when a batch is over, and which were found too slow.
#[derive(Debug)]
pub(crate) struct Touched {
    token: u64,
    peers: Vec<Arc<Peer>>,
    pub(super) slow: Vec<Arc<Peer>>,
}

impl Touched {
    /// The batches of one party, which a number from [`Router::next_id`](super::router::Router::next_id) tells from
    /// those of others.
    pub(crate) fn new(party: u64) -> Self {
        Self { token: (party << 32) + 1, peers: Vec::new(), slow: Vec::new() }
    }

    /// The name of the batch at hand.
    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    /// Remembers a peer.
    pub(crate) fn add(&mut self, peer: &Arc<Peer>) {
        self.peers.push(Arc::clone(peer));
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

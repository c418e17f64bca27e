//! Who comes and who goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use busway_net::wire::ResultCode;

use super::control;
use super::peer::Peer;
use super::router::Router;
use super::touched::Touched;

/// What was counted for peers that have gone.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    pub(crate) received_frames: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) written_frames: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    /// Refused frames of all peers, and what the sinks of those that have gone had dropped.
    pub(crate) lost: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) cut: AtomicU64,
}

impl Router {
    /// Registers a peer and announces it.
    ///
    /// # Errors
    /// The code for the handshake.
    pub(crate) fn register(&self, peer: &Arc<Peer>, touched: &mut Touched) -> Result<(), ResultCode> {
        let _turn = self.announcing.lock();
        let replaced = {
            let mut registry = self.registry.write();
            if self.has_ended.load(Ordering::Relaxed) {
                return Err(ResultCode::OTHER);
            }
            if !registry.rights(peer).allow_connection(peer) {
                return Err(ResultCode::ACCESS_DENIED);
            }
            let replaced = registry.insert(peer, &self.registry_limits)?;
            registry.subscribe(peer, control::WARN_TOPIC, &self.registry_limits)?;
            self.change();
            replaced
        };
        for older in replaced {
            tracing::warn!(client = ?older.name, "disconnected: a newer client has taken the name");
            self.retire(&older, touched);
        }
        if !peer.name.is_secondary() {
            control::announce(self, control::INFO_TOPIC, "reg", Some(&peer.name), touched);
        }
        Ok(())
    }

    /// Whether the client of this name has gone, and is there only until what it sent is routed.
    pub(crate) fn is_leaving(&self, name: &str) -> bool {
        let peer = self.registry.read().by_name(name).map(Arc::clone);
        peer.is_some_and(|peer| peer.sink.has_left())
    }

    /// Takes a peer out, with its secondaries, ends their connections and announces it. Does nothing the second time.
    pub(crate) fn unregister(&self, peer: &Arc<Peer>, touched: &mut Touched) {
        let _turn = self.announcing.lock();
        let removed = {
            let mut registry = self.registry.write();
            let removed = registry.remove(peer);
            self.change();
            removed
        };
        for peer in removed {
            self.retire(&peer, touched);
        }
    }

    fn retire(&self, peer: &Arc<Peer>, touched: &mut Touched) {
        if let Some(waiting) = peer.end() {
            self.lose(peer, waiting);
        }
        let (frames, bytes) = peer.received.load();
        let level = peer.sink.level();
        self.retired.received_frames.fetch_add(frames, Ordering::Relaxed);
        self.retired.received_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.retired.written_frames.fetch_add(level.taken_frames, Ordering::Relaxed);
        self.retired.written_bytes.fetch_add(level.taken_bytes, Ordering::Relaxed);
        self.retired.lost.fetch_add(peer.sink.dropped(), Ordering::Relaxed);
        self.retired.denied.fetch_add(peer.denied.load(Ordering::Relaxed), Ordering::Relaxed);
        if !peer.name.is_secondary() {
            control::announce(self, control::INFO_TOPIC, "unreg", Some(&peer.name), touched);
        }
    }

    /// Ends a connection for the peer's fault; what waited for it is lost and counted.
    pub(crate) fn cut(&self, peer: &Arc<Peer>, reason: &str) {
        let Some(waiting) = peer.end() else { return };
        self.lose(peer, waiting);
        let lost = peer.lost();
        self.retired.cut.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("client {:?} cut: {reason}; {lost} frames for it are lost", peer.name);
    }

    /// Ends every connection, and keeps handshakes that are under way from becoming one.
    pub(crate) fn end_all(&self) {
        let peers: Vec<Arc<Peer>> = {
            let registry = self.registry.write();
            self.has_ended.store(true, Ordering::Relaxed);
            registry.peers().map(|(peer, _)| Arc::clone(peer)).collect()
        };
        for peer in peers {
            peer.end();
        }
    }
}

//! Keeps connections alive and ends dead ones: one task for the whole broker, no timer per connection.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::peer::{Peer, Transport};
use super::touched::Touched;
use super::{Shared, control};

/// Looks per `timeout`.
const LOOKS: u32 = 8;
/// A client from which nothing came for this many looks is cut: 1.25 x `timeout`.
const SILENT_LOOKS: u32 = LOOKS * 10 / 8;
/// Clients whose losses are announced at a look, to everybody: the others are at the next ones.
const ANNOUNCED_LOSSES: usize = 16;
/// The broker pings every so many looks: `timeout` / 2.
const PING_LOOKS: u32 = LOOKS / 2;

#[derive(Clone, Copy, Default)]
struct Watch {
    silent: u32,
    progress: u64,
    /// Frames for it that were lost, as far as they are announced.
    announced: u64,
    /// The same, with those that were lost of the announcements themselves: they are no reason for another one.
    lost: u64,
}

/// Runs until the broker ends.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval((shared.timeout / LOOKS).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watches: HashMap<u64, Watch> = HashMap::new();
    let mut touched = Touched::new(shared.router.next_id());
    let mut look: u32 = 0;
    loop {
        ticks.tick().await;
        look = look.wrapping_add(1);
        let peers: Vec<Arc<Peer>> =
            shared.router.with_registry(|registry| registry.peers().map(|(peer, _)| Arc::clone(peer)).collect());
        let mut next = HashMap::with_capacity(peers.len());
        for peer in peers {
            let before = watches.get(&peer.id).copied();
            let mut watch = before.unwrap_or_default();
            if peer.transport != Transport::Internal {
                watch = look_at(&shared, &peer, before, &mut touched);
                peer.sink.tidy();
                if look.is_multiple_of(PING_LOOKS) {
                    peer.sink.ping();
                }
            }
            next.insert(peer.id, (peer, watch));
        }
        announce_losses(&shared, &mut next, &mut touched).await;
        watches = next.into_iter().map(|(id, (_, watch))| (id, watch)).collect();
        shared.router.finish(&mut touched);
        let others = shared.handshakes.lock().take_due();
        complain_of(others);
        shared.router.pool.tidy();
        shared.pipes.tidy();
        shared.looks.fetch_add(1, Ordering::Relaxed);
    }
}

/// The broker ends: what has not been said yet.
pub(super) fn complain_of_the_rest(shared: &Shared) {
    let others = shared.handshakes.lock().take();
    complain_of(others);
}

/// What of many complaints was not said one by one.
fn complain_of(others: Option<u64>) {
    if let Some(others) = others {
        tracing::warn!("{others} more handshakes not completed");
    }
}

/// Once a look, however much is lost. What is lost with a connection that was cut is announced by that.
async fn announce_losses(shared: &Shared, watches: &mut HashMap<u64, (Arc<Peer>, Watch)>, touched: &mut Touched) {
    let mut losses = Vec::new();
    let mut is_left = HashSet::new();
    for (peer, watch) in watches.values_mut() {
        let lost = peer.lost();
        if lost <= watch.lost || peer.is_ended() {
            continue;
        }
        if losses.len() == ANNOUNCED_LOSSES {
            is_left.insert(peer.id);
        } else {
            losses.push((Arc::clone(peer), lost - watch.announced, lost));
            (watch.announced, watch.lost) = (lost, lost);
        }
    }
    for (peer, frames, lost) in &losses {
        tracing::warn!(client = ?peer.name, "too slow: {frames} frames for it were dropped, {lost} so far");
        control::announce_loss(&shared.router, &peer.name, *frames, touched);
        // Thousands may have been told.
        tokio::task::yield_now().await;
    }
    if !losses.is_empty() {
        // Everybody is told, also those who have no room for it.
        let told = watches.values_mut().filter(|(peer, _)| !is_left.contains(&peer.id));
        told.for_each(|(peer, watch)| watch.lost = peer.lost());
    }
}

fn look_at(shared: &Shared, peer: &Arc<Peer>, before: Option<Watch>, touched: &mut Touched) -> Watch {
    let Some(mut watch) = before else { return Watch::default() };
    let activity = &peer.activity;
    let is_held = activity.held.load(Ordering::Relaxed);
    let mut is_alive = activity.heard.swap(false, Ordering::Relaxed) || activity.waits.load(Ordering::Relaxed);
    if is_held {
        // It is not read from: what tells that it lives is that it reads.
        // The kernel reports room late, when much has been read: the look tries to write.
        let progress = peer.sink.progress();
        is_alive = progress != watch.progress;
        watch.progress = progress;
    }
    watch.silent = if is_alive { 0 } else { watch.silent + 1 };
    let reason = match (is_held, activity.amid.load(Ordering::Relaxed)) {
        (true, _) if watch.silent >= SILENT_LOOKS => "it does not read what it is sent",
        (false, true) if watch.silent >= LOOKS => "a frame of it made no progress within the timeout",
        (false, false) if watch.silent >= SILENT_LOOKS => {
            "nothing came from it, not even a ping, for 1.25 x the timeout"
        }
        _ => return watch,
    };
    shared.router.cut(peer, reason);
    shared.router.unregister(peer, touched);
    watch
}

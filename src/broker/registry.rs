//! Who is connected, and who has subscribed to what.

use std::collections::{HashMap, HashSet, VecDeque, hash_set};
use std::sync::Arc;

use busway_net::wire::ResultCode;
use foldhash::fast::RandomState;

use super::access::{AccessRules, Rights};
use super::control::WARN_TOPIC;
use super::masks;
use super::peer::{Peer, Transport};
use crate::topics::{TopicTree, place_of};

/// Every registered peer by full name, and the filters of all.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: HashMap<Arc<str>, Entry, RandomState>,
    topics: TopicTree<Arc<Peer>>,
    /// Filters of peers that have gone which are still in the tree.
    leftover: VecDeque<(u64, hash_set::IntoIter<Box<str>>)>,
    /// Without them everything is allowed.
    rules: Option<AccessRules>,
}

#[derive(Debug)]
struct Entry {
    peer: Arc<Peer>,
    filters: HashSet<Box<str>, RandomState>,
    /// Exclusions count against the same limit as subscriptions.
    exclusions: HashSet<Box<str>, RandomState>,
    /// Levels of all of them: what they cost in memory.
    levels: usize,
    secondaries: Vec<Arc<str>>,
}

/// Filters that are changed while others wait for the registry.
pub(super) const FILTERS_AT_ONCE: usize = 256;
/// Levels that a client's filters may have on average when it has as many as it may.
const LEVELS_PER_FILTER: usize = 4;

impl Entry {
    /// Counts a filter in, if there is room for it.
    fn reserve(&mut self, filter: &str, limits: &RegistryLimits) -> Result<(), ResultCode> {
        let levels = self.levels + levels_of(filter);
        // Everybody's subscription to the broker's warnings does not count.
        if self.filters.len() + self.exclusions.len() > limits.subscriptions
            || levels > limits.subscriptions.saturating_add(1).saturating_mul(LEVELS_PER_FILTER)
        {
            return Err(ResultCode::DATA);
        }
        self.levels = levels;
        Ok(())
    }
}

/// Limits of the registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegistryLimits {
    pub(crate) clients: usize,
    pub(crate) subscriptions: usize,
    pub(crate) force_register: bool,
}

impl Registry {
    /// Adds a peer; returns the older ones that it replaces.
    ///
    /// # Errors
    /// The code for the handshake.
    pub(crate) fn insert(&mut self, peer: &Arc<Peer>, limits: &RegistryLimits) -> Result<Vec<Arc<Peer>>, ResultCode> {
        let name = peer.name.shared();
        let is_secondary = peer.name.is_secondary();
        if is_secondary && !self.entries.contains_key(peer.name.primary()) {
            return Err(ResultCode::NOT_REGISTERED);
        }
        let mut replaced = Vec::new();
        if let Some(entry) = self.entries.get(name) {
            if is_secondary || !limits.force_register || entry.peer.transport == Transport::Internal {
                return Err(ResultCode::BUSY);
            }
            let older = Arc::clone(&entry.peer);
            replaced = self.remove(&older);
        }
        // The broker's own entry does not count.
        if self.entries.len() > limits.clients {
            return Err(ResultCode::BUSY);
        }
        if is_secondary && let Some(primary) = self.entries.get_mut(peer.name.primary()) {
            primary.secondaries.push(name.clone());
        }
        let entry = Entry {
            peer: Arc::clone(peer),
            filters: HashSet::default(),
            exclusions: HashSet::default(),
            levels: 0,
            secondaries: Vec::new(),
        };
        self.entries.insert(name.clone(), entry);
        Ok(replaced)
    }

    /// Takes a peer out, with the secondaries of a primary; returns all that were taken out, or nothing if it is not
    /// registered (any longer). Where they have many filters, [`forget_some`](Self::forget_some) has to be called again.
    pub(crate) fn remove(&mut self, peer: &Arc<Peer>) -> Vec<Arc<Peer>> {
        let mut removed = Vec::new();
        if self.entries.get(peer.name.shared()).is_none_or(|entry| entry.peer.id != peer.id) {
            return removed;
        }
        let mut names = vec![peer.name.shared().clone()];
        while let Some(name) = names.pop() {
            let Some(entry) = self.entries.remove(&name) else { continue };
            self.leftover.push_back((entry.peer.id, entry.filters.into_iter()));
            names.extend(entry.secondaries);
            removed.push(entry.peer);
        }
        if peer.name.is_secondary()
            && let Some(primary) = self.entries.get_mut(peer.name.primary())
        {
            primary.secondaries.retain(|name| name != peer.name.shared());
        }
        self.forget_some();
        removed
    }

    /// Takes some filters of peers that have gone out of the tree; says whether there are more.
    pub(crate) fn forget_some(&mut self) -> bool {
        let mut left = FILTERS_AT_ONCE;
        while let Some((peer, filters)) = self.leftover.front_mut() {
            for filter in filters.by_ref().take(left) {
                self.topics.remove(&filter, *peer);
                left -= 1;
            }
            if left == 0 {
                return true;
            }
            self.leftover.pop_front();
        }
        false
    }

    /// Subscribes.
    ///
    /// # Errors
    /// `DATA` when the peer has too many; `NOT_REGISTERED` when it is gone.
    pub(crate) fn subscribe(&mut self, peer: &Peer, filter: &str, limits: &RegistryLimits) -> Result<(), ResultCode> {
        let filter = place_of(filter);
        let entry = self.entries.get_mut(&*peer.name).filter(|entry| entry.peer.id == peer.id);
        let entry = entry.ok_or(ResultCode::NOT_REGISTERED)?;
        if entry.filters.contains(filter) {
            return Ok(());
        }
        entry.reserve(filter, limits)?;
        entry.filters.insert(filter.into());
        self.topics.insert(filter, peer.id, Arc::clone(&entry.peer));
        Ok(())
    }

    /// Unsubscribes.
    pub(crate) fn unsubscribe(&mut self, peer: &Peer, filter: &str) {
        let filter = place_of(filter);
        if let Some(entry) = self.entries.get_mut(&*peer.name).filter(|entry| entry.peer.id == peer.id)
            && entry.filters.remove(filter)
        {
            entry.levels -= levels_of(filter);
            self.topics.remove(filter, peer.id);
        }
    }

    /// Takes matching topics away from a peer.
    ///
    /// # Errors
    /// `DATA` when the peer has too many; `NOT_REGISTERED` when it is gone.
    pub(crate) fn exclude(&mut self, peer: &Peer, filter: &str, limits: &RegistryLimits) -> Result<(), ResultCode> {
        let filter = place_of(filter);
        let entry = self.entries.get_mut(&*peer.name).filter(|entry| entry.peer.id == peer.id);
        let entry = entry.ok_or(ResultCode::NOT_REGISTERED)?;
        if entry.exclusions.contains(filter) {
            return Ok(());
        }
        entry.reserve(filter, limits)?;
        entry.exclusions.insert(filter.into());
        peer.exclusions.lock().insert(filter, 0, ());
        Ok(())
    }

    /// Gives them back.
    pub(crate) fn unexclude(&mut self, peer: &Peer, filter: &str) {
        let filter = place_of(filter);
        if let Some(entry) = self.entries.get_mut(&*peer.name).filter(|entry| entry.peer.id == peer.id)
            && entry.exclusions.remove(filter)
        {
            entry.levels -= levels_of(filter);
            peer.exclusions.lock().remove(filter, 0);
        }
    }

    /// Puts access rules in force, or lifts them.
    pub(crate) fn set_rules(&mut self, rules: Option<AccessRules>) {
        self.rules = rules;
    }

    /// What the access rules say of a peer.
    pub(crate) fn rights(&self, peer: &Peer) -> Rights<'_> {
        Rights::of(self.rules.as_ref(), peer)
    }

    /// Whether a peer may subscribe. Everybody hears the broker's warnings.
    pub(crate) fn may_subscribe(&self, peer: &Peer, filter: &str) -> bool {
        filter == WARN_TOPIC || self.rights(peer).allow_subscription(filter)
    }

    /// Takes away the subscriptions that are not allowed; says from whom, and which.
    pub(crate) fn take_subscriptions(&mut self) -> Vec<(Arc<Peer>, Vec<Box<str>>)> {
        let denied = |entry: &Entry| {
            let filters = entry.filters.iter().filter(|filter| !self.may_subscribe(&entry.peer, filter));
            (Arc::clone(&entry.peer), filters.cloned().collect::<Vec<_>>())
        };
        let mut denied: Vec<_> = self.entries.values().map(denied).collect();
        denied.retain(|(_, filters)| !filters.is_empty());
        for (peer, filters) in &denied {
            filters.iter().for_each(|filter| self.unsubscribe(peer, filter));
        }
        denied
    }

    /// The peers that may not be connected.
    pub(crate) fn strangers(&self) -> Vec<Arc<Peer>> {
        let peers = self.entries.values().map(|entry| &entry.peer);
        peers.filter(|peer| !self.rights(peer).allow_connection(peer)).map(Arc::clone).collect()
    }

    /// The peer of a full name.
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Peer>> {
        self.entries.get(name).map(|entry| &entry.peer)
    }

    /// The peers whose names match a mask.
    pub(crate) fn by_mask(&self, mask: &str) -> Vec<Arc<Peer>> {
        if masks::is_exact(mask) {
            return self.by_name(mask).cloned().into_iter().collect();
        }
        let matching = self.entries.values().filter(|entry| masks::matches(mask, &entry.peer.name));
        matching.map(|entry| Arc::clone(&entry.peer)).collect()
    }

    /// The subscribers of a topic that do not exclude it.
    pub(crate) fn by_topic(&self, topic: &str) -> Vec<Arc<Peer>> {
        let mut peers = self.topics.matching(topic);
        peers.retain(|peer| {
            if peer.is_ended() {
                return false;
            }
            let exclusions = peer.exclusions.lock();
            exclusions.is_empty() || !exclusions.matches(topic)
        });
        peers
    }

    /// All peers, with the number of their secondaries.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (&Arc<Peer>, usize)> {
        self.entries.values().map(|entry| (&entry.peer, entry.secondaries.len()))
    }
}

fn levels_of(filter: &str) -> usize {
    filter.bytes().filter(|byte| *byte == b'/').count() + 1
}

//! Which policy holds for which frame.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::SlowPolicy;
use crate::topics::{TopicTree, place_of};

/// A client's policy, and those of some of its subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    general: SlowPolicy,
    is_general_set: bool,
    /// Policies of filters, numbered: a later one has a greater number.
    filters: HashMap<Box<str>, (u64, SlowPolicy), RandomState>,
    by_filter: TopicTree<SlowPolicy>,
    /// Levels of all of them.
    levels: usize,
    last: u64,
}

/// Filters of one client that may have a policy of their own.
pub(crate) const MAX_FILTERS: usize = 1024;
/// Levels of all of these: what is looked at for each frame of a client that is behind.
pub(crate) const MAX_LEVELS: usize = 4 * MAX_FILTERS;

/// What the topics begin with on which the broker announces who comes, goes and is slow.
const ANNOUNCEMENTS: &str = ".broker/";

impl Rules {
    /// A policy for everything, as long as nothing is set.
    pub(crate) fn new(general: SlowPolicy) -> Self {
        Self { general, ..Self::default() }
    }

    /// Changes the policy of all frames whose topic has none of its own.
    pub(crate) fn set_general(&mut self, policy: SlowPolicy) {
        self.general = policy;
        self.is_general_set = true;
    }

    /// Changes the policy of publications that match a filter; says whether there is room for one more.
    pub(crate) fn set(&mut self, filter: &str, policy: SlowPolicy) -> bool {
        let filter = place_of(filter);
        if !self.filters.contains_key(filter) {
            let levels = self.levels + levels_of(filter);
            if self.filters.len() >= MAX_FILTERS || levels > MAX_LEVELS {
                return false;
            }
            self.levels = levels;
        }
        self.last += 1;
        if let Some((before, _)) = self.filters.insert(filter.into(), (self.last, policy)) {
            self.by_filter.remove(filter, before);
        }
        self.by_filter.insert(filter, self.last, policy);
        true
    }

    /// A filter has no policy of its own any longer.
    pub(crate) fn remove(&mut self, filter: &str) {
        let filter = place_of(filter);
        if let Some((number, _)) = self.filters.remove(filter) {
            self.levels -= levels_of(filter);
            self.by_filter.remove(filter, number);
        }
    }

    /// The policy for a frame: that of the matching filter that was set last, or the client's.
    pub(crate) fn of(&self, topic: Option<&str>) -> SlowPolicy {
        let policy = match topic {
            Some(topic) if !self.filters.is_empty() => {
                self.by_filter.matching(topic).last().copied().unwrap_or(self.general)
            }
            _ => self.general,
        };
        match policy {
            // Of two announcements each tells of another client.
            SlowPolicy::Latest if topic.is_some_and(|topic| topic.starts_with(ANNOUNCEMENTS)) => SlowPolicy::DropOldest,
            policy => policy,
        }
    }

    /// The policy of all that no filter names, if it was set.
    #[cfg(feature = "rpc")]
    pub(crate) fn general(&self) -> Option<SlowPolicy> {
        self.is_general_set.then_some(self.general)
    }

    /// The policies of filters, in the order in which they were set.
    #[cfg(feature = "rpc")]
    pub(crate) fn of_filters(&self) -> Vec<(&str, SlowPolicy)> {
        let mut filters: Vec<_> = self.filters.iter().collect();
        filters.sort_unstable_by_key(|(_, (number, _))| *number);
        filters.into_iter().map(|(filter, (_, policy))| (&**filter, *policy)).collect()
    }

    /// Whether any frame may make its sender wait.
    pub(crate) fn has_wait(&self) -> bool {
        let is_wait = |policy: SlowPolicy| matches!(policy, SlowPolicy::Wait(_));
        is_wait(self.general) || self.filters.values().any(|(_, policy)| is_wait(*policy))
    }
}

fn levels_of(filter: &str) -> usize {
    filter.split('/').count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_policy_that_was_set_last_holds_and_a_filter_s_own_comes_before_the_client_s() {
        let mut rules = Rules::new(SlowPolicy::DropNewest);
        assert!(rules.set("a/#", SlowPolicy::Latest) && rules.set("a/b", SlowPolicy::Cut));
        assert_eq!(rules.of(None), SlowPolicy::DropNewest);
        assert_eq!(rules.of(Some("x")), SlowPolicy::DropNewest);
        assert_eq!(rules.of(Some("a/c")), SlowPolicy::Latest);
        assert_eq!(rules.of(Some("a/b")), SlowPolicy::Cut);
        assert!(rules.set("a/#/ignored", SlowPolicy::DropOldest));
        assert_eq!(rules.of(Some("a/b")), SlowPolicy::DropOldest);
        rules.remove("a/#");
        assert_eq!(rules.of(Some("a/c")), SlowPolicy::DropNewest);
        assert_eq!(rules.of_filters(), [("a/b", SlowPolicy::Cut)]);
        assert!(!rules.has_wait() && rules.set("w", SlowPolicy::Wait(Duration::from_secs(1))) && rules.has_wait());
    }

    #[test]
    fn no_announcement_takes_the_place_of_another() {
        let mut rules = Rules::new(SlowPolicy::Latest);
        assert_eq!(rules.of(Some(".broker/info")), SlowPolicy::DropOldest);
        assert_eq!(rules.of(Some("broker/info")), SlowPolicy::Latest);
        assert!(rules.set("#", SlowPolicy::Latest));
        assert_eq!(rules.of(Some(".broker/info")), SlowPolicy::DropOldest);
        assert!(rules.set(".broker/#", SlowPolicy::DropNewest));
        assert_eq!(rules.of(Some(".broker/info")), SlowPolicy::DropNewest);
    }

    #[test]
    fn only_so_many_filters_have_a_policy() {
        let mut rules = Rules::default();
        for number in 0..MAX_FILTERS {
            assert!(rules.set(&format!("a/{number}"), SlowPolicy::Latest));
        }
        assert!(!rules.set("one/more", SlowPolicy::Latest) && rules.set("a/0", SlowPolicy::Cut));
        rules.remove("a/1");
        assert!(rules.set("one/more", SlowPolicy::Latest));
    }

    #[test]
    fn their_levels_are_counted() {
        let mut rules = Rules::default();
        let long = |number: usize| format!("{number}{}", "/x".repeat(127));
        for number in 0..MAX_LEVELS / 128 {
            assert!(rules.set(&long(number), SlowPolicy::Latest));
        }
        assert!(!rules.set("a", SlowPolicy::Latest) && rules.set(&long(0), SlowPolicy::Cut));
        rules.remove(&long(0));
        assert!(rules.set("a", SlowPolicy::Latest) && !rules.set(&long(0), SlowPolicy::Latest));
    }
}

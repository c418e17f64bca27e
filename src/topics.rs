//! Which filters match a topic.
//!
//! Topics split on `/`; in a filter `+` stands for exactly one level and `#` for one or more trailing levels.

#![cfg_attr(not(feature = "broker"), allow(dead_code, reason = "a client matches, and takes nothing out"))]

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

/// A tree of topic filters; at each filter any number of values, each under a key.
#[derive(Debug)]
pub(crate) struct TopicTree<V> {
    root: Node<V>,
}

#[derive(Debug)]
struct Node<V> {
    levels: HashMap<Box<str>, Node<V>, RandomState>,
    /// What follows a `+`.
    any: Option<Box<Node<V>>>,
    /// Filters that end here.
    here: BTreeMap<u64, V>,
    /// Filters that end with a `#` here.
    rest: BTreeMap<u64, V>,
}

impl<V> Default for TopicTree<V> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { levels: HashMap::default(), any: None, here: BTreeMap::new(), rest: BTreeMap::new() }
    }
}

impl<V> Node<V> {
    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.any.is_none() && self.here.is_empty() && self.rest.is_empty()
    }
}

impl<V: Clone> TopicTree<V> {
    /// Adds a value at a filter; the same key at the same filter is replaced. What follows a `#` is ignored.
    pub(crate) fn insert(&mut self, filter: &str, key: u64, value: V) {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            match level {
                "#" => {
                    node.rest.insert(key, value);
                    return;
                }
                "+" => node = node.any.get_or_insert_default(),
                level => node = node.levels.entry(level.into()).or_default(),
            }
        }
        node.here.insert(key, value);
    }

    /// Takes a value away from a filter.
    pub(crate) fn remove(&mut self, filter: &str, key: u64) {
        fn remove<V>(node: &mut Node<V>, mut levels: std::str::Split<'_, char>, key: u64) {
            match levels.next() {
                None => {
                    node.here.remove(&key);
                }
                Some("#") => {
                    node.rest.remove(&key);
                }
                Some("+") => {
                    if let Some(next) = &mut node.any {
                        remove(next, levels, key);
                        if next.is_empty() {
                            node.any = None;
                        }
                    }
                }
                Some(level) => {
                    if let Some(next) = node.levels.get_mut(level) {
                        remove(next, levels, key);
                        if next.is_empty() {
                            node.levels.remove(level);
                        }
                    }
                }
            }
        }
        remove(&mut self.root, filter.split('/'), key);
    }

    /// The values at all filters that match a topic, each key once, in the order of the keys.
    pub(crate) fn matching(&self, topic: &str) -> Vec<V> {
        let mut found = BTreeMap::new();
        visit(&self.root, topic.split('/'), &mut |values| {
            for (key, value) in values {
                found.entry(*key).or_insert_with(|| value.clone());
            }
        });
        found.into_values().collect()
    }

    /// Whether any filter matches a topic.
    pub(crate) fn matches(&self, topic: &str) -> bool {
        let mut is_match = false;
        visit(&self.root, topic.split('/'), &mut |values| is_match |= !values.is_empty());
        is_match
    }

    /// Whether there is no filter.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

/// Each node is visited at most once: the cost is bounded by the size of the tree, however the filters overlap.
fn visit<V>(node: &Node<V>, mut levels: std::str::Split<'_, char>, found: &mut impl FnMut(&BTreeMap<u64, V>)) {
    let Some(level) = levels.next() else {
        found(&node.here);
        return;
    };
    found(&node.rest);
    if let Some(next) = &node.any {
        visit(next, levels.clone(), found);
    }
    if let Some(next) = node.levels.get(level) {
        visit(next, levels, found);
    }
}

/// A filter without what is ignored in it.
pub(crate) fn place_of(filter: &str) -> &str {
    let mut end = 0;
    for level in filter.split('/') {
        end += level.len();
        if level == "#" {
            return &filter[..end];
        }
        end += 1;
    }
    filter
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition of matching, in so many words.
    fn oracle(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#", ..], topic) => !topic.is_empty(),
            ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => oracle(filter, topic),
            ([level, filter @ ..], [other, topic @ ..]) => level == other && oracle(filter, topic),
            _ => false,
        }
    }

    fn split(path: &str) -> Vec<&str> {
        path.split('/').collect()
    }

    #[test]
    fn the_examples_of_the_protocol_hold() {
        let mut tree = TopicTree::default();
        for (key, filter) in ["a/#", "a/+", "/a", "a//b", "#", "x/#/ignored"].into_iter().enumerate() {
            tree.insert(filter, key as u64, filter);
        }
        assert_eq!(tree.matching("a"), ["#"]);
        assert_eq!(tree.matching("a/b"), ["a/#", "a/+", "#"]);
        assert_eq!(tree.matching("a/b/c"), ["a/#", "#"]);
        assert_eq!(tree.matching("/a"), ["/a", "#"]);
        assert_eq!(tree.matching("a//b"), ["a/#", "a//b", "#"]);
        assert_eq!(tree.matching("x/y"), ["#", "x/#/ignored"]);
        assert_eq!(tree.matching("a/+"), ["a/#", "a/+", "#"]);
    }

    #[test]
    fn an_emptied_tree_keeps_no_nodes() {
        let mut tree = TopicTree::default();
        for filter in ["a/b/c", "a/+/c", "a/#", "+/+", "", "#"] {
            tree.insert(filter, 1, ());
        }
        for filter in ["a/b/c", "a/+/c", "a/#", "+/+", "", "#"] {
            tree.remove(filter, 2);
            assert!(!tree.is_empty());
            tree.remove(filter, 1);
        }
        assert!(tree.is_empty());
    }

    #[test]
    fn what_follows_a_hash_is_no_part_of_the_place() {
        assert_eq!(place_of("a/#/b"), "a/#");
        assert_eq!(place_of("#"), "#");
        assert_eq!(place_of("a/b#/c"), "a/b#/c");
        assert_eq!(place_of("é/#/x"), "é/#");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_tree_agrees_with_the_definition(
            filters in prop::collection::vec("([ab+#]?/){0,3}[ab+#]?", 1..12),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            topic in "([ab+#]?/){0,3}[ab+#]?",
        ) {
            let mut tree = TopicTree::default();
            for (key, filter) in filters.iter().enumerate() {
                tree.insert(filter, key as u64, key);
            }
            let removed: Vec<usize> = removed.iter().map(|index| index.index(filters.len())).collect();
            for key in &removed {
                tree.remove(&filters[*key], *key as u64);
            }
            let expected: Vec<usize> = (0..filters.len())
                .filter(|key| !removed.contains(key) && oracle(&split(&filters[*key]), &split(&topic)))
                .collect();
            prop_assert_eq!(tree.matches(&topic), !expected.is_empty());
            prop_assert_eq!(tree.matching(&topic), expected);
        }
    }
}

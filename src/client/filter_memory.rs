//! What a client has subscribed to and excluded, for its next connection.

use std::collections::BTreeSet;

use busway_net::wire::{Operation, QoS, encode_topics_head};
use parking_lot::Mutex;

use crate::topics::place_of;

/// Filters that are restored after a reconnection.
#[derive(Debug, Default)]
pub(super) struct FilterMemory {
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// As the broker knows them: without what it ignores in them.
    subscribed: BTreeSet<String>,
    excluded: BTreeSet<String>,
}

/// Topics of one frame when filters are restored.
const RESTORED_TOPICS: usize = 256;

impl FilterMemory {
    /// Notes a change; says which of the filters changed anything.
    pub(super) fn apply<'a>(&self, operation: Operation, filters: &[&'a str]) -> Vec<&'a str> {
        let mut lists = self.lists.lock();
        let (list, is_wanted) = lists.of(operation);
        let change = |filter: &&str| {
            let filter = place_of(filter);
            if is_wanted { list.insert(filter.to_owned()) } else { list.remove(filter) }
        };
        filters.iter().copied().filter(change).collect()
    }

    /// Takes back what a change has changed.
    pub(super) fn undo(&self, operation: Operation, changed: &[&str]) {
        let mut lists = self.lists.lock();
        let (list, was_wanted) = lists.of(operation);
        for filter in changed.iter().copied().map(place_of) {
            if was_wanted {
                list.remove(filter);
            } else {
                list.insert(filter.to_owned());
            }
        }
    }

    /// The filters as frames, exclusions first: nothing that is excluded may slip through.
    pub(super) fn frames(&self) -> Vec<u8> {
        let lists = self.lists.lock();
        let mut frames = Vec::new();
        for (operation, filters) in [(Operation::Exclude, &lists.excluded), (Operation::Subscribe, &lists.subscribed)] {
            let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
            for topics in filters.chunks(RESTORED_TOPICS) {
                encode_topics_head(&mut frames, 0, (operation, QoS::No), topics.iter().copied());
            }
        }
        frames
    }
}

impl Lists {
    /// The list that an operation changes, and whether it adds to it.
    fn of(&mut self, operation: Operation) -> (&mut BTreeSet<String>, bool) {
        match operation {
            Operation::Subscribe => (&mut self.subscribed, true),
            Operation::Unsubscribe => (&mut self.subscribed, false),
            Operation::Exclude => (&mut self.excluded, true),
            _ => (&mut self.excluded, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_remembered_as_the_broker_knows_them() {
        let memory = FilterMemory::default();
        assert_eq!(memory.apply(Operation::Subscribe, &["a/#/x", "b/#"]), ["a/#/x", "b/#"]);
        assert_eq!(memory.apply(Operation::Subscribe, &["a/#"]), [] as [&str; 0], "it is there");
        assert_eq!(memory.apply(Operation::Unsubscribe, &["a/#", "b/#/x"]), ["a/#", "b/#/x"]);
        assert_eq!(memory.frames(), b"", "nothing is left to be restored");
        memory.undo(Operation::Unsubscribe, &["b/#/x"]);
        assert!(memory.frames().ends_with(b"b/#"));
        memory.undo(Operation::Subscribe, &["b/#/y"]);
        assert_eq!(memory.frames(), b"");
    }
}

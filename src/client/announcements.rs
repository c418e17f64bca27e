//! Who listens to the broker's announcements: the application, or the RPC layer for itself alone.

use std::collections::BTreeSet;

use parking_lot::Mutex;

/// Where brokers announce who comes and goes.
pub(crate) const INFO_TOPIC: &str = ".broker/info";

/// What the application has subscribed to that brings announcements, and how many RPC layers listen too.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The application's filters, each up to its `#`: seven forms at most.
    wanted: BTreeSet<String>,
    /// One, or two while the next takes over from the one before.
    watchers: usize,
}

impl Announcements {
    /// The application subscribes. Says what it had not wanted before.
    pub(super) fn subscribe(&self, filters: &[&str]) -> Vec<String> {
        let mut state = self.state.lock();
        let wanted = filters.iter().copied().filter(|filter| brings_announcements(filter)).map(significant);
        wanted.filter(|filter| state.wanted.insert(filter.clone())).collect()
    }

    /// The application takes subscriptions back. What the RPC layer still needs is taken off the list. Says what it had
    /// wanted before.
    pub(super) fn unsubscribe(&self, filters: &mut Vec<&str>) -> Vec<String> {
        let mut state = self.state.lock();
        let unwanted = filters.iter().copied().map(significant).filter(|filter| state.wanted.remove(filter)).collect();
        if state.watchers > 0 {
            filters.retain(|filter| *filter != INFO_TOPIC);
        }
        unwanted
    }

    /// Nothing came of a change.
    pub(super) fn undo(&self, is_subscribed: bool, changed: &[String]) {
        let mut state = self.state.lock();
        for filter in changed {
            if is_subscribed {
                state.wanted.remove(filter)
            } else {
                state.wanted.insert(filter.clone())
            };
        }
    }

    /// Whether the application is to see announcements.
    pub(crate) fn are_wanted(&self) -> bool {
        !self.state.lock().wanted.is_empty()
    }

    /// An RPC layer begins to listen.
    pub(crate) fn watch(&self) {
        self.state.lock().watchers += 1;
    }

    /// An RPC layer ends listening.
    pub(crate) fn unwatch(&self) {
        self.state.lock().watchers -= 1;
    }

    /// Whether anybody needs the subscription to that very topic.
    pub(crate) fn is_needed(&self) -> bool {
        let state = self.state.lock();
        state.watchers > 0 || state.wanted.contains(INFO_TOPIC)
    }
}

/// What of a filter counts: nothing that follows a `#` does.
fn significant(filter: &str) -> String {
    let levels: Vec<&str> = filter.split('/').collect();
    let end = levels.iter().position(|level| *level == "#").map_or(levels.len(), |hash| hash + 1);
    levels[..end].join("/")
}

fn brings_announcements(filter: &str) -> bool {
    let mut levels = filter.split('/');
    for expected in INFO_TOPIC.split('/') {
        match levels.next() {
            Some("#") => return true,
            Some(level) if level == "+" || level == expected => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_that_brings_announcements_is_known() {
        for filter in ["#", "#/x", "+/#", "+/+", "+/info", ".broker/#", ".broker/#/x", ".broker/+", ".broker/info"] {
            assert!(brings_announcements(filter), "{filter}");
        }
        for filter in ["", "+", ".broker", ".broker/warn", ".broker/info/#", ".broker/info/x", "/.broker/info", "a/#"] {
            assert!(!brings_announcements(filter), "{filter}");
        }
    }

    #[test]
    fn the_application_wants_them_as_long_as_one_filter_is_left() {
        let announcements = Announcements::default();
        announcements.subscribe(&["light/#", "#", "#/x", ".broker/info"]);
        assert!(announcements.are_wanted());
        announcements.unsubscribe(&mut vec!["#/y"]);
        assert!(announcements.are_wanted());
        announcements.unsubscribe(&mut vec![".broker/info"]);
        assert!(!announcements.are_wanted());
    }

    #[test]
    fn what_came_to_nothing_is_as_it_was() {
        let announcements = Announcements::default();
        announcements.subscribe(&["#"]);
        let again = announcements.subscribe(&["#", "+/info"]);
        announcements.undo(true, &again);
        assert!(announcements.are_wanted(), "the first one holds");
        let mut filters = vec!["#"];
        let unwanted = announcements.unsubscribe(&mut filters);
        assert!(!announcements.are_wanted());
        announcements.undo(false, &unwanted);
        assert!(announcements.are_wanted());
    }

    #[test]
    fn what_the_rpc_layer_needs_stays_subscribed() {
        let announcements = Announcements::default();
        let unsubscribed = || {
            let mut filters = vec!["light", ".broker/info"];
            announcements.unsubscribe(&mut filters);
            filters
        };
        assert_eq!(unsubscribed(), ["light", ".broker/info"]);
        assert!(!announcements.is_needed());
        announcements.watch();
        announcements.watch();
        assert_eq!(unsubscribed(), ["light"]);
        announcements.unwatch();
        assert_eq!(unsubscribed(), ["light"], "the next one needs it");
        announcements.subscribe(&[".broker/info"]);
        announcements.unwatch();
        assert!(announcements.is_needed(), "the application has it");
        assert_eq!(unsubscribed(), ["light", ".broker/info"]);
        assert!(!announcements.is_needed());
    }
}

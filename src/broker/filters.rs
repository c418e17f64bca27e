//! What clients subscribe to and exclude.

use std::iter::{Peekable, Take};
use std::str::Split;
use std::sync::Arc;

use busway_net::wire::{Operation, ResultCode, Violation};

use super::peer::Peer;
use super::registry::FILTERS_AT_ONCE;
use super::router::Router;
use super::touched::LongList;
use crate::payload::Content;

/// Filters that a list may have, and more where clients may have more.
const FILTERS_OF_A_LIST: usize = 65_536;

/// A list of topics, as far as it was not looked at yet, and what became of the rest.
struct FilterList<'a> {
    filters: Peekable<Take<Split<'a, char>>>,
    code: ResultCode,
    denied: Option<&'a str>,
}

impl Router {
    /// Subscribes, unsubscribes, excludes or includes again: all topics of a list, or what the limits allow of it.
    ///
    /// # Errors
    /// When it is no text.
    pub(crate) fn change_filters(
        &self,
        peer: &Arc<Peer>,
        operation: Operation,
        content: &Content<'_>,
    ) -> Result<ResultCode, Violation> {
        let mut list = self.filter_list(content.as_slice())?;
        while self.change_some(peer, operation, &mut list) {}
        Ok(Self::outcome(peer, operation, &list))
    }

    /// As [`change_filters`](Self::change_filters), for one that takes long: others have their turn meanwhile.
    pub(super) async fn change_long_list(&self, peer: &Arc<Peer>, list: &LongList) -> ResultCode {
        let operation = list.operation;
        // That it is text was looked at before it was put aside.
        let Ok(mut list) = self.filter_list(&list.content) else { return ResultCode::DATA };
        while self.change_some(peer, operation, &mut list) {
            tokio::task::yield_now().await;
        }
        Self::outcome(peer, operation, &list)
    }

    /// Takes some filters of peers that have gone out of the registry; says whether there are more.
    pub(crate) fn forget_some(&self) -> bool {
        let mut registry = self.registry.write();
        let has_more = registry.forget_some();
        if !has_more {
            // What was looked up meanwhile may name peers that have gone.
            self.change();
        }
        has_more
    }

    fn filter_list<'a>(&self, content: &'a [u8]) -> Result<FilterList<'a>, Violation> {
        let list = std::str::from_utf8(content).map_err(|_| Violation::NotUtf8)?;
        let filters = list.split('\0');
        // Nobody has more of them: a list of millions would only keep everybody else from the registry.
        let most = self.registry_limits.subscriptions.max(FILTERS_OF_A_LIST);
        let code = if filters.clone().nth(most).is_some() { ResultCode::DATA } else { ResultCode::OK };
        Ok(FilterList { filters: filters.take(most).peekable(), code, denied: None })
    }

    /// Says whether there is more.
    fn change_some(&self, peer: &Arc<Peer>, operation: Operation, list: &mut FilterList<'_>) -> bool {
        let mut registry = self.registry.write();
        for filter in list.filters.by_ref().take(FILTERS_AT_ONCE) {
            let changed = if self.limits.check_path(filter.as_bytes(), b'/').is_err() {
                Err(ResultCode::DATA)
            } else {
                match operation {
                    Operation::Subscribe if !registry.may_subscribe(peer, filter) => {
                        list.denied = Some(filter);
                        Err(ResultCode::ACCESS_DENIED)
                    }
                    Operation::Subscribe => registry.subscribe(peer, filter, &self.registry_limits),
                    Operation::Exclude => registry.exclude(peer, filter, &self.registry_limits),
                    Operation::Unsubscribe => {
                        registry.unsubscribe(peer, filter);
                        peer.sink.forget_policy(filter);
                        Ok(())
                    }
                    _ => {
                        registry.unexclude(peer, filter);
                        Ok(())
                    }
                }
            };
            list.code = changed.err().unwrap_or(list.code);
        }
        self.change();
        drop(registry);
        list.filters.peek().is_some()
    }

    fn outcome(peer: &Arc<Peer>, operation: Operation, list: &FilterList<'_>) -> ResultCode {
        list.denied.map_or(list.code, |filter| Self::deny(peer, operation, filter.as_bytes()))
    }
}

//! What clients subscribe to and exclude.

use std::sync::Arc;

use busway_net::wire::{Operation, ResultCode, Violation};

use super::peer::Peer;
use super::router::Router;
use crate::payload::Content;

/// Filters after which others have their turn with the registry.
const FILTERS_AT_ONCE: usize = 256;
/// Filters that a list may have, and more where clients may have more.
const FILTERS_OF_A_LIST: usize = 65_536;

impl Router {
    /// Subscribes, unsubscribes, excludes or includes again: all topics of a list, or what the limits allow of it.
    pub(crate) fn change_filters(
        &self,
        peer: &Arc<Peer>,
        operation: Operation,
        content: &Content<'_>,
    ) -> Result<ResultCode, Violation> {
        let list = std::str::from_utf8(content.as_slice()).map_err(|_| Violation::NotUtf8)?;
        let filters = list.split('\0');
        // Nobody has more of them: a list of millions would only keep everybody else from the registry.
        let most = self.registry_limits.subscriptions.max(FILTERS_OF_A_LIST);
        let mut code = if filters.clone().nth(most).is_some() { ResultCode::DATA } else { ResultCode::OK };
        let mut denied = None;
        let mut filters = filters.take(most).peekable();
        while filters.peek().is_some() {
            let mut registry = self.registry.write();
            for filter in filters.by_ref().take(FILTERS_AT_ONCE) {
                let changed = if self.limits.check_path(filter.as_bytes(), b'/').is_err() {
                    Err(ResultCode::DATA)
                } else {
                    match operation {
                        Operation::Subscribe if !registry.may_subscribe(peer, filter) => {
                            denied = Some(filter);
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
                code = changed.err().unwrap_or(code);
            }
            self.change();
            drop(registry);
        }
        Ok(denied.map_or(code, |filter| Self::deny(peer, operation, filter.as_bytes())))
    }
}

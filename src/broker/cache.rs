//! What a connection remembers of where its frames went.

use std::collections::HashMap;
use std::sync::Arc;

use busway_net::wire::{Operation, ResultCode};
use foldhash::fast::RandomState;

use super::access::Way;
use super::peer::Peer;
use crate::frame_names::FrameNames;

/// Where frames for one address go.
#[derive(Debug)]
pub(crate) enum Route {
    /// To these, in the order of their registration, with these names.
    Receivers { names: Arc<FrameNames>, peers: Box<[Arc<Peer>]>, way: Way },
    /// Nowhere, for this reason.
    Refused(ResultCode),
}

impl Route {
    fn receivers(&self) -> usize {
        match self {
            Self::Receivers { peers, .. } => peers.len(),
            Self::Refused(_) => 0,
        }
    }
}

static NO_ADDRESS: Route = Route::Refused(ResultCode::DATA);
static NOWHERE: Route = Route::Refused(ResultCode::OTHER);

/// Routes by operation and address, valid for one epoch of the registry: a publisher that repeats its topics pays a
/// comparison, not a walk through the registry under its lock.
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    epoch: u64,
    routes: [HashMap<Arc<[u8]>, Arc<Route>, RandomState>; 3],
    /// Receivers of all of them together.
    receivers: usize,
    last: Option<(usize, Arc<[u8]>, Arc<Route>)>,
    /// The operation that has come twice in a row to the last address.
    repeated: Option<Operation>,
    /// A route was looked for in the registry since somebody asked.
    has_missed: bool,
}

/// Addresses that are remembered at most, for each kind of operation.
const MAX_ROUTES: usize = 1024;
/// Receivers of all routes that are remembered at most, unless a single one has more.
const MAX_RECEIVERS: usize = 65_536;

impl RouteCache {
    /// The route of an address; `resolve` finds it when it is not known at this epoch.
    pub(crate) fn route<E>(
        &mut self,
        epoch: u64,
        operation: Operation,
        address: &[u8],
        resolve: impl FnOnce() -> Result<Route, E>,
    ) -> Result<&Route, E> {
        self.forget_outdated(epoch);
        let table = match operation {
            Operation::Message => 0,
            Operation::Broadcast => 1,
            _ => 2,
        };
        let is_last = self.last.as_ref().is_some_and(|(last, key, _)| *last == table && **key == *address);
        // Of a publish-for the address says only half.
        self.repeated = (is_last && operation != Operation::PublishFor).then_some(operation);
        if !is_last {
            let (key, route) = match self.routes[table].get_key_value(address) {
                Some((key, route)) => (Arc::clone(key), Arc::clone(route)),
                None => {
                    self.has_missed = true;
                    let route = resolve()?;
                    if matches!(route, Route::Refused(ResultCode::DATA)) {
                        // It is no address at all, and may be far longer than one.
                        self.last = None;
                        return Ok(&NO_ADDRESS);
                    }
                    let (key, route): (Arc<[u8]>, _) = (address.into(), Arc::new(route));
                    let receivers = route.receivers();
                    if self.routes[table].len() >= MAX_ROUTES || self.receivers + receivers > MAX_RECEIVERS {
                        self.forget();
                    }
                    self.receivers += receivers;
                    self.routes[table].insert(Arc::clone(&key), Arc::clone(&route));
                    (key, route)
                }
            };
            self.last = Some((table, key, route));
        }
        // Just found or just set.
        Ok(self.last.as_ref().map_or(&NOWHERE, |(_, _, route)| route))
    }

    /// What came last, if it had come just before that, too, and is likely to come again: operation, address and route.
    pub(crate) fn repeated(&self, epoch: u64) -> Option<(Operation, &Arc<[u8]>, &Route)> {
        let operation = self.repeated.filter(|_| self.epoch == epoch)?;
        self.last.as_ref().map(|(_, address, route)| (operation, address, &**route))
    }

    /// Whether a route had to be looked for in the registry, which wildcards can make long. The answer is given once.
    #[inline]
    pub(crate) fn take_missed(&mut self) -> bool {
        std::mem::take(&mut self.has_missed)
    }

    /// Lets go of what is of another epoch: peers that have gone keep their memory as long as they are remembered.
    #[inline]
    pub(crate) fn forget_outdated(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.forget();
            self.epoch = epoch;
        }
    }

    /// Lets go of everything.
    pub(crate) fn forget(&mut self) {
        self.routes.iter_mut().for_each(HashMap::clear);
        self.receivers = 0;
        self.last = None;
        self.repeated = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_not_remembered() {
        let mut cache = RouteCache::default();
        for length in 0..10_000 {
            let resolve = || Ok::<_, ()>(Route::Refused(ResultCode::DATA));
            let route = cache.route(1, Operation::Publish, &vec![b'x'; length], resolve);
            assert!(matches!(route, Ok(Route::Refused(ResultCode::DATA))));
            assert!(cache.last.is_none() && cache.repeated(1).is_none());
        }
        assert!(cache.routes.iter().all(HashMap::is_empty));
        assert!(cache.take_missed());
    }
}

//! Where the router keeps the access rules.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_net::wire::{Operation, ResultCode};

use super::{AccessRules, Rights};
use crate::broker::peer::Peer;
use crate::broker::registry::Registry;
use crate::broker::router::{Request, Router};
use crate::broker::touched::Touched;

/// What is to be done each time that a route is used; found with the route, so that an open one costs a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing.
    Open,
    /// The receiver has no right to send to the sender: it may answer this message.
    Asking,
    /// The sender has no right to send to the receiver: it needs a message to answer.
    Answering,
    /// A receiver that is named in the frame needs a look.
    Named,
}

impl Way {
    /// The way of what a client sends to an address; `None` when the rules forbid it.
    pub(crate) fn of(registry: &Registry, sender: &Peer, operation: Operation, address: &str) -> Option<Self> {
        let rights = registry.rights(sender);
        match operation {
            Operation::Message => {
                let receiver = registry.by_name(address);
                if !rights.allow_message(address) {
                    // Whether somebody has that name is no business of this sender.
                    return receiver.map(|_| Self::Answering);
                }
                let may_answer = |receiver: &Arc<Peer>| registry.rights(receiver).allow_message(&sender.name);
                Some(if receiver.is_none_or(may_answer) { Self::Open } else { Self::Asking })
            }
            _ if matches!(rights, Rights::Free) => Some(Self::Open),
            Operation::Broadcast => rights.allow(|access| access.broadcast.allows_mask(address)).then_some(Self::Named),
            _ => rights.allow(|access| access.publish.allows_topic(address)).then_some(Self::Named),
        }
    }
}

impl Router {
    /// Puts rules in force, or lifts them: clients that may not connect any more are cut, subscriptions that are not
    /// allowed any more are taken away.
    pub(crate) fn set_access(&self, rules: Option<AccessRules>, touched: &mut Touched) {
        let (strangers, taken) = {
            let mut registry = self.registry.write();
            registry.set_rules(rules);
            let strangers = registry.strangers();
            let taken = registry.take_subscriptions();
            self.change();
            (strangers, taken)
        };
        for (peer, filters) in taken {
            filters.iter().for_each(|filter| peer.sink.forget_policy(filter));
            let (name, count) = (&peer.name, filters.len());
            let first = filters.first().map(AsRef::as_ref).unwrap_or_default();
            tracing::warn!(
                "client {name:?}: {count} subscriptions of it, {first:?} among them, are not allowed any more"
            );
        }
        for peer in strangers {
            self.cut(&peer, "the access rules do not allow its connection any more");
            self.unregister(&peer, touched);
        }
        self.finish(touched);
    }

    /// Whether a frame may go this way, to this receiver.
    pub(crate) fn may_go(&self, way: Way, sender: &Arc<Peer>, peers: &[Arc<Peer>], named: Option<&str>) -> bool {
        match (way, peers, named) {
            (Way::Asking, [receiver], _) => {
                sender.answers.expect(receiver);
                true
            }
            (Way::Answering, [receiver], _) => receiver.answers.take(sender),
            (Way::Answering, _, _) => false,
            (Way::Named, _, Some(named)) => self.may_message(sender, named),
            _ => true,
        }
    }

    /// What a message to the broker's own client is answered: it is a message like others.
    pub(crate) fn admit_to_broker(&self, sender: &Peer, request: &Request<'_>) -> ResultCode {
        if self.may_message(sender, &self.broker.name) {
            return ResultCode::OK;
        }
        Self::deny(sender, request.operation, request.address)
    }

    /// Whether a client has the right to send messages to a name.
    fn may_message(&self, sender: &Peer, target: &str) -> bool {
        self.with_registry(|registry| registry.rights(sender).allow_message(target))
    }

    /// Counts a frame that the rules forbid, and says so in the log the first, second, fourth, eighth time and so on.
    pub(crate) fn deny(sender: &Peer, operation: Operation, address: &[u8]) -> ResultCode {
        let count = sender.denied.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            let verb = match operation {
                Operation::Subscribe => "subscribe to",
                Operation::Publish => "publish to",
                Operation::PublishFor => "publish to or for",
                Operation::Broadcast => "broadcast to",
                _ => "send messages to",
            };
            let address = String::from_utf8_lossy(address);
            tracing::warn!("client {:?} may not {verb} {address:?}; {count} frames of it were denied", sender.name);
        }
        ResultCode::ACCESS_DENIED
    }
}

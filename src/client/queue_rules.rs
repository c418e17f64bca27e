//! What a receive queue does with frames for which there is no room.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::frame::Frame;
use crate::policy::{Rules, SlowPolicy};

/// The policies of a receive queue; several queues may share them.
#[derive(Debug, Default)]
pub(crate) struct QueueRules {
    /// What is to be dropped is the newest, as long as nothing else is asked for.
    rules: RwLock<Option<Rules>>,
    is_set: AtomicBool,
    has_wait: AtomicBool,
}

#[cfg(any(feature = "broker", feature = "rpc"))]
impl QueueRules {
    /// Sets the policy of a filter, or of all that no filter names; says whether there is room for one more.
    pub(crate) fn set(&self, filter: Option<&str>, policy: SlowPolicy) -> bool {
        let mut rules = self.rules.write();
        let rules = rules.get_or_insert_with(|| Rules::new(SlowPolicy::DropNewest));
        let is_set = match filter {
            None => {
                rules.set_general(policy);
                true
            }
            Some(filter) => rules.set(filter, policy),
        };
        self.has_wait.store(rules.has_wait(), Ordering::Relaxed);
        self.is_set.store(true, Ordering::Release);
        is_set
    }

    /// A filter has no policy of its own any longer.
    pub(crate) fn remove(&self, filter: &str) {
        if let Some(rules) = &mut *self.rules.write() {
            rules.remove(filter);
            self.has_wait.store(rules.has_wait(), Ordering::Relaxed);
        }
    }

    /// Looks at the rules, if there are any.
    #[cfg(feature = "rpc")]
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Rules) -> T) -> Option<T> {
        self.rules.read().as_ref().map(look)
    }
}

impl QueueRules {
    /// Whether senders may have to wait.
    #[inline]
    pub(super) fn has_wait(&self) -> bool {
        self.has_wait.load(Ordering::Relaxed)
    }

    /// Whether anybody has asked for a policy, ever.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// The policy for a frame, if there are any rules. A client's own queue does not cut it: it drops the newest.
    #[inline]
    pub(super) fn of(&self, frame: &Frame) -> Option<SlowPolicy> {
        if self.is_set() { self.look_up(frame) } else { None }
    }

    #[cold]
    fn look_up(&self, frame: &Frame) -> Option<SlowPolicy> {
        match self.rules.read().as_ref()?.of(frame.topic()) {
            SlowPolicy::Cut => Some(SlowPolicy::DropNewest),
            policy => Some(policy),
        }
    }
}

//! What the operator says of clients that read too slowly.

use std::time::Duration;

use super::masks;
use crate::names::ClientName;
use crate::policy::SlowPolicy;

/// The policies that clients begin with, and what they may ask for.
#[derive(Clone, Debug)]
pub(crate) struct SlowReceivers {
    /// Of clients in other processes.
    pub(crate) default: SlowPolicy,
    /// By masks of names, in the order in which they are looked at.
    pub(crate) by_name: Vec<(String, SlowPolicy)>,
    /// The longest wait that a client may ask for.
    pub(crate) max_wait: Duration,
}

impl Default for SlowReceivers {
    fn default() -> Self {
        Self { default: SlowPolicy::Cut, by_name: Vec::new(), max_wait: Duration::from_secs(1) }
    }
}

impl SlowReceivers {
    /// The policy that a client begins with, if it is not that of its kind: cut in another process, the newest dropped
    /// in this one.
    pub(crate) fn of(&self, name: &ClientName, is_internal: bool) -> Option<SlowPolicy> {
        let named = self.by_name.iter().find(|(mask, _)| masks::matches(mask, name.primary()));
        let default = (!is_internal && self.default != SlowPolicy::Cut).then_some(self.default);
        named.map(|(_, policy)| *policy).or(default)
    }

    /// Whether a client may ask for a policy.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn allow(&self, policy: SlowPolicy) -> Result<(), String> {
        match policy {
            SlowPolicy::Wait(bound) if bound > self.max_wait => {
                Err(format!("this broker lets senders wait for at most {} s", self.max_wait.as_secs_f64()))
            }
            _ => Ok(()),
        }
    }
}

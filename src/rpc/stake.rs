//! Whose [`Rpc`](super::Rpc) keeps a service alive.

use std::sync::{Arc, Weak};

/// What an [`Rpc`](super::Rpc) has in its service. Requests are taken as long as somebody holds one; what handlers are lent
/// does not count, or a service whose handlers always overlap would never end.
#[derive(Debug)]
pub(super) enum Stake {
    Held(Arc<()>),
    Lent(Weak<()>),
}

impl Stake {
    /// As this one, but it does not count.
    pub(super) fn lend(&self) -> Self {
        match self {
            Self::Held(stake) => Self::Lent(Arc::downgrade(stake)),
            Self::Lent(stake) => Self::Lent(Weak::clone(stake)),
        }
    }

    /// Whether anybody holds one.
    pub(super) fn is_held(&self) -> bool {
        match self {
            Self::Held(_) => true,
            Self::Lent(stake) => stake.strong_count() > 0,
        }
    }
}

impl Default for Stake {
    fn default() -> Self {
        Self::Held(Arc::default())
    }
}

/// Who clones what was lent keeps it, unless the service has ended meanwhile.
impl Clone for Stake {
    fn clone(&self) -> Self {
        match self {
            Self::Held(stake) => Self::Held(Arc::clone(stake)),
            Self::Lent(stake) => stake.upgrade().map_or_else(|| Self::Lent(Weak::clone(stake)), Self::Held),
        }
    }
}

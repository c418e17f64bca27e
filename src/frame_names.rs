//! The names in a frame that arrived.

use std::sync::Arc;

/// Sender and topic, shared with other frames.
#[derive(Clone, Debug)]
pub(crate) enum FrameNames {
    /// Both at once, where the same two come again and again: one count of owners instead of two, and taking part in it
    /// is what costs.
    #[cfg_attr(not(feature = "ipc"), allow(dead_code, reason = "only clients receive any"))]
    Together(Arc<NamePair>),
    /// Each on its own.
    #[cfg_attr(not(feature = "ipc"), allow(dead_code, reason = "only clients receive any"))]
    Apart { sender: Arc<str>, topic: Option<Arc<str>> },
}

/// A sender and a topic.
#[derive(Debug)]
pub(crate) struct NamePair {
    pub(crate) sender: Arc<str>,
    pub(crate) topic: Option<Arc<str>>,
}

impl FrameNames {
    #[inline]
    pub(crate) fn sender(&self) -> &Arc<str> {
        match self {
            Self::Together(pair) => &pair.sender,
            Self::Apart { sender, .. } => sender,
        }
    }

    #[inline]
    pub(crate) fn topic(&self) -> Option<&Arc<str>> {
        match self {
            Self::Together(pair) => pair.topic.as_ref(),
            Self::Apart { topic, .. } => topic.as_ref(),
        }
    }
}

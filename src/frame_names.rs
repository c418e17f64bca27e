//! The names in a frame.

use std::sync::Arc;

/// Sender and topic, shared by all frames that have the same two: one count of owners instead of two, and taking part
/// in it is what costs.
#[derive(Debug)]
#[cfg_attr(not(feature = "ipc"), allow(dead_code, reason = "only clients receive any"))]
pub(crate) struct FrameNames {
    pub(crate) sender: Arc<str>,
    /// Of a publication.
    pub(crate) topic: Option<Arc<str>>,
}

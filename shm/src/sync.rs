//! The one door for atomics: the processor's, or loom's when the lock-free parts are model-checked.

#[cfg(loom)]
pub use loom::sync::atomic::Ordering;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, fence};
#[cfg(not(loom))]
pub use std::sync::atomic::Ordering;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, fence};

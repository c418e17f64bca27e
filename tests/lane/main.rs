//! The promises of the shared-memory lane.

#![cfg(all(feature = "broker", feature = "shm"))]

mod basics;
mod endings;
mod pauses;
mod slow_policies;
mod stalled;
mod support;

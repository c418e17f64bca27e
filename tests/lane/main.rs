//! The promises of the shared-memory lane.

#![cfg(all(feature = "broker", feature = "shm"))]

mod basics;
mod support;

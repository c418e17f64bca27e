//! The promises of the shared-memory lane.

#![cfg(all(feature = "broker", feature = "shm"))]

mod answers;
mod basics;
mod batches;
mod beginnings;
mod bursts;
mod callers;
mod clones;
mod coming;
mod common_runs;
mod endings;
mod pauses;
mod pipelines;
mod scarcity;
mod silent_broker;
mod slow_applications;
mod slow_policies;
mod slow_readers;
mod stalled;
mod support;
mod waiting;

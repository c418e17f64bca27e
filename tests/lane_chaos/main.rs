//! The lane under attack: peers that lie, strangers that attach descriptors, processes that are killed or stopped at
//! any moment, receivers that hoard, and systems that lack what the lane needs.
//!
//! All against `buswayd` as a process of its own, with two pairs of clients beside it that exchange messages all the
//! time and must not notice ([`witness`]).
//!
//! `cargo test --features server,cli --test lane_chaos` runs everything.

#![cfg(all(feature = "server", feature = "rpc", feature = "shm"))]
#![forbid(unsafe_code)]

#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the suites of the wire, which use the rest")]
#[path = "../support/mod.rs"]
mod support;

mod applicant;
mod child;
mod common_runs;
mod cursors;
mod descriptors;
mod fallback;
mod forking;
mod garbage;
mod hoarding;
mod introductions;
mod killing;
mod lane_peer;
mod manners;
mod place;
mod resting;
mod roles;
mod stalling;
mod strangers;
mod untouched;
mod witness;
mod zombies;

//! Access rules and the configuration file, seen from outside: a `buswayd --config` process, and clients that try what they
//! may and what they may not.
//!
//! `cargo test --features server,cli --test access` runs everything.

#![cfg(all(feature = "server", feature = "cli", feature = "shm"))]
#![forbid(unsafe_code)]

#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the suites of the wire, which use the rest")]
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod attempt;
mod checking;
mod connecting;
mod embedding;
mod losses;
mod reloading;
mod ruled;
mod systemd;
mod table;

/// The code of what the rules forbid.
const DENIED: u8 = 0x79;

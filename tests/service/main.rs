//! `buswayd` as a service: in the background, with a pid file, a syslog and a service manager that looks after it.
//!
//! `cargo test --features server,cli --test service` runs everything.

#![cfg(feature = "server")]

#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the suites of the wire, which use the rest")]
#[path = "../support/mod.rs"]
mod support;

mod background;
mod logging;
mod notifications;
mod passed_sockets;
mod pid_files;
mod program;
mod syslog;
mod units;

//! The promises of `busway`, the command line, as a shell sees them: output, errors and exit codes, against `buswayd`
//! and against the reference broker.
//!
//! `cargo test --features server,cli --test command_line` runs everything.

#[allow(dead_code, unused_imports, reason = "shared with the wire suite, which needs all of it")]
#[path = "../support/mod.rs"]
mod support;

mod program;

mod benchmark;
mod calling;
mod connecting;
mod endings;
mod listening;
mod manual;
mod printing;
mod publishing;
mod questions;
mod rpc_listening;
mod sending;
mod standard_input;
mod usage;

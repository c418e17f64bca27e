//! The promises of the client library, held against `buswayd`, against the reference broker and, without a socket,
//! against a broker in the same process: what a program sees is the same everywhere.
//!
//! `cargo test --features server,cli --test client` runs everything; a filter chooses: `busway_`, `reference_` or
//! `in_process` the broker, `_unix::` or `_tcp::` the transport, the name of a module the subject.

#![cfg(feature = "broker")]

// Whose client the promises are about.
use busway::Client;
use busway::broker::Broker;
use busway::client::Builder;

#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the wire suite, which needs all of it")]
#[path = "../support/mod.rs"]
mod support;

mod bus;
mod expectations;
mod fake_broker;
mod promises;

mod closing;
mod concurrency;
mod confirmations;
mod connecting;
mod dropping;
mod embedding;
mod exclusions;
mod in_process;
mod keep_alive;
mod lending;
mod limits;
mod losses;
mod messages;
mod payloads;
mod publications;
mod receive_queue;
mod reconnection;
mod restoration;
mod secondaries;
mod send_queue;
mod subscriptions;
mod timeouts;
mod turns;
mod violations;

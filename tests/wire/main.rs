//! The promises of the wire, seen from outside: raw bytes in, raw bytes out, no line of the library in between.
//!
//! Each promise is held against `buswayd` and against the reference broker, over UNIX sockets and over TCP. A promise
//! that the reference does not keep is listed as ignored there, by name and with the reason.
//!
//! `cargo test --features server,cli --test wire` runs everything; a filter chooses: `reference_` or `busway_` the broker,
//! `_tcp::` or `_unix::` the transport, the name of a module the subject. Tests wait more than they work, so
//! `--test-threads=8` is faster on any machine.

#[path = "../support/mod.rs"]
mod support;

mod announcements;
mod broadcasts;
mod confirmations;
mod control;
mod daemon;
mod exclusions;
mod fifo;
mod handshake;
mod keepalive;
mod large_payloads;
mod limits;
mod messages;
mod order;
mod payloads;
mod publications;
mod repetitions;
mod resources;
mod restart;
mod secondaries;
mod self_flood;
mod slow_policies;
mod slow_receivers;
mod subscriptions;
mod topics;
mod violations;

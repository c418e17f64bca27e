//! The promises of the blocking client. Those that it shares with the async one are the very same functions
//! (`tests/client`), which see it through the words of `spoken`; its own are told by threads.
//!
//! `cargo test --features server,cli --test blocking` runs everything; a filter chooses as in the client suite.

#![cfg(all(feature = "broker", feature = "rpc"))]

#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the wire suite, which needs all of it")]
#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "shared with the client suite, which needs all of it")]
#[path = "../client/bus.rs"]
mod bus;
#[allow(dead_code, reason = "shared with the client suite, which needs all of it")]
#[path = "../client/expectations.rs"]
mod expectations;
#[path = "../client/promises.rs"]
mod promises;
mod spoken;
mod threads;

// Whose client the shared promises are about.
use spoken::{Broker, Builder, Client};

#[path = "../client/exclusions.rs"]
mod exclusions;
#[path = "../client/messages.rs"]
mod messages;
#[path = "../client/publications.rs"]
mod publications;
#[path = "../client/subscriptions.rs"]
mod subscriptions;

mod asynchronous;
mod calling;
mod confirming;
mod cursors;
mod embedding;
mod ending;
mod handlers;
mod losing;
mod receiving;
mod sharing;

//! The promises of the RPC layer, held on `buswayd`, on the reference broker and on a broker in the same process.
//!
//! `cargo test --features server,cli --test rpc` runs everything; a filter chooses as in the client suite.

#![cfg(all(feature = "broker", feature = "rpc"))]

// Whose client the promises are about.
use busway::Client;
use busway::broker::Broker;
use busway::client::Builder;

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

mod service;

mod announcements;
mod calling;
mod cursors;
mod deadlines;
mod errors;
mod frames;
mod handlers;
mod limits;
mod peers;
mod storm;
mod wire;

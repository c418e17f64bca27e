//! The client and its RPC layer for programs without async code.
//!
//! The same client, without a runtime to set up: every method returns when it is done. What the async client awaits after
//! shaping it, such as `publish(...).qos(...).await`, ends in `.wait()` here.
//!
//! ```no_run
//! # fn hello() -> Result<(), Box<dyn std::error::Error>> {
//! use busway::QoS;
//! use busway::blocking::Client;
//!
//! let client = Client::connect("/run/busway/busway.sock", "hello")?;
//! client.subscribe("greetings/#").wait()?;
//! client.publish("greetings/world", "hello, world").wait()?;
//! client.send("planner", "ready").qos(QoS::Processed).wait()?;
//! for frame in &client {
//!     println!("{} sent {} bytes", frame.sender(), frame.payload().len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! One thread, `busway-blocking`, started by the first connection, reads for all blocking clients of a process. What is
//! confirmed or real-time is written by the thread that sends it, at once; what is neither is gathered, and written by
//! `busway-blocking` a moment later. Threads named `busway-handler` run the handlers of RPC services. Clients may be shared
//! between threads: clone them, or borrow.
//!
//! **From async code** these functions work, and block the thread as any blocking call does: other tasks of that thread
//! stand still meanwhile. Use [`busway::Client`](crate::Client) there, or tokio's `spawn_blocking`.
//!
//! **The end of a program.** Dropping the last clone waits until what was accepted is written and the broker has read
//! it (5 s at most, should the broker stand still); while handlers of it run, until it is written.
//! `std::process::exit` drops nothing: [`Client::flush`] or [`Client::close`] before it.
//!
//! **A forked child** cannot use the clients of its parent, which go on: operations fail as disconnected, and dropping
//! them does nothing. It may connect clients of its own.

#[cfg(feature = "broker")]
mod broker;
mod client;
mod frames;
mod operation;
mod parker;
#[cfg(feature = "rpc")]
pub mod rpc;
mod runtime;

#[cfg(feature = "broker")]
pub use broker::Broker;
pub use client::Client;
pub use frames::{Frames, RecvTimeoutError, StateChanges};
pub use operation::{Confirmation, Filters, Operation};
#[cfg(feature = "rpc")]
pub(crate) use parker::Parker;

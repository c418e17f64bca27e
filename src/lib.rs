//! Busway: fast messages between the processes of one machine, over the BUS/RT protocol.
//!
//! - [`Client`] connects to a broker, Busway's `buswayd` or any other that speaks BUS/RT, and sends, publishes,
//!   subscribes and receives.
//! - [`Rpc`](rpc::Rpc) calls methods of other clients, and answers such calls.
//! - [`Broker`](broker::Broker) is the broker itself, to embed; clients in its process need no socket.
//! - [`blocking`] is the client and its RPC layer for programs without async code.
//! - [`Frame`] is what arrives, [`Payload`] the bytes in it.
//!
//! ```no_run
//! # async fn hello() -> Result<(), Box<dyn std::error::Error>> {
//! use busway::{Client, QoS};
//!
//! let client = Client::connect("/run/busway/busway.sock", "camera.front").await?;
//! client.subscribe("light/#").await?;
//! client.publish("light/level", "87").await?;
//! client.send("planner", "ready").qos(QoS::Processed).await?;
//! while let Some(frame) = client.recv().await {
//!     println!("{} sent {} bytes", frame.sender(), frame.payload().len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Crate features
//! - `full` (default): `ipc`, `rpc` and `broker`.
//! - `ipc`: the client, [`Client`] and [`blocking`].
//! - `rpc`: the RPC layer, [`rpc`]; also clients' policies for slow receivers ([`Client::slow_policy`]).
//! - `broker`: the broker to embed, [`broker`].
//! - `shm` (default): the shared-memory lane, which needs Linux 6.5 or later; without it everything goes over sockets.
//! - `server` and `cli`: the programs `buswayd` and `busway`.
//! - `std-alloc`: these two use the allocator of the system instead of jemalloc.

#![forbid(unsafe_code)]

mod default_socket;
mod frame;
mod frame_names;
#[cfg(feature = "ipc")]
mod lane;
#[cfg(feature = "ipc")]
mod loan;
mod names;
mod payload;
#[cfg(feature = "ipc")]
mod policy;
#[cfg(feature = "ipc")]
mod topics;
#[cfg(any(feature = "broker", feature = "rpc"))]
mod wall_clock;

#[cfg(feature = "ipc")]
pub mod blocking;
#[cfg(feature = "broker")]
pub mod broker;
#[cfg(feature = "ipc")]
pub mod client;
#[cfg(feature = "rpc")]
pub mod rpc;

pub use busway_net::link::{Endpoint, EndpointFault, PeerIdentity};
pub use busway_net::wire::{FrameKind, Limits, NameFault, PathFault, QoS, ResultCode};
#[cfg(feature = "ipc")]
pub use client::Client;
pub use default_socket::{default_socket, default_sockets};
pub use frame::Frame;
#[cfg(feature = "ipc")]
pub use lane::{LaneOff, ShmTrust};
#[cfg(feature = "ipc")]
pub use loan::Loan;
pub use names::ClientName;
pub use payload::{Content, Payload};
#[cfg(feature = "ipc")]
pub use policy::{PolicyFault, SlowPolicy};

/// This crate's version, which brokers report as theirs.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The code in the guide for those who come from BUS/RT compiles.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../docs/moving-from-busrt.md")]
struct MovingFromBusrt;

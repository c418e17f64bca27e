//! Bytes that travel: the BUS/RT wire protocol and the sockets that carry it.
//!
//! - [`wire`] is the protocol, pure: no I/O, no clock, no runtime.
//! - [`link`] is sockets: UNIX and TCP, the batching reader and the gathering writer.
//! - [`Pool`] is the memory that both reuse.

#![forbid(unsafe_code)]

pub mod link;
mod pool;
mod readable;
pub mod wire;

pub use pool::Pool;

//! Bytes that stay: the shared memory of a Busway lane.
//!
//! The only room of the project in which `unsafe` may stand. It knows neither sockets nor tokio and is usable
//! without the broker: two processes (or two halves of a test) that share its segments can exchange records.
//!
//! - A segment is written by one process and read by others: [`OwnSegment`] is the writer's end, [`PeerSegment`] a
//!   reader's, which never hands out a reference into memory that somebody else can change.
//! - A lane is two control segments, one in each direction, of the same [`layout`]: a byte ring of records
//!   ([`Producer`], [`Consumer`]), the cursors of their writer, and a ring of returned slots ([`Returns`],
//!   [`ReturnReader`]).
//! - Payloads lie in [`Arenas`] of their sender and are read in place as [`Sample`]s.
//! - [`UpBell`] and [`DownBell`] wake who sleeps.
//!
//! Whatever another process can write is hostile input: it is loaded once, checked, and the copy is used. What does
//! not check is a [`Violation`], which ends that peer's lane and nothing else.

mod allocator;
mod arena;
mod bell;
mod chunk;
mod consumer;
pub mod layout;
mod memory;
mod producer;
mod region;
mod returns;
mod ring;
mod run;
mod sample;
mod seal;
mod segment;
mod sentinel;
mod slots;
mod sync;
mod violation;
mod words;

pub use allocator::{Allocator, Block};
pub use arena::{ArenaKind, Arenas};
pub use bell::{DownBell, DownWaiter, UpBell};
pub use chunk::{Chunk, Loan};
pub use consumer::{Consumer, Record, RecordPlace};
pub use layout::Descriptor;
pub use memory::{HeapMemory, Line, OwnMemory, PeerMemory};
pub use producer::{Producer, Reservation};
pub use returns::{GiveBack, ReturnReader, Returns};
pub use ring::{Parts, record_length, short_record_length};
pub use run::{Run, fitting};
pub use sample::Sample;
pub use seal::create_for_peer;
pub use segment::{OwnSegment, PeerSegment};
pub use sentinel::is_forked_child;
pub use slots::{Generations, Slots};
pub use sync::Ordering;
#[cfg(loom)]
pub use sync::{Fence, without_fence};
pub use violation::Violation;

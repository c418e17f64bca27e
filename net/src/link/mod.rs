//! Sockets: UNIX, TCP, and a connected pair for tests.
//!
//! A [`Socket`] is registered for reading only: on AF_UNIX a registered interest in writing wakes the broker at every
//! read of its peer. A [`FrameReader`] takes as much as a socket has at once; an [`Outbox`] gathers what is to be
//! written and writes it with as few system calls as possible.

mod batch;
mod bind_error;
mod busy_poll;
mod claim;
mod coarse_clock;
mod endpoint;
mod fifo;
mod listener;
mod outbox;
mod piped;
mod pipes;
mod reader;
mod readiness;
mod socket;
mod watch;

pub use batch::{Batch, Body, BodyObject};
pub use bind_error::BindError;
pub use busy_poll::BusyPoll;
pub use coarse_clock::coarse_now;
pub use endpoint::{Endpoint, EndpointFault};
pub use fifo::Fifo;
pub use listener::Listener;
pub use outbox::{LendingPatience, Lent, Level, Outbox, OutboxLimits, Refused, Touch};
pub use piped::{Piped, SHORTEST_PIPED};
pub use pipes::{PipeShelf, Pipes};
pub use reader::FrameReader;
pub use readiness::{Chunk, Readiness};
pub use socket::{Origin, PeerIdentity, Socket};
pub use watch::{Watch, has_ended};

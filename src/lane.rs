//! THE SEAM: where sockets and shared memory meet.
//!
//! Everything that can take frames from the router is a [`Sink`]. A socket's sink is an outbox, an in-process
//! client's a queue, a local client's the two ways that it may be reached by: its socket, and its lane once there is
//! one; a slow client's policies stand before its sink. Routing runs on any thread, also one without a runtime, the set of touched sinks is a parameter of it, and a
//! payload is an object whose memory the router never looks at.
//!
//! `host` is where a broker's lanes begin, `down` what the broker sends by one, `intake` what it reads from one;
//! a client sends by `up` and reads by `arrival`. `queue` (with its `backlog`) is what waits before a ring on either
//! side, `record` what goes into it.

#[cfg(all(feature = "shm", feature = "broker"))]
mod account;
#[cfg(feature = "shm")]
mod arena_question;
#[cfg(feature = "shm")]
mod arrival;
#[cfg(feature = "shm")]
mod backlog;
#[cfg(feature = "shm")]
mod bell;
#[cfg(all(feature = "shm", feature = "broker"))]
mod budget;
#[cfg(all(feature = "shm", feature = "broker"))]
mod common;
#[cfg(feature = "shm")]
mod control_frame;
#[cfg(all(feature = "shm", feature = "broker"))]
mod down;
#[cfg(all(feature = "shm", feature = "broker"))]
mod errands;
#[cfg(feature = "shm")]
mod fragments;
#[cfg(feature = "broker")]
mod frame_run;
#[cfg(feature = "shm")]
mod giving_way;
#[cfg(all(feature = "shm", feature = "broker"))]
mod host;
#[cfg(all(feature = "shm", feature = "broker"))]
mod intake;
#[cfg(all(feature = "shm", feature = "broker"))]
mod introductions;
#[cfg(all(feature = "shm", feature = "broker"))]
mod local_sink;
#[cfg(feature = "shm")]
mod memory_limit;
mod options;
#[cfg(feature = "broker")]
mod outgoing;
#[cfg(feature = "broker")]
mod overflow;
#[cfg(feature = "broker")]
mod patient_sink;
#[cfg(feature = "shm")]
mod payload_batch;
#[cfg(feature = "shm")]
mod placing;
#[cfg(feature = "shm")]
mod queue;
#[cfg(feature = "broker")]
mod queue_sink;
#[cfg(feature = "shm")]
mod queue_state;
mod reason;
#[cfg(feature = "shm")]
mod record;
#[cfg(feature = "shm")]
mod run_at_hand;
#[cfg(feature = "broker")]
mod sink;
#[cfg(feature = "broker")]
mod socket_sink;
#[cfg(feature = "broker")]
mod stored;
#[cfg(feature = "shm")]
mod submissions;
#[cfg(feature = "shm")]
mod up;

#[cfg(feature = "shm")]
pub(crate) use arrival::{Arrival, DownIntake};
#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use budget::Spent;
#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use common::CommonArena;
#[cfg(feature = "shm")]
pub(crate) use control_frame::{SEGMENT_KIND, SegmentFrame};
#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use down::DownLane;
#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use errands::Entrusted;
#[cfg(feature = "broker")]
pub(crate) use frame_run::FrameRun;
#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use host::{LaneHost, Offer, Taking};
#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use intake::{Adopted, Adoption, Intake, LaneFrame};
#[cfg(all(feature = "shm", feature = "broker"))]
pub(crate) use local_sink::LocalSink;
#[cfg(feature = "broker")]
pub(crate) use options::BrokerOptions;
pub use options::ShmTrust;
#[cfg(feature = "broker")]
pub(crate) use outgoing::{Outgoing, Routed};
#[cfg(feature = "broker")]
pub(crate) use patient_sink::PatientSink;
#[cfg(feature = "shm")]
pub(crate) use queue::Offered;
#[cfg(feature = "broker")]
pub(crate) use queue_sink::{QueueSink, Reader};
pub use reason::LaneOff;
#[cfg(feature = "broker")]
pub(crate) use sink::{Declined, LaneStatus, RemoteSink, Sink};
#[cfg(feature = "broker")]
pub(crate) use socket_sink::SocketSink;
#[cfg(feature = "broker")]
pub(crate) use stored::StoredFrame;
#[cfg(feature = "shm")]
pub(crate) use up::{TakenOver, UpLane};

/// A body up to this size is copied behind its head: cheaper than sharing it.
#[cfg(any(feature = "shm", feature = "broker"))]
pub(crate) const COPY_MAX: usize = 4 << 10;

/// A payload from this size on waits for a segment that is under way, instead of being copied through the ring, which it
/// would fill twice: by then mostly the segment is there.
#[cfg(feature = "shm")]
pub(crate) const WAIT_MIN: usize = 256 << 10;

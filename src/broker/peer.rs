//! The broker's end of a connection.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use busway_net::link::{Origin, PeerIdentity};
use parking_lot::Mutex;

use super::access::Answers;
use crate::lane::Sink;
use crate::names::ClientName;
use crate::topics::TopicTree;

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In the broker's own process.
    Internal,
    Unix(Option<PeerIdentity>),
    Tcp(std::net::SocketAddr),
}

impl Transport {
    /// The word for it that BUS/RT clients know.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Unix(_) => "local_ipc",
            Self::Tcp(_) => "tcp",
        }
    }

    /// Our own word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Unix(_) => "unix",
            Self::Tcp(_) => "tcp",
        }
    }
}

impl From<Origin> for Transport {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Unix(identity) => Self::Unix(identity),
            Origin::Tcp(address) => Self::Tcp(address),
        }
    }
}

/// A registered client, as the broker sees it. It may be held after the client has gone (route caches do); it holds
/// no descriptor then, because its sink is closed.
pub(crate) struct Peer {
    pub(crate) id: u64,
    pub(crate) name: ClientName,
    pub(crate) transport: Transport,
    /// Where the broker listened for it.
    pub(crate) listener: Option<Arc<str>>,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) exclusions: Mutex<TopicTree<()>>,
    pub(crate) received: Counter,
    /// Frames for this client that were refused or were waiting when it was cut; its sink counts others.
    refused: AtomicU64,
    /// Frames of this client that the access rules forbade.
    pub(crate) denied: AtomicU64,
    /// Who may answer this client without the right to send to it.
    pub(crate) answers: Answers,
    pub(crate) activity: Activity,
    /// Set once by whoever ends the connection.
    ended: AtomicBool,
}

/// Frames and bytes.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    pub(crate) fn add(&self, frames: u64, bytes: u64) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn load(&self) -> (u64, u64) {
        (self.frames.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// Signs of life, set by the connection and taken by the keeper.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Something was read since the keeper last looked.
    pub(crate) heard: AtomicBool,
    /// A frame is arriving and not complete.
    pub(crate) amid: AtomicBool,
    /// The connection is not read from, because its own outbox is more than half full.
    pub(crate) held: AtomicBool,
    /// It is not read from, because a frame of it waits for its receiver.
    pub(crate) waits: AtomicBool,
}

impl Peer {
    pub(crate) fn new(
        id: u64,
        name: ClientName,
        (transport, listener): (Transport, Option<Arc<str>>),
        sink: Box<dyn Sink>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            name,
            transport,
            listener,
            sink,
            exclusions: Mutex::default(),
            received: Counter::default(),
            refused: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            answers: Answers::default(),
            activity: Activity::default(),
            ended: AtomicBool::new(false),
        })
    }

    /// Ends the connection, for the caller who comes first: closes the sink and says how many frames were lost with
    /// it.
    pub(crate) fn end(&self) -> Option<u64> {
        if self.ended.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(self.sink.close().frames as u64)
    }

    /// Frames for this client that are lost.
    pub(crate) fn lost(&self) -> u64 {
        self.refused.load(Ordering::Relaxed) + self.sink.dropped()
    }

    /// Counts frames for this client that are lost.
    pub(crate) fn lose(&self, frames: u64) {
        self.refused.fetch_add(frames, Ordering::Relaxed);
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Peer({} {})", self.id, self.name)
    }
}

//! One client's connection: a single task that reads, routes and hands on.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_net::link::{Chunk, FrameReader, Origin, Outbox, Piped, Pipes, Readiness, Socket};
use busway_net::wire::{ClientFrame, ClientFrames, QoS, ReceivedPayload, Refusal, ResultCode, Violation, is_same};

use super::Shared;
use super::handshake::register;
use super::negotiation::Negotiation;
use super::pace::Pace;
use super::router::{Request, Source};
use super::touched::Touched;
use crate::lane::{COPY_MAX, Routed};

/// Bytes after which a connection lets others have their turn.
const TURN: usize = 256 << 10;
/// Bytes that a read counts at least: also reads of little have an end.
const SMALLEST_READ: usize = 16 << 10;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the peer closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("protocol violation: {0}")]
    Violation(#[from] Violation),
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    #[error("refused: {name:?}: {code}")]
    NotRegistered { name: String, code: ResultCode },
    #[error("the handshake took longer than the timeout")]
    HandshakeTimeout,
    #[cfg(feature = "shm")]
    #[error("it broke the rules of the lane: {0}")]
    Lane(busway_shm::Violation),
    #[cfg(feature = "shm")]
    #[error("no fault of its own: {0}")]
    NoMemory(busway_shm::Violation),
    #[cfg(feature = "shm")]
    #[error("it sent a frame over the socket after its switch to the lane")]
    AfterSwitch,
}

#[cfg(feature = "shm")]
impl From<busway_shm::Violation> for End {
    fn from(violation: busway_shm::Violation) -> Self {
        match violation {
            busway_shm::Violation::Memory => Self::NoMemory(violation),
            violation => Self::Lane(violation),
        }
    }
}

impl End {
    /// Whether this is how connections end every day.
    fn is_ordinary(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Io(error) => {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            }
            _ => false,
        }
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(shared: Arc<Shared>, socket: Socket, origin: Origin, listener: Arc<str>) {
    let socket = Arc::new(socket);
    let mut reader = FrameReader::new(
        ClientFrames { limits: shared.router.limits, extra_operations: 0 },
        shared.router.pool.clone(),
    );
    let shaken =
        tokio::time::timeout(shared.timeout, register(&shared, &socket, (origin, listener), &mut reader)).await;
    let (peer, outbox, negotiation) = match shaken.unwrap_or(Err(End::HandshakeTimeout)) {
        Ok(registered) => registered,
        Err(end) => {
            if end.is_ordinary() {
                tracing::debug!(%origin, "handshake not completed: {end}");
            } else if shared.handshakes.lock().may_say() {
                tracing::warn!(%origin, "handshake not completed: {end}");
            }
            return;
        }
    };
    tracing::debug!(client = ?peer.name, %origin, "registered");
    let mut connection = Connection {
        touched: Touched::new(peer.id),
        source: Source::new(Arc::clone(&peer)),
        shared: Arc::clone(&shared),
        outbox,
        reader,
        places: Vec::new(),
        pipes: None,
        stalled: None,
        negotiation,
    };
    let end = match connection.run(&socket).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    // What was produced before the end still goes out, as far as the socket takes it.
    shared.router.finish(&mut connection.touched);
    connection.reader.release();
    if peer.is_ended() {
        tracing::debug!(client = ?peer.name, "connection closed");
    } else if end.is_ordinary() {
        tracing::debug!(client = ?peer.name, "disconnected: {end}");
    } else {
        tracing::warn!(client = ?peer.name, "disconnected: {end}");
    }
    shared.router.unregister(&peer, &mut connection.touched);
    shared.router.finish(&mut connection.touched);
    drop(connection);
    while shared.router.forget_some() {
        tokio::task::yield_now().await;
    }
}

pub(super) type Reader = FrameReader<ClientFrames>;

pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) source: Source,
    pub(super) touched: Touched,
    pub(super) outbox: Arc<Outbox>,
    pub(super) reader: Reader,
    /// Where payloads that are routed together lie in the reader.
    places: Vec<Range<usize>>,
    /// Where the rest of a large payload goes that is not to be copied.
    pub(super) pipes: Option<Pipes>,
    /// The receiver that was waited for in vain, and how far it had come.
    pub(super) stalled: Option<(u64, u64)>,
    /// How far it has come towards a lane.
    pub(super) negotiation: Negotiation,
}

pub(super) enum Never {}

impl Connection {
    async fn run(&mut self, socket: &Socket) -> Result<Never, End> {
        // Frames may have come in one read with the handshake.
        self.route_all().await?;
        loop {
            let mut readiness = socket.readable().await?;
            let outcome = self.read_all(&mut readiness).await;
            self.reader.release();
            #[cfg(feature = "shm")]
            if self.negotiation.is_switching()
                && let Some(switched) = self.negotiation.switched(&self.shared, &self.outbox).await
            {
                // Also when the end has come with the switch: what the client has sent before is in the ring.
                return self.run_lane(socket, switched, outcome).await;
            }
            outcome?;
            if self.source.peer.is_ended() {
                return Err(End::Closed);
            }
        }
    }

    /// Reads until the socket is drained.
    pub(super) async fn read_all(&mut self, readiness: &mut Readiness<'_>) -> Result<(), End> {
        let mut turn = 0;
        loop {
            self.begin_large(readiness).await;
            let chunk = self.read_once(readiness)?;
            match chunk {
                Chunk::End => return Err(End::Closed),
                Chunk::Empty => return Ok(()),
                Chunk::Full(count) | Chunk::Last(count) => {
                    self.source.peer.activity.heard.store(true, Ordering::Relaxed);
                    turn += count.max(SMALLEST_READ);
                }
            }
            self.route_all().await?;
            if matches!(chunk, Chunk::Last(_)) {
                return Ok(());
            }
            if turn >= TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Routes every whole frame that has arrived, as one batch.
    async fn route_all(&mut self) -> Result<(), End> {
        let mut pace = Pace::new(self.shared.look_interval);
        let outcome = loop {
            match self.route_next(&mut pace) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(end) => break Err(end),
            }
            if self.touched.has_waits() {
                self.wait_for_room().await;
            }
            if pace.is_flush_due() {
                self.touched.flush();
            }
            if pace.is_look_due() && self.outbox.is_half_full() {
                self.hold().await;
            }
            if pace.is_turn_over() {
                // Nobody waits for the turns of others; and this client is heard, whatever waits in its socket.
                self.shared.router.finish(&mut self.touched);
                self.source.peer.activity.heard.store(true, Ordering::Relaxed);
                tokio::task::yield_now().await;
                if self.source.peer.is_ended() {
                    break Err(End::Closed);
                }
            }
        };
        let (frames, bytes) = pace.total();
        self.source.peer.received.add(frames, bytes);
        self.source.peer.activity.amid.store(self.reader.is_amid(), Ordering::Relaxed);
        self.shared.router.finish(&mut self.touched);
        if self.outbox.is_half_full() {
            self.hold().await;
        }
        outcome
    }

    /// Routes the next frame, or several that are the same but for their payloads; says whether there was one.
    #[inline]
    fn route_next(&mut self, pace: &mut Pace) -> Result<bool, End> {
        if self.route_run(pace)? {
            return Ok(true);
        }
        let Some(frame) = self.reader.next_frame()? else { return Ok(false) };
        let (op_id, operation, qos) = match frame.meta {
            ClientFrame::Operation { op_id, operation, qos } => (op_id, operation, qos),
            ClientFrame::Ping { raw } => {
                self.shared.router.forget_outdated(&mut self.source);
                self.negotiation.hear(raw, &self.shared, &self.outbox, &mut self.reader);
                return Ok(true);
            }
            // None is enabled on a socket's connection.
            ClientFrame::Extra { .. } => return Ok(true),
        };
        #[cfg(feature = "shm")]
        if self.negotiation.is_switched() {
            return Err(End::AfterSwitch);
        }
        pace.count(1, frame.first.len() + frame.second.len() + frame.payload.len(), qos.is_realtime());
        let request = Request { op_id, operation, qos, address: frame.first, receiver: frame.second };
        let (payload, piped);
        let content = match frame.payload {
            ReceivedPayload::Front(front, _) => {
                let Some(pipes) = self.pipes.take() else {
                    debug_assert!(false, "what was passed over is in pipes");
                    return Err(End::Closed);
                };
                piped = Arc::new(Piped::new(front, pipes, &self.shared.router.pool));
                Routed::Piped(&piped)
            }
            ReceivedPayload::Owned(memory) => {
                payload = self.shared.router.pool.share(memory).into();
                Routed::Owned(&payload)
            }
            ReceivedPayload::Borrowed(slice) => Routed::Borrowed(slice),
            ReceivedPayload::Announced(_) => Routed::Borrowed(&[]),
        };
        if request.may_take_long() {
            pace.count_long();
        }
        self.shared.router.route(&mut self.source, request, content, &mut self.touched)?;
        if self.source.cache.take_missed() {
            pace.count_long();
        }
        Ok(true)
    }

    /// Routes frames like the last two, if any come next; says whether any did.
    #[inline]
    fn route_run(&mut self, pace: &mut Pace) -> Result<bool, End> {
        let Some((operation, address)) = self.shared.router.repeated(&self.source) else { return Ok(false) };
        #[cfg(feature = "shm")]
        if self.negotiation.is_switched() {
            return Ok(false);
        }
        let is_next = |frame: &ClientFrame, name: &[u8], payload: usize| {
            let is_alike =
                matches!(frame, ClientFrame::Operation { operation: its, qos: QoS::No, .. } if *its == operation);
            is_alike && payload <= COPY_MAX && is_same(name, address)
        };
        let run = self.reader.next_run((pace.run_frames(), &mut self.places), is_next);
        if run.is_empty() {
            return Ok(false);
        }
        pace.count(run.len(), address.len() * run.len() + run.bytes(), false);
        let address = Arc::clone(address);
        self.shared.router.route_run(&mut self.source, (operation, &address), run, &mut self.touched)?;
        Ok(true)
    }

    /// Waits for receivers whose policy is to make their senders wait; nothing is read meanwhile.
    pub(super) async fn wait_for_room(&mut self) {
        let peer = &self.source.peer;
        peer.activity.waits.store(true, Ordering::Relaxed);
        self.shared.router.settle(peer, &mut self.touched).await;
        peer.activity.heard.store(true, Ordering::Relaxed);
        peer.activity.waits.store(false, Ordering::Relaxed);
    }

    /// Waits until this client has taken half of what waits for it: one that floods itself slows itself.
    async fn hold(&mut self) {
        self.shared.router.finish(&mut self.touched);
        self.source.peer.activity.held.store(true, Ordering::Relaxed);
        let outbox = &self.outbox;
        poll_fn(|context| outbox.poll_half_empty(context)).await;
        self.source.peer.activity.heard.store(true, Ordering::Relaxed);
        self.source.peer.activity.held.store(false, Ordering::Relaxed);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.source.forget();
    }
}

//! One client's connection: a single task that reads, routes and hands on.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_net::link::{Chunk, FrameReader, Origin, Outbox, Readiness, Socket};
use busway_net::wire::{
    BrokerHandshake, BrokerStep, ClientFrame, ClientFrames, HELLO, ReceivedPayload, Refusal, ResultCode, Violation,
};
use tokio::runtime::Handle;

use super::Shared;
use super::peer::{Peer, Transport};
use super::router::{Request, Source};
use super::touched::Touched;
use crate::lane::SocketSink;
use crate::names::ClientName;
use crate::payload::Content;

/// Bytes after which a connection lets others have their turn.
const TURN: usize = 256 << 10;
/// Frames after which real-time receivers are flushed amid a batch.
const REALTIME_FRAMES: usize = 64;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
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
    let (peer, outbox) = match shaken.unwrap_or(Err(End::HandshakeTimeout)) {
        Ok(registered) => registered,
        Err(end) => {
            if end.is_ordinary() {
                tracing::debug!(?origin, "handshake not completed: {end}");
            } else {
                tracing::warn!(?origin, "handshake not completed: {end}");
            }
            return;
        }
    };
    tracing::debug!(client = %peer.name, ?origin, "registered");
    let mut connection = Connection {
        touched: Touched::new(peer.id),
        source: Source::new(Arc::clone(&peer)),
        shared: Arc::clone(&shared),
        outbox,
        reader,
    };
    let end = match connection.run(&socket).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    // What was produced before the end still goes out, as far as the socket takes it.
    shared.router.finish(&mut connection.touched);
    connection.reader.release();
    if peer.is_ended() {
        tracing::debug!(client = %peer.name, "connection closed");
    } else if end.is_ordinary() {
        tracing::debug!(client = %peer.name, "disconnected: {end}");
    } else {
        tracing::warn!(client = %peer.name, "disconnected: {end}");
    }
    shared.router.unregister(&peer, &mut connection.touched);
    shared.router.finish(&mut connection.touched);
}

type Reader = FrameReader<ClientFrames>;

/// Performs the handshake; the outbox opens with its last byte.
async fn register(
    shared: &Arc<Shared>,
    socket: &Arc<Socket>,
    from: (Origin, Arc<str>),
    reader: &mut Reader,
) -> Result<(Arc<Peer>, Arc<Outbox>), End> {
    send(socket, &HELLO)?;
    let mut handshake = BrokerHandshake::new(shared.router.limits);
    loop {
        let (used, name) = {
            let (used, step) = handshake.advance(reader.assembler_mut().pending());
            match step {
                BrokerStep::Incomplete => (used, None),
                BrokerStep::Reply(bytes) => {
                    send(socket, bytes)?;
                    reader.assembler_mut().consume(used);
                    continue;
                }
                BrokerStep::Register(name) => {
                    (used, Some(ClientName::parse(name, &shared.router.limits).map_err(Refusal::from)?))
                }
                BrokerStep::Refuse(refusal) => {
                    if let Some(code) = refusal.code() {
                        send(socket, &[code.0])?;
                    }
                    return Err(refusal.into());
                }
            }
        };
        reader.assembler_mut().consume(used);
        if let Some(name) = name {
            return enrol(shared, socket, from, name);
        }
        let mut readiness = socket.readable().await?;
        if reader.read(&mut readiness)? == Chunk::End {
            return Err(End::Closed);
        }
    }
}

fn enrol(
    shared: &Arc<Shared>,
    socket: &Arc<Socket>,
    (origin, listener): (Origin, Arc<str>),
    name: ClientName,
) -> Result<(Arc<Peer>, Arc<Outbox>), End> {
    let outbox = Arc::new(Outbox::new(shared.outbox_limits, Handle::current()));
    // Nothing may be written before the last byte of the handshake, and the peer takes frames as soon as it is
    // registered.
    outbox.attach(Arc::clone(socket), &[ResultCode::OK.0], true);
    let id = shared.router.next_id();
    let transport = (Transport::from(origin), Some(listener));
    let peer = Peer::new(id, name, transport, Box::new(SocketSink(Arc::clone(&outbox))));
    let mut touched = Touched::new(id);
    let registered = shared.router.register(&peer, &mut touched);
    shared.router.finish(&mut touched);
    if let Err(code) = registered {
        send(socket, &[code.0])?;
        peer.end();
        return Err(End::NotRegistered { name: peer.name.to_string(), code });
    }
    outbox.uncork();
    outbox.flush();
    Ok((peer, outbox))
}

/// A few bytes of a handshake; a socket that does not take them at once is not worth waiting for.
fn send(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    match socket.try_write(&[io::IoSlice::new(bytes)])? {
        count if count == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

struct Connection {
    shared: Arc<Shared>,
    source: Source,
    touched: Touched,
    outbox: Arc<Outbox>,
    reader: Reader,
}

enum Never {}

impl Connection {
    async fn run(&mut self, socket: &Socket) -> Result<Never, End> {
        // Frames may have come in one read with the handshake.
        self.route_all().await?;
        loop {
            let mut readiness = socket.readable().await?;
            self.read_all(&mut readiness).await?;
            self.reader.release();
        }
    }

    /// Reads until the socket is drained.
    async fn read_all(&mut self, readiness: &mut Readiness<'_>) -> Result<(), End> {
        let mut turn = 0;
        loop {
            let chunk = self.reader.read(readiness)?;
            match chunk {
                Chunk::End => return Err(End::Closed),
                Chunk::Empty => return Ok(()),
                Chunk::Full(count) | Chunk::Last(count) => {
                    self.source.peer.activity.heard.store(true, Ordering::Relaxed);
                    turn += count;
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
        let (mut frames, mut bytes) = (0, 0);
        let mut since_look = 0;
        let mut is_realtime = false;
        let outcome = loop {
            let frame = match self.reader.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(violation) => break Err(violation.into()),
            };
            let (op_id, operation, qos) = match frame.meta {
                ClientFrame::Operation { op_id, operation, qos } => (op_id, operation, qos),
                ClientFrame::Ping { raw } => {
                    if let Some(hook) = &self.shared.ping_hook {
                        hook(&self.source.peer, raw);
                    }
                    continue;
                }
                // None is enabled on a socket's connection.
                ClientFrame::Extra { .. } => continue,
            };
            frames += 1;
            bytes += (frame.first.len() + frame.second.len() + frame.payload.len()) as u64;
            is_realtime |= qos.is_realtime();
            let request = Request { op_id, operation, qos, address: frame.first, receiver: frame.second };
            let content = match frame.payload {
                ReceivedPayload::Owned(memory) => Content::Owned(self.shared.router.pool.share(memory).into()),
                ReceivedPayload::Borrowed(slice) => Content::Borrowed(slice),
                ReceivedPayload::Announced(_) => Content::Borrowed(&[]),
            };
            if let Err(violation) = self.shared.router.route(&mut self.source, request, content, &mut self.touched) {
                break Err(violation.into());
            }
            since_look += 1;
            if is_realtime && since_look % REALTIME_FRAMES == 0 {
                is_realtime = false;
                self.touched.flush();
            }
            if since_look >= self.shared.look_interval {
                since_look = 0;
                if self.outbox.is_half_full() {
                    self.hold().await;
                }
            }
        };
        self.source.peer.received.add(frames, bytes);
        self.source.peer.activity.amid.store(self.reader.is_amid(), Ordering::Relaxed);
        self.shared.router.finish(&mut self.touched);
        if self.outbox.is_half_full() {
            self.hold().await;
        }
        outcome
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use busway_net::Pool;
    use busway_net::link::OutboxLimits;
    use busway_net::wire::Limits;
    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::broker::registry::RegistryLimits;
    use crate::broker::router::Router;

    #[tokio::test]
    async fn the_ignored_bytes_of_a_ping_reach_the_hook() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (notify, mut seen_one) = tokio::sync::mpsc::unbounded_channel();
        let hook = {
            let seen = Arc::clone(&seen);
            move |peer: &Arc<Peer>, raw: [u8; 9]| {
                seen.lock().push((peer.name.to_string(), raw));
                let _ = notify.send(());
            }
        };
        let registry = RegistryLimits { clients: 10, subscriptions: 10, force_register: false };
        let shared = Arc::new(Shared {
            router: Arc::new(Router::new(Limits::default(), registry, Pool::default())),
            timeout: Duration::from_secs(5),
            outbox_limits: OutboxLimits::default(),
            look_interval: 64,
            ping_hook: Some(Arc::new(hook)),
        });
        let (ours, theirs) = UnixStream::pair().unwrap();
        let socket = Socket::new(ours.into()).unwrap();
        tokio::spawn(serve(shared, socket, Origin::Unix(None), "test".into()));
        theirs.set_nonblocking(true).unwrap();
        let mut client = tokio::net::UnixStream::from_std(theirs).unwrap();
        client.write_all(&[0xEB, 1, 0, 1, 0, b'a']).await.unwrap();
        client.read_exact(&mut [0; 5]).await.unwrap();
        client.write_all(b"BUSW\0\x01\0\0\0").await.unwrap();
        seen_one.recv().await.unwrap();
        assert_eq!(*seen.lock(), [("a".to_owned(), *b"BUSW\0\x01\0\0\0")]);
    }
}

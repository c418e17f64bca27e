//! How a connection becomes a registered client.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_net::link::{Chunk, Origin, Outbox, Socket};
use busway_net::wire::{BrokerHandshake, BrokerStep, HELLO, Refusal, ResultCode};
use tokio::runtime::Handle;

use super::Shared;
use super::connection::{End, Reader};
use super::negotiation::Negotiation;
use super::peer::{Peer, Transport};
use super::touched::Touched;
use crate::names::ClientName;

/// For how long a client is waited for that has gone, before its name is refused to the next one, ...
const LONGEST_DEPARTURE: Duration = Duration::from_secs(2);
/// ... and how often it is looked whether everything of it is read.
const DEPARTURE_LOOK: Duration = Duration::from_millis(1);

/// Performs the handshake; the outbox opens with its last byte.
pub(super) async fn register(
    shared: &Arc<Shared>,
    socket: &Arc<Socket>,
    from: (Origin, Arc<str>),
    reader: &mut Reader,
) -> Result<(Arc<Peer>, Arc<Outbox>, Negotiation), End> {
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
            await_departure(shared, &name).await;
            return enrol(shared, socket, from, name);
        }
        let mut readiness = socket.readable().await?;
        if reader.read(&mut readiness)? == Chunk::End {
            return Err(End::Closed);
        }
    }
}

/// Waits for a client that has gone under this name, and of whose frames some are yet to be routed: for its successor the
/// name is free.
async fn await_departure(shared: &Shared, name: &ClientName) {
    let begin = Instant::now();
    let patience = LONGEST_DEPARTURE.min(shared.timeout / 2);
    while shared.router.is_leaving(name) && begin.elapsed() < patience {
        tokio::time::sleep(DEPARTURE_LOOK).await;
    }
}

fn enrol(
    shared: &Arc<Shared>,
    socket: &Arc<Socket>,
    (origin, listener): (Origin, Arc<str>),
    name: ClientName,
) -> Result<(Arc<Peer>, Arc<Outbox>, Negotiation), End> {
    let outbox = Arc::new(Outbox::new(shared.outbox_limits, Handle::current()));
    // Nothing may be written before the last byte of the handshake, and the peer takes frames as soon as it is
    // registered.
    outbox.attach(Arc::clone(socket), &[ResultCode::OK.0], true);
    let id = shared.router.next_id();
    let transport = (Transport::from(origin), Some(listener));
    let (sink, negotiation) = Negotiation::new(shared, (origin, socket), &outbox, id);
    let peer = Peer::new(id, name, transport, sink);
    if let Some(policy) = shared.router.slow_receivers.of(&peer.name, false) {
        peer.sink.set_policy(None, policy);
    }
    // Not the client's own batches: what is announced here is not what its first frames bring.
    let mut touched = Touched::new(shared.router.next_id());
    let registered = shared.router.register(&peer, &mut touched);
    shared.router.finish(&mut touched);
    if let Err(code) = registered {
        // Also when the peer has gone: its sink may have a task.
        let sent = send(socket, &[code.0]);
        peer.end();
        sent?;
        return Err(End::NotRegistered { name: peer.name.to_string(), code });
    }
    outbox.uncork();
    outbox.flush();
    Ok((peer, outbox, negotiation))
}

/// A few bytes of a handshake; a socket that does not take them at once is not worth waiting for.
fn send(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    match socket.try_write(&[io::IoSlice::new(bytes)])? {
        count if count == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

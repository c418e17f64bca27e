//! Connecting and registering.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use busway_net::Pool;
use busway_net::link::{Chunk, Endpoint, FrameReader, Socket};
use busway_net::wire::{BrokerFrames, ClientHandshake, ClientStep, HELLO, Limits, encode_name};

use super::error::ConnectError;
use crate::names::ClientName;

/// Reads what the broker sends.
pub(super) type Reader = FrameReader<BrokerFrames>;

/// Connects to a broker and registers; frames may already wait in the reader.
pub(super) async fn connect(
    endpoint: &Endpoint,
    name: &ClientName,
    limits: Limits,
    timeout: Duration,
    pool: &Pool,
) -> Result<(Arc<Socket>, Reader), ConnectError> {
    let attempt = async {
        let socket = Socket::connect(endpoint).await;
        let socket = socket.map_err(|source| ConnectError::Unreachable { endpoint: endpoint.clone(), source })?;
        let mut reader = FrameReader::new(BrokerFrames { limits, extra_kinds: 0 }, pool.clone());
        shake_hands(endpoint, name, &limits, &socket, &mut reader).await?;
        Ok((Arc::new(socket), reader))
    };
    match tokio::time::timeout(timeout, attempt).await {
        Ok(connected) => connected,
        Err(_) => Err(ConnectError::Timeout { endpoint: endpoint.clone() }),
    }
}

async fn shake_hands(
    endpoint: &Endpoint,
    name: &ClientName,
    limits: &Limits,
    socket: &Socket,
    reader: &mut Reader,
) -> Result<(), ConnectError> {
    let lost = |source| ConnectError::Lost { endpoint: endpoint.clone(), source };
    let mut handshake = ClientHandshake::new();
    loop {
        let (used, step) = handshake.advance(reader.assembler_mut().pending());
        reader.assembler_mut().consume(used);
        match step {
            ClientStep::SendHello => send(socket, &HELLO).map_err(lost)?,
            ClientStep::SendName => send(socket, &encode_name(name, limits)?).map_err(lost)?,
            ClientStep::Done => return Ok(()),
            ClientStep::NotBroker => return Err(ConnectError::NotBroker { endpoint: endpoint.clone() }),
            ClientStep::Refused(code) => {
                return Err(ConnectError::Refused { endpoint: endpoint.clone(), name: name.to_string(), code });
            }
            ClientStep::Incomplete => {
                let mut readiness = socket.readable().await.map_err(lost)?;
                if reader.read(&mut readiness).map_err(lost)? == Chunk::End {
                    return Err(lost(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }
}

fn send(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    match socket.try_write(&[IoSlice::new(bytes)])? {
        count if count == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

//! The reference: crate busrt's own client, for both brokers.

use std::time::Duration;

use busrt::QoS;
use busrt::client::AsyncClient;
use busrt::ipc::{Client, Config};

use super::bus::BusClient;
use crate::failure::{Context, Failure, Result};
use crate::plan::Quality;
use crate::stamp::{Outgoing, Received, Stamp};

/// The default, one second, is too short for 64 MiB on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The broker drops clients that are silent for 6.25 s, also those that only receive.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

pub(crate) struct BusrtClient {
    /// `None` once something else keeps it alive.
    client: Option<Client>,
    events: busrt::EventChannel,
}

impl BusrtClient {
    fn client(&mut self) -> Result<&mut Client> {
        self.client.as_mut().ok_or_else(|| "this client only receives".into())
    }

    async fn next(&mut self) -> Result<busrt::Frame> {
        self.events.recv().await.map_err(|_| "the broker ended the connection of busrt's client".into())
    }
}

impl BusClient for BusrtClient {
    async fn connect(endpoint: &str, name: &str) -> Result<Self> {
        let config = Config::new(endpoint, name).timeout(TIMEOUT);
        let mut client = Client::connect(&config).await.context(|| format!("busrt's client {name} cannot connect"))?;
        let events = client.take_event_channel().ok_or("busrt's client has no event channel")?;
        Ok(Self { client: Some(client), events })
    }

    async fn subscribe(&mut self, topics: &[String]) -> Result<()> {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let confirmation = self.client()?.subscribe_bulk(&topics, QoS::Processed).await?;
        confirmed(confirmation).await
    }

    async fn publish(&mut self, topic: &str, outgoing: &mut Outgoing, stamp: Stamp, quality: Quality) -> Result<()> {
        let payload = outgoing.stamped(stamp).into();
        let confirmation = self.client()?.publish(topic, payload, qos(quality)).await?;
        confirmed(confirmation).await
    }

    async fn send(&mut self, target: &str, outgoing: &mut Outgoing, stamp: Stamp) -> Result<()> {
        let payload = outgoing.stamped(stamp).into();
        self.client()?.send(target, payload, QoS::Realtime).await?;
        Ok(())
    }

    async fn receive<R>(&mut self, take: impl FnOnce(Received<'_>) -> R) -> Result<R> {
        let frame = self.next().await?;
        Ok(take(Received::new(frame.payload())?))
    }

    async fn send_back(&mut self, target: &str) -> Result<Stamp> {
        let frame = self.next().await?;
        self.client()?.send(target, frame.payload().into(), QoS::Realtime).await?;
        Ok(Received::new(frame.payload())?.stamp)
    }

    fn only_receive(&mut self) {
        let Some(mut client) = self.client.take() else { return };
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(KEEP_ALIVE).await;
                // Whoever receives learns of the end.
                if client.ping().await.is_err() {
                    return;
                }
            }
        });
    }

    fn is_connected(&self) -> bool {
        !self.events.is_closed()
    }

    async fn flush(&mut self) -> Result<()> {
        // It flushes by itself, 10 us after the last write, and has no call for it.
        Ok(())
    }
}

async fn confirmed(confirmation: busrt::OpConfirm) -> Result<()> {
    match confirmation {
        Some(answer) => answer.await?.map_err(Failure::from),
        None => Ok(()),
    }
}

fn qos(quality: Quality) -> QoS {
    match quality {
        Quality::No => QoS::No,
        Quality::Realtime => QoS::Realtime,
        Quality::Processed => QoS::Processed,
    }
}

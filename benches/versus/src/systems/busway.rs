//! Our client, over sockets or over the lane.

use std::time::Duration;

use busway::{Client, QoS};

use super::bus::BusClient;
use super::lane;
use crate::failure::{Context, Result};
use crate::plan::Quality;
use crate::stamp::{Outgoing, Received, Stamp};

/// As for busrt's client.
const TIMEOUT: Duration = Duration::from_secs(30);

/// `LANE`: over shared memory, and not otherwise.
pub(crate) struct BuswayClient<const LANE: bool> {
    client: Client,
}

impl<const LANE: bool> BuswayClient<LANE> {
    async fn next(&mut self) -> Result<busway::Frame> {
        let frame = self.client.recv().await.ok_or("the broker ended the connection of our client")?;
        match frame.lost_before() {
            0 => Ok(frame),
            lost => Err(format!("our client has dropped {lost} frames: its receive queue was full").into()),
        }
    }
}

impl<const LANE: bool> BusClient for BuswayClient<LANE> {
    async fn connect(endpoint: &str, name: &str) -> Result<Self> {
        let builder = lane::choose(Client::builder(endpoint, name).timeout(TIMEOUT), LANE);
        let client = builder.connect().await.context(|| format!("our client {name} cannot connect"))?;
        lane::expect(&client, LANE).await?;
        Ok(Self { client })
    }

    async fn subscribe(&mut self, topics: &[String]) -> Result<()> {
        self.client.subscribe(topics).await?;
        Ok(())
    }

    async fn publish(&mut self, topic: &str, outgoing: &mut Outgoing, stamp: Stamp, quality: Quality) -> Result<()> {
        let qos = qos(quality);
        if LANE && lane::is_lent(outgoing) {
            let payload = lane::loan(&self.client, outgoing, stamp)?;
            self.client.publish(topic, payload).qos(qos).await?;
        } else {
            self.client.publish(topic, outgoing.stamped(stamp)).qos(qos).await?;
        }
        Ok(())
    }

    async fn send(&mut self, target: &str, outgoing: &mut Outgoing, stamp: Stamp) -> Result<()> {
        if LANE && lane::is_lent(outgoing) {
            let payload = lane::loan(&self.client, outgoing, stamp)?;
            self.client.send(target, payload).qos(QoS::Realtime).await?;
        } else {
            self.client.send(target, outgoing.stamped(stamp)).qos(QoS::Realtime).await?;
        }
        Ok(())
    }

    async fn receive<R>(&mut self, take: impl FnOnce(Received<'_>) -> R) -> Result<R> {
        let frame = self.next().await?;
        Ok(take(Received::new(frame.payload())?))
    }

    async fn send_back(&mut self, target: &str) -> Result<Stamp> {
        let frame = self.next().await?;
        let stamp = Received::new(frame.payload())?.stamp;
        if LANE && lane::is_worth_it(frame.payload().len()) {
            // A received payload belongs to its sender: what goes back is a payload of our own with the same stamp.
            let payload = lane::answer(&self.client, frame.payload())?;
            self.client.send(target, payload).qos(QoS::Realtime).await?;
        } else {
            self.client.send(target, frame.into_payload()).qos(QoS::Realtime).await?;
        }
        Ok(stamp)
    }

    fn only_receive(&mut self) {
        // It keeps itself alive.
    }

    fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    async fn flush(&mut self) -> Result<()> {
        self.client.flush().await?;
        Ok(())
    }
}

fn qos(quality: Quality) -> QoS {
    match quality {
        Quality::No => QoS::No,
        Quality::Realtime => QoS::Realtime,
        Quality::Processed => QoS::Processed,
    }
}

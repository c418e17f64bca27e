//! NATS: a broker over TCP.

use std::ops::ControlFlow;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Subscriber};
use futures_util::StreamExt;

use super::{Ends, Flow, Publish, RoundTrip};
use crate::failure::{Context, Result};
use crate::plan::{Plan, Quality};
use crate::stamp::{Outgoing, Received, Stamp};

pub(crate) struct Nats;

/// More than are ever on their way.
const CAPACITY: usize = 65_536;
/// What was flushed has left, but nobody says when the broker has taken it to heart.
const SETTLE: Duration = Duration::from_millis(50);

pub(crate) struct Trips {
    client: Client,
    back: Subscriber,
}

async fn connect(plan: &Plan) -> Result<Client> {
    let options = ConnectOptions::new().subscription_capacity(CAPACITY);
    options.connect(&plan.endpoint).await.context(|| "the client of NATS cannot connect".into())
}

async fn subscribe(client: &Client, topic: &str) -> Result<Subscriber> {
    let subscriber = client.subscribe(topic.to_owned()).await?;
    client.flush().await?;
    tokio::time::sleep(SETTLE).await;
    Ok(subscriber)
}

impl Ends for Nats {
    type Publisher = Client;
    type Pinger = Trips;

    async fn publisher(plan: &Plan) -> Result<Client> {
        connect(plan).await
    }

    async fn subscribe(
        plan: &Plan,
        _number: usize,
        subscribed: impl FnOnce() -> Result<()>,
        mut take: impl FnMut(Received<'_>) -> Flow + Send + 'static,
    ) -> Result<()> {
        let client = connect(plan).await?;
        let mut subscriber = subscribe(&client, &plan.topic).await?;
        subscribed()?;
        while let Some(message) = subscriber.next().await {
            if let ControlFlow::Break(outcome) = take(Received::new(&message.payload)?) {
                return outcome;
            }
        }
        Err("the broker of NATS ended the connection".into())
    }

    async fn pinger(plan: &Plan) -> Result<Trips> {
        let client = connect(plan).await?;
        let back = subscribe(&client, "back").await?;
        Ok(Trips { client, back })
    }

    async fn echo(plan: &Plan, listening: impl FnOnce()) -> Result<()> {
        let client = connect(plan).await?;
        let mut there = subscribe(&client, "there").await?;
        listening();
        while let Some(message) = there.next().await {
            let stamp = Received::new(&message.payload)?.stamp;
            client.publish("back", message.payload).await?;
            if stamp.last {
                client.flush().await?;
                return Ok(());
            }
        }
        Err("the broker of NATS ended the connection".into())
    }
}

impl Publish for Client {
    async fn publish(&mut self, topic: &str, outgoing: &mut Outgoing, stamp: Stamp, _quality: Quality) -> Result<()> {
        // Its client takes payloads that are its own.
        let payload = outgoing.stamped(stamp).to_vec();
        Client::publish(self, topic.to_owned(), payload.into()).await?;
        Ok(())
    }

    async fn flush_before_waiting(&mut self) -> Result<()> {
        Publish::flush(self).await
    }

    async fn flush(&mut self) -> Result<()> {
        Client::flush(self).await?;
        Ok(())
    }
}

impl RoundTrip for Trips {
    async fn round_trip(
        &mut self,
        outgoing: &mut Outgoing,
        stamp: Stamp,
        take: impl FnOnce(Received<'_>) -> Result<()>,
    ) -> Result<()> {
        self.client.publish("there", outgoing.stamped(stamp).to_vec().into()).await?;
        let message = self.back.next().await.ok_or("the broker of NATS ended the connection")?;
        take(Received::new(&message.payload)?)
    }
}

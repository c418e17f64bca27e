//! What busrt's client and ours have in common: names, topics and a broker.

use std::marker::PhantomData;
use std::ops::ControlFlow;

use super::{Ends, Flow, Publish, RoundTrip};
use crate::failure::Result;
use crate::plan::{Plan, Quality};
use crate::stamp::{Outgoing, Received, Stamp};

/// A client of a BUS/RT broker.
pub(crate) trait BusClient: Sized + 'static {
    /// Connects; returns when measuring may begin.
    async fn connect(endpoint: &str, name: &str) -> Result<Self>;

    /// Returns when the broker has done it.
    async fn subscribe(&mut self, topics: &[String]) -> Result<()>;

    /// Sends to the subscribers of a topic.
    async fn publish(&mut self, topic: &str, outgoing: &mut Outgoing, stamp: Stamp, quality: Quality) -> Result<()>;

    /// Sends to one client, at once.
    async fn send(&mut self, target: &str, outgoing: &mut Outgoing, stamp: Stamp) -> Result<()>;

    /// The next payload.
    async fn receive<R>(&mut self, take: impl FnOnce(Received<'_>) -> R) -> Result<R>;

    /// Waits for the next payload and sends it back to one client, at once.
    async fn send_back(&mut self, target: &str) -> Result<Stamp>;

    /// From now on it only receives: something else must keep the connection alive.
    fn only_receive(&mut self);

    /// Whether the broker has not cut it.
    fn is_connected(&self) -> bool;

    /// Leaves nothing behind that is not sent.
    async fn flush(&mut self) -> Result<()>;
}

/// The ends of a bus, whoever's client it is.
pub(crate) struct Bus<C>(PhantomData<C>);

/// A client that publishes.
pub(crate) struct Publisher<C>(C);

/// A client and its place in a round trip.
pub(crate) struct Pinger<C> {
    client: C,
    other: String,
}

impl<C: BusClient> Ends for Bus<C> {
    type Publisher = Publisher<C>;
    type Pinger = Pinger<C>;

    async fn publisher(plan: &Plan) -> Result<Publisher<C>> {
        Ok(Publisher(C::connect(&plan.endpoint, &plan.client_name(0)).await?))
    }

    async fn subscribe(
        plan: &Plan,
        number: usize,
        subscribed: impl FnOnce() -> Result<()>,
        mut take: impl FnMut(Received<'_>) -> Flow + Send + 'static,
    ) -> Result<()> {
        let mut client = C::connect(&plan.endpoint, &plan.client_name(number)).await?;
        client.subscribe(&plan.subscribed()).await?;
        client.only_receive();
        subscribed()?;
        loop {
            if let ControlFlow::Break(outcome) = client.receive(&mut take).await? {
                return outcome;
            }
        }
    }

    async fn pinger(plan: &Plan) -> Result<Pinger<C>> {
        let client = C::connect(&plan.endpoint, &end(plan, "ping")).await?;
        Ok(Pinger { client, other: end(plan, "pong") })
    }

    async fn echo(plan: &Plan, listening: impl FnOnce()) -> Result<()> {
        let mut client = C::connect(&plan.endpoint, &end(plan, "pong")).await?;
        let other = end(plan, "ping");
        listening();
        while !client.send_back(&other).await?.last {}
        client.flush().await
    }
}

fn end(plan: &Plan, which: &str) -> String {
    format!("{}.{which}", plan.topic)
}

impl<C: BusClient> Publish for Publisher<C> {
    async fn publish(&mut self, topic: &str, outgoing: &mut Outgoing, stamp: Stamp, quality: Quality) -> Result<()> {
        self.0.publish(topic, outgoing, stamp, quality).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }
}

impl<C: BusClient> RoundTrip for Pinger<C> {
    async fn round_trip(
        &mut self,
        outgoing: &mut Outgoing,
        stamp: Stamp,
        take: impl FnOnce(Received<'_>) -> Result<()>,
    ) -> Result<()> {
        self.client.send(&self.other, outgoing, stamp).await?;
        self.client.receive(take).await?
    }
}

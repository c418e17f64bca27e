//! The systems that are compared, and what each must offer for it.

mod bus;
mod busrt;
mod busway;
#[cfg(feature = "iceoryx2")]
mod iceoryx2;
mod lane;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "zenoh")]
mod zenoh;
#[cfg(feature = "zeromq")]
mod zeromq;

use std::fmt;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::failure::Result;
use crate::plan::{Plan, Quality};
use crate::stamp::{Outgoing, Received, Stamp};

pub(crate) use bus::{Bus, BusClient};
pub(crate) use busrt::BusrtClient;
pub(crate) use busway::BuswayClient;
#[cfg(feature = "iceoryx2")]
pub(crate) use iceoryx2::Iceoryx2;
#[cfg(feature = "nats")]
pub(crate) use nats::Nats;
#[cfg(feature = "zenoh")]
pub(crate) use zenoh::Zenoh;
#[cfg(feature = "zeromq")]
pub(crate) use zeromq::Zeromq;

/// What is compared: a broker and the clients that talk through it, or a system without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// busrtd with busrt's own client.
    Busrt,
    /// buswayd with busrt's own client.
    BuswaydBusrtClient,
    /// buswayd with our client over sockets.
    BuswaySockets,
    /// buswayd with our client over shared memory.
    BuswayLane,
    Iceoryx2,
    Zenoh,
    Nats,
    Zeromq,
}

/// What runs between the clients of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokerProgram {
    Busrtd,
    Buswayd,
    NatsServer,
}

impl System {
    pub(crate) const ALL: [Self; 8] = [
        Self::Busrt,
        Self::BuswaydBusrtClient,
        Self::BuswaySockets,
        Self::BuswayLane,
        Self::Iceoryx2,
        Self::Zenoh,
        Self::Nats,
        Self::Zeromq,
    ];

    /// As it stands in tables and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Busrt => "busrt",
            Self::BuswaydBusrtClient => "buswayd-busrt-client",
            Self::BuswaySockets => "busway-sockets",
            Self::BuswayLane => "busway-lane",
            Self::Iceoryx2 => "iceoryx2",
            Self::Zenoh => "zenoh",
            Self::Nats => "nats",
            Self::Zeromq => "zeromq",
        }
    }

    pub(crate) fn broker(self) -> Option<BrokerProgram> {
        match self {
            Self::Busrt => Some(BrokerProgram::Busrtd),
            Self::BuswaydBusrtClient | Self::BuswaySockets | Self::BuswayLane => Some(BrokerProgram::Buswayd),
            Self::Nats => Some(BrokerProgram::NatsServer),
            Self::Iceoryx2 | Self::Zenoh | Self::Zeromq => None,
        }
    }

    /// Whether this program was built with it.
    pub(crate) fn is_built_in(self) -> bool {
        match self {
            Self::Busrt | Self::BuswaydBusrtClient | Self::BuswaySockets | Self::BuswayLane => true,
            Self::Iceoryx2 => cfg!(feature = "iceoryx2"),
            Self::Zenoh => cfg!(feature = "zenoh"),
            Self::Nats => cfg!(feature = "nats"),
            Self::Zeromq => cfg!(feature = "zeromq"),
        }
    }

    /// Whether its clients speak BUS/RT or are Busway's: they alone know QoS, and do all kinds of work.
    pub(crate) fn is_bus(self) -> bool {
        matches!(self, Self::Busrt | Self::BuswaydBusrtClient | Self::BuswaySockets | Self::BuswayLane)
    }

    /// Whether payloads can be handed over without anybody copying them.
    pub(crate) fn shares_memory(self) -> bool {
        matches!(self, Self::BuswayLane | Self::Iceoryx2 | Self::Zenoh)
    }
}

impl fmt::Display for System {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// What a receiver makes of a payload: it goes on, or has what it wanted or failed.
pub(crate) type Flow = ControlFlow<Result<()>>;

/// The ends of a system that the roles of a run need.
pub(crate) trait Ends {
    type Publisher: Publish;
    type Pinger: RoundTrip;

    /// The sending end; it is there before the receiving ones.
    async fn publisher(plan: &Plan) -> Result<Self::Publisher>;

    /// Subscribes, calls `subscribed`, and then `take` for each payload until it breaks off.
    async fn subscribe(
        plan: &Plan,
        number: usize,
        subscribed: impl FnOnce() -> Result<()>,
        take: impl FnMut(Received<'_>) -> Flow + Send + 'static,
    ) -> Result<()>;

    /// One end of a round trip, made after the other.
    async fn pinger(plan: &Plan) -> Result<Self::Pinger>;

    /// The other end: calls `listening`, then sends back what comes, up to the last.
    async fn echo(plan: &Plan, listening: impl FnOnce()) -> Result<()>;
}

/// Sends payloads to whoever has subscribed.
pub(crate) trait Publish {
    /// Waits until all subscribers are known, in systems in which they become so by and by.
    async fn meet(&mut self, _receivers: usize) -> Result<()> {
        Ok(())
    }

    /// Sends the next payload, and waits for its confirmation if the quality says so.
    async fn publish(&mut self, topic: &str, outgoing: &mut Outgoing, stamp: Stamp, quality: Quality) -> Result<()>;

    /// Called before it waits for room, for systems that would not send meanwhile what they hold.
    async fn flush_before_waiting(&mut self) -> Result<()> {
        Ok(())
    }

    /// Leaves nothing behind that is not sent.
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Sends a payload and waits until it is back.
pub(crate) trait RoundTrip {
    async fn round_trip(
        &mut self,
        outgoing: &mut Outgoing,
        stamp: Stamp,
        take: impl FnOnce(Received<'_>) -> Result<()>,
    ) -> Result<()>;
}

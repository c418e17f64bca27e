//! What all rows have in common.

use std::time::{Duration, Instant};

use busway::client::{SendError, Transport};
use busway::{Client, LaneOff, QoS};

use super::options::{Benchmark, Path};
use crate::connection::{self, connect_as};
use crate::failure::Failure;
use crate::options::Options;

/// The broker to measure, and how.
pub(crate) struct Plan {
    endpoint: Option<String>,
    /// What the names of all clients begin with.
    name: String,
    pub(crate) timeout: Duration,
    pub(crate) command: Benchmark,
    /// The broker has a lane for local clients.
    has_lane: bool,
}

/// Between two looks at what somebody else is doing.
const MOMENT: Duration = Duration::from_millis(1);
/// The offer comes before the first, the switch before the second.
const CONFIRMATIONS: usize = 8;
/// Frames that come beside those which are measured, such as announcements.
const SPARE_FRAMES: usize = 1024;

impl Plan {
    /// Connects once, to see whether there is a broker and a lane.
    pub(crate) async fn new(options: &Options, command: &Benchmark) -> Result<Self, Failure> {
        let mut plan = Self {
            endpoint: options.connect.clone(),
            name: connection::name(options),
            timeout: options.timeout,
            command: command.clone(),
            has_lane: false,
        };
        let scout = plan.connect("scout").await?;
        if plan.command.transport == Path::Lane && scout.transport() == Transport::Tcp {
            return Err(Failure::Failed("no lane: the connection is TCP".to_owned()));
        }
        plan.has_lane = scout.transport() == Transport::Lane;
        scout.close().await;
        Ok(plan)
    }

    /// A client, on the lane if there is one.
    pub(crate) async fn connect(&self, role: &str) -> Result<Client, Failure> {
        let client = self.register(role).await?;
        if cfg!(feature = "shm") && self.command.transport != Path::Socket {
            self.settle(&client).await?;
        }
        match client.lane_off_reason() {
            Some(LaneOff::Negotiating) if self.command.transport == Path::Lane => {
                Err(Failure::Failed("no lane: the broker does not offer one".to_owned()))
            }
            Some(reason) if self.command.transport == Path::Lane => {
                Err(Failure::Failed(format!("no lane: {reason}; --transport auto does without")))
            }
            _ => Ok(client),
        }
    }

    /// Until it is known whether frames go by the lane.
    async fn settle(&self, client: &Client) -> Result<(), Failure> {
        let started = Instant::now();
        let is = |reason| client.lane_off_reason() == Some(reason) && started.elapsed() < self.timeout;
        // A broker answers in turn, and so has had its say about the lane when it has confirmed some frames. Most do
        // not know what a lane is, and say nothing.
        for _ in 0..CONFIRMATIONS {
            if is(LaneOff::Negotiating) {
                let confirmed = client.send(&self.client_name("nobody"), "").qos(QoS::Processed).await;
                if let Err(SendError::Disconnected | SendError::Timeout) = confirmed {
                    return confirmed.map_err(|error| Failure::of("the first message", &error));
                }
            }
        }
        while self.has_lane && is(LaneOff::Negotiating) {
            tokio::time::sleep(MOMENT).await;
        }
        Ok(())
    }

    /// The name of the client that does that.
    pub(crate) fn client_name(&self, role: &str) -> String {
        format!("{}.{role}", self.name)
    }

    async fn register(&self, role: &str) -> Result<Client, Failure> {
        // What is lost is to be the broker's loss.
        let frames = self.command.window as usize + SPARE_FRAMES;
        let shm = self.command.transport != Path::Socket;
        let adjust = |builder: busway::client::Builder| builder.shm(shm).receive_queue(frames, usize::MAX);
        connect_as(self.endpoint.as_deref(), &self.client_name(role), self.timeout, adjust).await
    }
}

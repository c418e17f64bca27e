//! What a process of a run is told to do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::systems::System;

/// What a process does in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Sends to all subscribers.
    Publisher,
    /// Receives, checks and counts.
    Subscriber,
    /// Sends one message at a time and waits for its return.
    Ping,
    /// Sends everything back.
    Pong,
    /// Many clients that are connected and do nothing.
    Crowd,
    /// Many clients that each send to the next one.
    Chatter,
    /// Many clients that all send to one.
    Sources,
    /// The one that they send to.
    Sink,
    /// Clients with very many subscriptions.
    Filters,
}

/// How a message is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Quality {
    /// Sent, no more.
    No,
    /// Sent at once.
    Realtime,
    /// Confirmed, and the next is sent after that.
    Processed,
}

/// Which kind of topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FilterKind {
    Exact,
    OneLevel,
    AllLevels,
}

/// The order that the driver gives to a process of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) system: System,
    pub(crate) role: Role,
    /// Of the broker, or where the processes meet.
    pub(crate) endpoint: String,
    /// Of the run; sockets for credit are here.
    pub(crate) folder: PathBuf,
    pub(crate) topic: String,
    /// How many topics below it are used in turn.
    pub(crate) topics: u32,
    /// Which of the processes in this role.
    pub(crate) index: usize,
    /// Bytes of a payload.
    pub(crate) payload: usize,
    /// Receivers of each message, in all processes.
    pub(crate) receivers: usize,
    /// Clients in this process.
    pub(crate) clients: usize,
    pub(crate) filters: FilterKind,
    pub(crate) quality: Quality,
    /// Every byte of a payload is written by the sender and read by the receiver.
    pub(crate) touched: bool,
    /// Receivers measure how old messages are.
    pub(crate) timed: bool,
    /// Messages a second, at most.
    pub(crate) rate: Option<u32>,
    /// How long to measure.
    pub(crate) seconds: f64,
    /// Messages or round trips that are measured at least, if need be for longer.
    pub(crate) least: u64,
    /// It goes on until the driver ends it, and says how far it is when the driver asks.
    pub(crate) background: bool,
    /// Seconds for which nobody stands still who is not stuck.
    pub(crate) patience: f64,
}

/// Messages and bytes that may be on their way: the same for every system. Brokers hold 8192 frames and, ours, 64 MiB
/// for a client before they cut it.
const WINDOW_MESSAGES: usize = 4096;
const WINDOW_BYTES: usize = 64 << 20;
/// The same for the copies of all receivers: who has hundreds of clients in one process must still find time to tell
/// the broker that they live.
const WINDOW_COPIES: usize = 65_536;
const SMALLEST_WINDOW: usize = 2;
/// Where payloads of different lengths are compared at one rate, they have the window of the longest: with another one
/// their receiver would report less often, and wake processors that the broker then need not wake.
const PACED_WINDOW: usize = 4;

impl Plan {
    pub(crate) fn window(&self) -> u64 {
        let most = if self.is_paced() { PACED_WINDOW } else { WINDOW_MESSAGES };
        let window = (WINDOW_BYTES / self.payload.max(1)).min(WINDOW_COPIES / self.receivers.max(1));
        window.clamp(SMALLEST_WINDOW, most) as u64
    }

    /// Whether what is measured is what a rate costs, and not how long its messages take.
    fn is_paced(&self) -> bool {
        self.rate.is_some() && !self.timed
    }

    /// Messages after which a receiver reports.
    pub(crate) fn report_every(&self) -> u64 {
        (self.window() / 4).max(1)
    }

    /// Where receivers report to the publisher.
    pub(crate) fn credit_path(&self) -> PathBuf {
        self.folder.join(format!("credit-{}.sock", self.topic))
    }

    /// The topics that are published to, in turn.
    pub(crate) fn published(&self) -> Vec<String> {
        match self.topics {
            0 | 1 => vec![self.topic.clone()],
            topics => (0..topics).map(|number| format!("{}/{number}/value", self.topic)).collect(),
        }
    }

    /// What a subscriber subscribes to.
    pub(crate) fn subscribed(&self) -> Vec<String> {
        match (self.topics, self.filters) {
            (0 | 1, _) | (_, FilterKind::Exact) => self.published(),
            (_, FilterKind::OneLevel) => vec![format!("{}/+/value", self.topic)],
            (_, FilterKind::AllLevels) => vec![format!("{}/#", self.topic)],
        }
    }

    /// A name that is this client's alone.
    pub(crate) fn client_name(&self, number: usize) -> String {
        format!("{}.{:?}.{}.{number}", self.topic, self.role, self.index).to_lowercase()
    }
}

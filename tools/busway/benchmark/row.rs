//! What is measured.

use busway::QoS;
use clap::ValueEnum;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// Calls of a method of the broker's, which returns its parameters
    #[value(name = "rpc.call")]
    Call,
    /// Calls of such a method of the caller's own
    #[value(name = "rpc.call+handle")]
    CallHandle,
    /// Calls without reply, confirmed, to nobody
    #[value(name = "rpc.call0")]
    Call0,
    /// Messages to nobody
    #[value(name = "send.qos.no")]
    Send,
    /// Messages to nobody, real-time and confirmed one by one
    #[value(name = "send.qos.processed")]
    SendProcessed,
    /// Messages to the sender itself
    #[value(name = "send+recv.qos.no")]
    Receive,
    /// Messages to the sender itself, real-time and confirmed one by one
    #[value(name = "send+recv.qos.processed")]
    ReceiveProcessed,
    /// Publications to --receivers subscribers
    #[value(name = "publish+recv.qos.no")]
    Publish,
    /// Publications to --receivers subscribers, real-time and confirmed one by one
    #[value(name = "publish+recv.qos.processed")]
    PublishProcessed,
    /// Messages to another client, which sends each back before the next is sent
    #[value(name = "round.trip.qos.no")]
    RoundTrip,
    /// The same, real-time
    #[value(name = "round.trip.qos.realtime")]
    RoundTripRealtime,
}

impl Row {
    /// Its name, as it is printed.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// With which QoS it sends.
    pub(crate) fn qos(self) -> QoS {
        match self {
            Self::Send | Self::Receive | Self::Publish | Self::RoundTrip => QoS::No,
            Self::RoundTripRealtime => QoS::Realtime,
            _ => QoS::RealtimeProcessed,
        }
    }

    /// How often each frame is to arrive, if at all; the answer of a call counts as one.
    pub(crate) fn arrivals(self, receivers: u16) -> Option<u64> {
        match self {
            Self::Call0 | Self::Send | Self::SendProcessed => None,
            Self::Publish | Self::PublishProcessed => Some(receivers.into()),
            _ => Some(1),
        }
    }
}

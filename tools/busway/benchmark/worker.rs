//! Whoever does the work of a row.

use busway::Client;

use super::caller::Caller;
use super::group::Group;
use super::pair::Pair;
use super::place::Place;
use super::row::Row;
use super::sender::Sender;
use super::work::Work;
use crate::failure::Failure;

/// One of the workers of a row.
pub(crate) enum Worker {
    Caller(Caller),
    Sender(Sender),
    Group(Group),
    Pair(Pair),
}

impl Worker {
    pub(crate) async fn connect(place: &Place) -> Result<Self, Failure> {
        Ok(match place.row {
            Row::Call | Row::CallHandle | Row::Call0 => Self::Caller(Caller::connect(place).await?),
            Row::Send | Row::SendProcessed => Self::Sender(Sender::connect(place).await?),
            Row::RoundTrip | Row::RoundTripRealtime => Self::Pair(Pair::connect(place).await?),
            _ => Self::Group(Group::connect(place).await?),
        })
    }

    pub(crate) async fn run(&self, place: &Place, work: &mut Work) -> Result<(), Failure> {
        match self {
            Self::Caller(caller) => caller.run(place, work).await,
            Self::Sender(sender) => sender.run(place, work).await,
            Self::Group(group) => group.run(place, work).await,
            Self::Pair(pair) => pair.run(place, work).await,
        }
    }

    pub(crate) fn clients(&self) -> Vec<&Client> {
        match self {
            Self::Caller(caller) => vec![caller.client()],
            Self::Sender(sender) => vec![sender.client()],
            Self::Group(group) => group.clients().collect(),
            Self::Pair(pair) => pair.clients().to_vec(),
        }
    }

    pub(crate) async fn close(&self) {
        for client in self.clients() {
            client.close().await;
        }
    }
}

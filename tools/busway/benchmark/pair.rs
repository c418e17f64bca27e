//! The row of round trips.

use std::time::Instant;

use busway::client::SendError;
use busway::{Client, QoS};

use super::numbered::{self, Arrival, Expected, Numbered};
use super::place::Place;
use super::work::Work;
use crate::failure::Failure;

/// A worker that sends, and another client that sends everything back.
pub(crate) struct Pair {
    near: Client,
    far: Client,
}

impl Pair {
    pub(crate) async fn connect(place: &Place) -> Result<Self, Failure> {
        Ok(Self { near: place.connect("near").await?, far: place.connect("far").await? })
    }

    pub(crate) fn clients(&self) -> [&Client; 2] {
        [&self.near, &self.far]
    }

    pub(crate) async fn run(&self, place: &Place, work: &mut Work) -> Result<(), Failure> {
        let sender = self.near.name().to_owned();
        let far = tokio::spawn(echo(self.far.clone(), sender, place.payload_size(), place.row.qos()));
        let there_and_back = self.there_and_back(place, work).await;
        if there_and_back.is_err() {
            far.abort();
            return there_and_back;
        }
        match far.await {
            Ok(echoed) => echoed.map_err(|error| place.failure(&self.far, &error)),
            Err(error) => Err(place.failed(&error.to_string())),
        }
    }

    async fn there_and_back(&self, place: &Place, work: &mut Work) -> Result<(), Failure> {
        let qos = place.row.qos();
        let size = place.payload_size();
        let (mut payloads, mut expected) = (Numbered::new(size), Expected::new(size));
        let failure = |error| place.failure(&self.near, &error);
        while work.goes_on().await {
            let started = Instant::now();
            work.tally.add_sent();
            self.near.send(self.far.name(), payloads.advance()).qos(qos).await.map_err(failure)?;
            let frame = loop {
                let frame = self.near.recv().await.ok_or_else(|| place.lost(&self.near))?;
                if frame.sender() == self.far.name() {
                    break frame;
                }
            };
            if expected.see(frame.payload()) != Arrival::Counts {
                return Err(place.failed("the answer is not what was sent"));
            }
            work.tally.add_received();
            work.latency.record(started);
        }
        self.near.send(self.far.name(), numbered::end(size)).qos(qos).await.map_err(failure)
    }
}

/// Sends everything back, until the end.
async fn echo(client: Client, sender: String, size: usize, qos: QoS) -> Result<(), SendError> {
    while let Some(frame) = client.recv().await {
        if frame.sender() != sender {
            continue;
        }
        if frame.payload().as_slice() == numbered::end(size) {
            return Ok(());
        }
        client.send(&sender, frame.payload()).qos(qos).await?;
    }
    Err(SendError::Disconnected)
}

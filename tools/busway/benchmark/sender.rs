//! The rows that send to nobody: what the way to the broker and through it costs, without a receiver.

use std::time::Instant;

use busway::client::SendError;
use busway::{Client, QoS, ResultCode};

use super::numbered::Numbered;
use super::place::Place;
use super::work::Work;
use crate::failure::Failure;

/// A worker that sends where nobody is.
pub(crate) struct Sender {
    client: Client,
    target: String,
}

impl Sender {
    pub(crate) async fn connect(place: &Place) -> Result<Self, Failure> {
        Ok(Self { client: place.connect("sender").await?, target: place.client_name("nobody") })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn run(&self, place: &Place, work: &mut Work) -> Result<(), Failure> {
        let mut payloads = Numbered::new(place.payload_size());
        let qos = place.row.qos();
        let failure = |error| place.failure(&self.client, &error);
        while work.goes_on().await {
            let started = Instant::now();
            self.send(payloads.advance(), qos).await.map_err(failure)?;
            work.tally.add_sent();
            if qos.is_confirmed() {
                work.latency.record(started);
            }
        }
        // The broker has dealt with all that went before.
        self.send(b"", QoS::Processed).await.map_err(failure)
    }

    async fn send(&self, payload: &[u8], qos: QoS) -> Result<(), SendError> {
        match self.client.send(&self.target, payload).qos(qos).await {
            // The answer that is expected.
            Err(SendError::Refused(ResultCode::NOT_REGISTERED)) => Ok(()),
            sent => sent,
        }
    }
}

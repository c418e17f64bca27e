//! The rows in which what is sent arrives: at the sender itself, or at many subscribers.

use std::sync::Arc;
use std::time::Instant;

use busway::Client;
use busway::client::{Operation, SendError};
use tokio::task::JoinSet;

use super::numbered::{self, Arrival, Expected, Numbered};
use super::place::Place;
use super::row::Row;
use super::window::Window;
use super::work::{Tally, Work};
use crate::failure::Failure;

/// A worker that sends, and those who receive it.
pub(crate) struct Group {
    sender: Client,
    address: Address,
    receivers: Vec<Client>,
}

enum Address {
    Itself,
    Topic(String),
}

impl Group {
    pub(crate) async fn connect(place: &Place) -> Result<Self, Failure> {
        let sender = place.connect("sender").await?;
        if !matches!(place.row, Row::Publish | Row::PublishProcessed) {
            return Ok(Self { receivers: vec![sender.clone()], sender, address: Address::Itself });
        }
        // Two benchmarks at once do not hear each other.
        let topic = format!("benchmark/{}/{}", std::process::id(), place.worker);
        let mut receivers = Vec::new();
        for number in 0..place.plan.command.receivers {
            let client = place.connect(&format!("receiver-{number}")).await?;
            client.subscribe(&topic).await.map_err(|error| place.failure(&client, &error))?;
            receivers.push(client);
        }
        Ok(Self { sender, address: Address::Topic(topic), receivers })
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = &Client> {
        std::iter::once(&self.sender).chain(&self.receivers)
    }

    pub(crate) async fn run(&self, place: &Place, work: &mut Work) -> Result<(), Failure> {
        let mut windows = Vec::new();
        let mut receiving = JoinSet::new();
        for client in &self.receivers {
            let window = Arc::new(Window::new(place.plan.command.window, place.payload_size()));
            windows.push(Arc::clone(&window));
            let receiver = Receiver { client: client.clone(), sender: self.sender.name().to_owned(), window };
            receiving.spawn(receiver.run(place.payload_size(), Arc::clone(&work.tally)));
        }
        let sending = self.send(place, &windows, work);
        tokio::pin!(sending);
        let mut is_sending = true;
        loop {
            tokio::select! {
                sent = &mut sending, if is_sending => {
                    sent.map_err(|error| place.failure(&self.sender, &error))?;
                    is_sending = false;
                }
                Some(received) = receiving.join_next() => match received {
                    Ok(Ok(())) => {}
                    Ok(Err(Fault::Lost(client))) => return Err(place.lost(&client)),
                    Ok(Err(Fault::Strange)) => {
                        return Err(place.failed("a frame arrived twice, out of order or with another length"));
                    }
                    Err(error) => return Err(place.failed(&error.to_string())),
                },
                else => return Ok(()),
            }
        }
    }

    async fn send(&self, place: &Place, windows: &[Arc<Window>], work: &mut Work) -> Result<(), SendError> {
        let qos = place.row.qos();
        let size = place.payload_size();
        let mut payloads = Numbered::new(size);
        let mut free = 0;
        while work.goes_on().await {
            if free == 0 {
                for window in windows {
                    window.take().await;
                    free = window.step();
                }
                // Time may be up by now.
                continue;
            }
            free -= 1;
            let started = Instant::now();
            self.operation(payloads.advance()).qos(qos).await?;
            work.tally.add_sent();
            if qos.is_confirmed() {
                work.latency.record(started);
            }
        }
        if free == 0 {
            for window in windows {
                window.clear().await;
            }
        }
        self.operation(numbered::end(size)).qos(qos).await
    }

    fn operation<'a>(&'a self, payload: &'a [u8]) -> Operation<'a> {
        match &self.address {
            Address::Itself => self.sender.send(self.sender.name(), payload),
            Address::Topic(topic) => self.sender.publish(topic, payload),
        }
    }
}

/// What ends a receiver early.
enum Fault {
    Lost(Client),
    Strange,
}

struct Receiver {
    client: Client,
    sender: String,
    window: Arc<Window>,
}

impl Receiver {
    /// Until nothing more is sent.
    async fn run(self, size: usize, tally: Arc<Tally>) -> Result<(), Fault> {
        let mut expected = Expected::new(size);
        let mut read = 0;
        loop {
            let Some(frame) = self.client.recv().await else { return Err(Fault::Lost(self.client)) };
            // The broker announces things, too.
            if frame.sender() != self.sender {
                continue;
            }
            match expected.see(frame.payload()) {
                Arrival::Counts => {}
                Arrival::End => return Ok(()),
                Arrival::Strange => return Err(Fault::Strange),
            }
            drop(frame);
            tally.add_received();
            read += 1;
            if read == self.window.step() {
                read = 0;
                self.window.give_back();
            }
        }
    }
}

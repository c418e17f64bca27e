//! Many clients that send to one.

use std::time::Instant;

use super::Outcome;
use super::span::{self, Span};
use crate::clock;
use crate::control::{BOUND, Driver, END, GO, READY, say, tell};
use crate::credit::{Reporter, Window};
use crate::failure::Result;
use crate::plan::{Plan, Quality};
use crate::stamp::{Outgoing, Received, Stamp, Tally};
use crate::systems::BusClient;

/// The clients of one process, which send in turn, each with numbers of its own.
pub(super) async fn sources<C: BusClient>(plan: &Plan, mut driver: Driver) -> Result<()> {
    let listener = Window::listen(plan)?;
    let mut clients = Vec::new();
    for number in 0..plan.clients {
        clients.push(C::connect(&plan.endpoint, &plan.client_name(number)).await?);
    }
    say(BOUND);
    let window = Window::open(&listener, plan).await?;
    let mut sources = Sources { plan, clients, window, outgoing: Outgoing::new(plan.payload, false), rounds: 0 };
    sources.warm_up().await?;
    say(READY);

    driver.wait_for(GO).await?;
    let (warmed, span) = (sources.sent(), Span::begin(plan));
    while span.goes_on(sources.sent() - warmed) {
        sources.round(false).await?;
    }
    // The last of each is reported at once: whichever comes last, all are known to have come.
    sources.round(true).await?;
    sources.settle().await?;
    let messages = sources.sent() - warmed;
    sources.finish().await?;
    tell(&Outcome { messages, start: span.start, ..Outcome::default() })?;
    driver.wait_for(END).await
}

struct Sources<'a, C> {
    plan: &'a Plan,
    clients: Vec<C>,
    window: Window,
    outgoing: Outgoing,
    rounds: u64,
}

impl<C: BusClient> Sources<'_, C> {
    fn sent(&self) -> u64 {
        self.rounds * self.clients.len() as u64
    }

    /// One message of each client.
    async fn round(&mut self, report: bool) -> Result<()> {
        for number in 0..self.clients.len() {
            let sent = self.sent() + number as u64;
            if !self.window.has_room(sent) {
                self.window.wait_for_room(sent).await?;
            }
            self.publish(number, Stamp { report, ..Stamp::numbered(self.rounds) }).await?;
        }
        self.rounds += 1;
        Ok(())
    }

    /// Whatever is made at first use is made now: at least a window's worth, for at least a part of the time.
    async fn warm_up(&mut self) -> Result<()> {
        let started = Instant::now();
        while self.sent() < self.plan.window() || started.elapsed() < span::warm_up(self.plan) {
            self.round(false).await?;
        }
        self.round(true).await?;
        self.settle().await
    }

    async fn publish(&mut self, number: usize, stamp: Stamp) -> Result<()> {
        let sender = self.plan.index * self.plan.clients + number;
        let stamp = Stamp { extra: sender as u64, ..stamp };
        self.clients[number].publish(&self.plan.topic, &mut self.outgoing, stamp, Quality::No).await
    }

    async fn settle(&mut self) -> Result<()> {
        for client in &mut self.clients {
            client.flush().await?;
        }
        self.window.wait_until(self.sent()).await
    }

    /// Tells the receiver that no more will come.
    async fn finish(&mut self) -> Result<()> {
        self.publish(0, Stamp { last: true, ..Stamp::numbered(self.rounds) }).await?;
        self.clients[0].flush().await
    }
}

/// The one receiver of all. Its plan's topic is what the topics of the sources begin with.
pub(super) async fn sink<C: BusClient>(plan: &Plan, mut driver: Driver) -> Result<()> {
    let mut client = C::connect(&plan.endpoint, &plan.client_name(0)).await?;
    let mut processes = Vec::new();
    let mut topics = Vec::new();
    for index in 0..plan.index {
        let source = Plan { topic: format!("{}{index}", plan.topic), ..plan.clone() };
        topics.push(source.topic.clone());
        processes.push((source, 0_u64));
    }
    client.subscribe(&topics).await?;
    client.only_receive();
    let mut reporters = processes.iter().map(|(source, _)| Reporter::connect(source)).collect::<Result<Vec<_>>>()?;
    let mut tallies: Vec<Tally> =
        (0..plan.index * plan.clients).map(|_| Tally::new(plan.payload, plan.touched)).collect();
    let mut left = processes.len();
    let mut end = 0;
    while left > 0 {
        let stamp = client
            .receive(|received: Received<'_>| -> Result<Stamp> {
                let sender = usize::try_from(received.stamp.extra)?;
                tallies.get_mut(sender).ok_or("a message came from an unknown sender")?.take(received)?;
                Ok(received.stamp)
            })
            .await??;
        let process = usize::try_from(stamp.extra)? / plan.clients;
        if stamp.last {
            left -= 1;
            continue;
        }
        let count = &mut processes[process].1;
        *count += 1;
        end = clock::now_if(stamp.report).unwrap_or(end);
        reporters[process].report(*count, stamp.report)?;
    }
    tell(&Outcome { messages: processes.iter().map(|(_, count)| count).sum(), end, ..Outcome::default() })?;
    driver.wait_for(END).await
}

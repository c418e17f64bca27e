//! Receives, checks that nothing is missing, and reports how far it is; several clients in a process if need be.

use std::ops::ControlFlow;
use std::sync::mpsc;

use tokio::task::JoinSet;

use super::{Outcome, Times};
use crate::clock;
use crate::control::{Driver, END, tell};
use crate::credit::Reporter;
use crate::failure::Result;
use crate::plan::Plan;
use crate::stamp::{Received, Tally};
use crate::systems::{Ends, Flow};

pub(super) async fn run<E: Ends + 'static>(plan: &Plan, mut driver: Driver) -> Result<()> {
    let slowest = match plan.clients {
        1 => receive::<E>(plan, 0).await?,
        _ => receive_all::<E>(plan).await?,
    };
    tell(&slowest)?;
    driver.wait_for(END).await
}

/// What the client has measured that was the last to have everything.
async fn receive_all<E: Ends + 'static>(plan: &Plan) -> Result<Outcome> {
    let mut clients = JoinSet::new();
    for number in 0..plan.clients {
        let plan = plan.clone();
        clients.spawn_local(async move { receive::<E>(&plan, number).await });
    }
    let mut slowest = Outcome::default();
    while let Some(outcome) = clients.join_next().await {
        let outcome = outcome??;
        if outcome.end >= slowest.end {
            slowest = outcome;
        }
    }
    Ok(slowest)
}

async fn receive<E: Ends>(plan: &Plan, number: usize) -> Result<Outcome> {
    let (teller, told) = mpsc::channel();
    let mut receiver = Receiver {
        tally: Tally::new(plan.payload, plan.touched),
        reporter: None,
        times: if plan.timed { Some(Times::new()?) } else { None },
        teller,
    };
    let (give, take) = mpsc::channel();
    let subscribed = move || {
        // The publisher begins when it has heard from all: nobody reports in before it has subscribed.
        give.send(Reporter::connect(plan)?).map_err(|_| "nobody waits for the reporter".into())
    };
    let take = move |received: Received<'_>| {
        if receiver.reporter.is_none() {
            receiver.reporter = take.try_recv().ok();
        }
        receiver.take(received)
    };
    E::subscribe(plan, number, subscribed, take).await?;
    told.try_recv().map_err(|_| "a receiver ended without a result".into())
}

struct Receiver {
    tally: Tally,
    reporter: Option<Reporter>,
    times: Option<Times>,
    teller: mpsc::Sender<Outcome>,
}

impl Receiver {
    fn take(&mut self, received: Received<'_>) -> Flow {
        match self.count(received) {
            Ok(false) => ControlFlow::Continue(()),
            Ok(true) => ControlFlow::Break(Ok(())),
            Err(error) => ControlFlow::Break(Err(error)),
        }
    }

    /// Whether it was the last.
    fn count(&mut self, received: Received<'_>) -> Result<bool> {
        let stamp = received.stamp;
        self.tally.take(received)?;
        if let Some(times) = &mut self.times {
            times.add(clock::now().saturating_sub(stamp.extra));
        }
        let reporter = self.reporter.as_mut().ok_or("a message came before the subscription was confirmed")?;
        if stamp.last {
            let latency = self.times.as_ref().map(Times::latency);
            let outcome = Outcome { messages: self.tally.count(), end: clock::now(), latency, ..Outcome::default() };
            self.teller.send(outcome).map_err(|_| "nobody waits for the result")?;
        }
        reporter.report(self.tally.count(), stamp.last || stamp.report)?;
        if stamp.report
            && let Some(times) = &mut self.times
        {
            // Up to here it was warming up.
            *times = Times::new()?;
        }
        Ok(stamp.last)
    }
}

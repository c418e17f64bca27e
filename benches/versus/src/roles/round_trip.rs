//! One message there and back, again and again.

use tokio::time::Instant;

use super::span::{Span, warm_up};
use super::{Outcome, Times};
use crate::clock;
use crate::control::{BOUND, Driver, END, GO, READY, say, tell};
use crate::failure::Result;
use crate::plan::Plan;
use crate::stamp::{Outgoing, Received, Stamp, Tally};
use crate::systems::{Ends, RoundTrip};

/// Round trips before those that count, at least.
const WARM_UP: u64 = 20;

pub(super) async fn ping<E: Ends>(plan: &Plan, mut driver: Driver) -> Result<()> {
    let mut trips = Trips {
        pinger: E::pinger(plan).await?,
        outgoing: Outgoing::new(plan.payload, plan.touched),
        tally: Tally::new(plan.payload, plan.touched),
    };
    let started = Instant::now();
    while trips.tally.count() < WARM_UP || started.elapsed() < warm_up(plan) {
        trips.next(false).await?;
    }
    say(READY);

    driver.wait_for(GO).await?;
    let mut times = Times::new()?;
    let warmed = trips.tally.count();
    let span = Span::begin(plan);
    let (start, mut end) = (span.start, span.start);
    while span.goes_on_at(end, trips.tally.count() - warmed) {
        trips.next(false).await?;
        let now = clock::now();
        times.add(now - end);
        end = now;
    }
    let messages = trips.tally.count() - warmed;
    trips.next(true).await?;
    tell(&Outcome { messages, start, end, latency: Some(times.latency()), ..Outcome::default() })?;
    driver.wait_for(END).await
}

struct Trips<P> {
    pinger: P,
    outgoing: Outgoing,
    tally: Tally,
}

impl<P: RoundTrip> Trips<P> {
    async fn next(&mut self, last: bool) -> Result<()> {
        let stamp = Stamp { last, ..Stamp::numbered(self.tally.count()) };
        let tally = &mut self.tally;
        self.pinger.round_trip(&mut self.outgoing, stamp, |received: Received<'_>| tally.take(received)).await
    }
}

/// Answers up to the last.
pub(super) async fn pong<E: Ends>(plan: &Plan, mut driver: Driver) -> Result<()> {
    E::echo(plan, || say(BOUND)).await?;
    driver.wait_for(END).await
}

//! Sends numbered messages for a while, never more than a window ahead of the slowest receiver.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::span::{Span, warm_up};
use super::{Outcome, answer};
use crate::clock;
use crate::control::{BOUND, Driver, END, GO, READY, say, tell};
use crate::credit::Window;
use crate::failure::Result;
use crate::plan::Plan;
use crate::stamp::{Outgoing, Stamp};
use crate::systems::{Ends, Publish};

pub(super) async fn run<E: Ends>(plan: &Plan, mut driver: Driver) -> Result<()> {
    let listener = Window::listen(plan)?;
    let publisher = E::publisher(plan).await?;
    say(BOUND);
    let window = Window::open(&listener, plan).await?;
    let mut stream = Stream {
        plan,
        publisher,
        window,
        topics: plan.published(),
        outgoing: Outgoing::new(plan.payload, plan.touched),
        sent: 0,
    };
    stream.publisher.meet(plan.receivers).await?;
    stream.warm_up().await?;
    say(READY);

    driver.wait_for(GO).await?;
    if plan.background {
        let arrived = Cell::new(stream.window.arrived());
        return tokio::select! {
            failed = stream.send_for_ever(&arrived) => failed,
            ended = answer(&mut driver, &arrived) => ended,
        };
    }
    let warmed = stream.sent;
    let span = Span::begin(plan);
    match plan.rate {
        Some(rate) => stream.send_at(rate, span).await?,
        None => stream.send_freely(span).await?,
    }
    stream.send(Stamp { last: true, ..Stamp::default() }).await?;
    stream.settle().await?;
    tell(&Outcome { messages: stream.sent - warmed, start: span.start, ..Outcome::default() })?;
    driver.wait_for(END).await
}

struct Stream<'a, P> {
    plan: &'a Plan,
    publisher: P,
    window: Window,
    topics: Vec<String>,
    outgoing: Outgoing,
    sent: u64,
}

impl<P: Publish> Stream<'_, P> {
    async fn send(&mut self, stamp: Stamp) -> Result<()> {
        if !self.window.has_room(self.sent) {
            self.publisher.flush_before_waiting().await?;
            self.window.wait_for_room(self.sent).await?;
        }
        let extra = if self.plan.timed { clock::now() } else { 0 };
        let stamp = Stamp { sequence: self.sent, extra, ..stamp };
        let topic = match self.topics.len() {
            1 => &self.topics[0],
            count => &self.topics[(self.sent % count as u64) as usize],
        };
        self.publisher.publish(topic, &mut self.outgoing, stamp, self.plan.quality).await?;
        self.sent += 1;
        Ok(())
    }

    /// Whatever is made at first use is made now: at least a window's worth, and, unless there is a rate that should
    /// not be exceeded for long, for at least a part of the time.
    async fn warm_up(&mut self) -> Result<()> {
        let started = Instant::now();
        let patience = if self.plan.rate.is_none() { warm_up(self.plan) } else { Duration::ZERO };
        while self.sent + 1 < self.plan.window() || started.elapsed() < patience {
            self.send(Stamp::default()).await?;
        }
        self.send(Stamp { report: true, ..Stamp::default() }).await?;
        self.settle().await
    }

    /// Waits until everything has arrived.
    async fn settle(&mut self) -> Result<()> {
        self.publisher.flush().await?;
        self.window.wait_until(self.sent).await
    }

    async fn send_freely(&mut self, span: Span) -> Result<()> {
        let before = self.sent;
        // A look at the clock costs as much as a small message does.
        let look_every = self.plan.report_every();
        while span.goes_on(self.sent - before) {
            for _ in 0..look_every {
                self.send(Stamp::default()).await?;
            }
        }
        Ok(())
    }

    async fn send_at(&mut self, rate: u32, span: Span) -> Result<()> {
        let before = self.sent;
        let mut ticks = interval(Duration::from_secs(1) / rate);
        // After a tick that was more than 5 ms late the next ones move; after one that was less, those missed follow
        // at once: so it is in tokio.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !span.goes_on(self.sent - before) {
                return Ok(());
            }
            self.send(Stamp::default()).await?;
        }
    }

    /// Keeps `arrived` up to date meanwhile; ends when it fails.
    async fn send_for_ever(&mut self, arrived: &Cell<u64>) -> Result<()> {
        loop {
            self.send(Stamp::default()).await?;
            arrived.set(self.window.arrived());
        }
    }
}

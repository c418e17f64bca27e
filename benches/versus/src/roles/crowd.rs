//! Many clients in one process: to be there, or to talk to each other.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Outcome, answer};
use crate::control::{Driver, END, GO, READY, say, tell};
use crate::failure::{Failure, Result};
use crate::plan::Plan;
use crate::stamp::{Outgoing, Received, Stamp, Tally};
use crate::systems::BusClient;

/// Connections that are being made at the same time.
const AT_ONCE: usize = 64;

/// Connects all clients as fast as it goes; then they stay, and are counted when the driver asks.
pub(super) async fn idle<C: BusClient>(plan: &Plan, mut driver: Driver) -> Result<()> {
    let started = Instant::now();
    let clients = connect_all::<C>(plan).await?;
    tell(&Outcome { preparation: started.elapsed().as_secs_f64(), ..Outcome::default() })?;
    say(READY);
    driver.wait_for(GO).await?;
    let connected = clients.iter().filter(|client| client.is_connected()).count();
    tell(&Outcome { messages: connected as u64, ..Outcome::default() })?;
    driver.wait_for(END).await
}

async fn connect_all<C: BusClient>(plan: &Plan) -> Result<Vec<C>> {
    let mut connecting = JoinSet::new();
    let mut clients = Vec::with_capacity(plan.clients);
    for number in 0..plan.clients {
        if connecting.len() >= AT_ONCE {
            collect(&mut connecting, &mut clients).await?;
        }
        let (endpoint, name) = (plan.endpoint.clone(), plan.client_name(number));
        connecting.spawn_local(async move {
            let mut client = C::connect(&endpoint, &name).await?;
            client.only_receive();
            Ok(client)
        });
    }
    while !connecting.is_empty() {
        collect(&mut connecting, &mut clients).await?;
    }
    Ok(clients)
}

async fn collect<C: BusClient>(connecting: &mut JoinSet<Result<C>>, clients: &mut Vec<C>) -> Result<()> {
    if let Some(client) = connecting.join_next().await {
        clients.push(client??);
    }
    Ok(())
}

/// Every client sends to the next one and receives from the one before, at the plan's rate.
pub(super) async fn chatter<C: BusClient>(plan: &Plan, mut driver: Driver) -> Result<()> {
    let mut talking = JoinSet::<Result<()>>::new();
    // Each must be there before anybody sends to it.
    let mut clients = Vec::new();
    for number in 0..plan.clients {
        clients.push(C::connect(&plan.endpoint, &plan.client_name(number)).await?);
    }
    let rate = plan.rate.unwrap_or(1);
    let arrived = Rc::new(Cell::new(0));
    for (number, mut client) in clients.into_iter().enumerate() {
        let next = plan.client_name((number + 1) % plan.clients);
        let mut outgoing = Outgoing::new(plan.payload, false);
        let mut tally = Tally::new(plan.payload, false);
        let arrived = Rc::clone(&arrived);
        talking.spawn_local(async move {
            let mut ticks = interval(Duration::from_secs(1) / rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for sequence in 0.. {
                ticks.tick().await;
                client.send(&next, &mut outgoing, Stamp::numbered(sequence)).await?;
                client.receive(|received: Received<'_>| tally.take(received)).await??;
                arrived.set(arrived.get() + 1);
            }
            Ok(())
        });
    }
    say(READY);
    tokio::select! {
        ended = answer(&mut driver, &arrived) => ended,
        failed = talking.join_next() => match failed {
            Some(outcome) => outcome?,
            None => Err(Failure::from("nobody talks")),
        },
    }
}

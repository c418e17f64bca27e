//! Clients with very many subscriptions, none of which matches what is published.

use tokio::time::Instant;

use super::Outcome;
use crate::control::{Driver, END, READY, say, tell};
use crate::failure::Result;
use crate::plan::{FilterKind, Plan};
use crate::systems::BusClient;

/// Filters in one frame.
const BULK: usize = 500;

/// Subscribes `receivers` filters in all, in equal shares.
pub(super) async fn run<C: BusClient>(plan: &Plan, mut driver: Driver) -> Result<()> {
    let started = Instant::now();
    let mut clients = Vec::new();
    for number in 0..plan.clients {
        let mut client = C::connect(&plan.endpoint, &plan.client_name(number)).await?;
        let share = plan.receivers / plan.clients;
        let filters: Vec<String> = (0..share).map(|filter| name(plan.filters, number, filter)).collect();
        for bulk in filters.chunks(BULK) {
            client.subscribe(bulk).await?;
        }
        client.only_receive();
        clients.push(client);
    }
    tell(&Outcome { preparation: started.elapsed().as_secs_f64(), ..Outcome::default() })?;
    say(READY);
    driver.wait_for(END).await
}

fn name(kind: FilterKind, client: usize, filter: usize) -> String {
    match kind {
        FilterKind::Exact => format!("other/{client}/{filter}"),
        FilterKind::OneLevel => format!("other{filter}/+/{client}"),
        FilterKind::AllLevels => format!("other/{client}/{filter}/#"),
    }
}

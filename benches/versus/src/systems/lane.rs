//! The shared-memory lane beside our client's socket.

use std::time::Duration;

use busway::client::Builder;
use busway::{Client, Loan};

use crate::failure::{Context, Result};
use crate::stamp::{self, Outgoing, Stamp};

/// Payloads from this length on are written in place; shorter ones are copied into a ring whichever way they come.
const LENT_FROM: usize = 4096;
/// The lane is made beside the socket, after connecting.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a payload of this length is written in place.
pub(super) fn is_worth_it(length: usize) -> bool {
    length >= LENT_FROM
}

/// Whether these payloads are written in place.
pub(super) fn is_lent(outgoing: &Outgoing) -> bool {
    is_worth_it(outgoing.len())
}

pub(super) fn choose(builder: Builder, lane: bool) -> Builder {
    builder.shm(lane)
}

/// Waits until the lane is there; without it a run would measure sockets under its name.
pub(super) async fn expect(client: &Client, lane: bool) -> Result<()> {
    let wanted = if lane { "lane" } else { "unix" };
    let reached = async {
        while client.transport().to_string() != wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached)
        .await
        .context(|| format!("the transport of {} is {}, not {wanted}", client.name(), client.transport()))
}

pub(super) fn loan(client: &Client, outgoing: &Outgoing, stamp: Stamp) -> Result<Loan> {
    let mut loan = client.loan(outgoing.len());
    outgoing.write(&mut loan, stamp);
    Ok(loan)
}

pub(super) fn answer(client: &Client, received: &[u8]) -> Result<Loan> {
    let mut loan = client.loan(received.len());
    stamp::answer(received, &mut loan);
    Ok(loan)
}

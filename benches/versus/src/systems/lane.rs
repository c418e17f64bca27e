//! All that is used of the client's interface to the shared-memory lane, so that everything else builds without it.

use busway::Client;
use busway::client::Builder;

use crate::failure::Result;
use crate::stamp::{Outgoing, Stamp};

/// Payloads from this length on are written in place; shorter ones are copied into a ring whichever way they come.
const LENT_FROM: usize = 4096;

/// Whether a payload of this length is written in place.
pub(super) fn is_worth_it(length: usize) -> bool {
    length >= LENT_FROM
}

/// Whether these payloads are written in place.
pub(super) fn is_lent(outgoing: &Outgoing) -> bool {
    is_worth_it(outgoing.len())
}

#[cfg(feature = "lane")]
pub(super) use with_lane::{answer, choose, expect, loan};
#[cfg(not(feature = "lane"))]
pub(super) use without_lane::{answer, choose, expect, loan};

#[cfg(feature = "lane")]
mod with_lane {
    use std::time::Duration;

    use busway::Loan;

    use super::{Builder, Client, Outgoing, Result, Stamp};
    use crate::failure::Context;

    /// The lane is made beside the socket, after connecting.
    const PATIENCE: Duration = Duration::from_secs(5);

    pub(in super::super) fn choose(builder: Builder, lane: bool) -> Builder {
        builder.shm(lane)
    }

    /// Waits until the lane is there; without it a run would measure sockets under its name.
    pub(in super::super) async fn expect(client: &Client, lane: bool) -> Result<()> {
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

    pub(in super::super) fn loan(client: &Client, outgoing: &Outgoing, stamp: Stamp) -> Result<Loan> {
        let mut loan = client.loan(outgoing.len());
        outgoing.write(&mut loan, stamp);
        Ok(loan)
    }

    pub(in super::super) fn answer(client: &Client, received: &[u8]) -> Result<Loan> {
        let mut loan = client.loan(received.len());
        let stamp = received.len().min(Stamp::SIZE);
        loan[..stamp].copy_from_slice(&received[..stamp]);
        Ok(loan)
    }
}

#[cfg(not(feature = "lane"))]
mod without_lane {
    use super::{Builder, Client, Outgoing, Result, Stamp};

    const MISSING: &str = "this program was built without the feature `lane`";

    pub(in super::super) fn choose(builder: Builder, _lane: bool) -> Builder {
        builder
    }

    pub(in super::super) async fn expect(_client: &Client, lane: bool) -> Result<()> {
        if lane { Err(MISSING.into()) } else { Ok(()) }
    }

    pub(in super::super) fn loan(_client: &Client, _outgoing: &Outgoing, _stamp: Stamp) -> Result<Vec<u8>> {
        Err(MISSING.into())
    }

    pub(in super::super) fn answer(_client: &Client, _received: &[u8]) -> Result<Vec<u8>> {
        Err(MISSING.into())
    }
}

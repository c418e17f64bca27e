//! Where a worker stands.

use std::sync::Arc;

use busway::Client;
use busway::client::SendError;
use busway::rpc::CallError;

use super::plan::Plan;
use super::row::Row;
use crate::failure::{Failure, LOG_SAYS_WHY};
use crate::{listen, rpc};

/// One worker of one row.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) plan: Arc<Plan>,
    pub(crate) row: Row,
    /// Which of the rows to measure it is: one may be asked for twice.
    pub(crate) number: usize,
    pub(crate) worker: u16,
}

impl Place {
    /// A client of this worker's, named after what it does.
    pub(crate) async fn connect(&self, role: &str) -> Result<Client, Failure> {
        self.plan.connect(&self.role(role)).await
    }

    /// The name of a client of this worker's.
    pub(crate) fn client_name(&self, role: &str) -> String {
        self.plan.client_name(&self.role(role))
    }

    /// No two rows share a client: each begins with empty queues.
    fn role(&self, role: &str) -> String {
        format!("{}.{}.{role}", self.number, self.worker)
    }

    pub(crate) fn payload_size(&self) -> usize {
        self.plan.command.payload_size
    }

    /// The row fails, for this reason.
    pub(crate) fn failed(&self, reason: &str) -> Failure {
        Failure::Failed(format!("{}: {reason}", self.row.name()))
    }

    /// Something that this worker has sent was not taken.
    pub(crate) fn failure(&self, client: &Client, error: &SendError) -> Failure {
        match error {
            SendError::Disconnected => self.lost(client),
            error => self.failed(&error.to_string()),
        }
    }

    /// A call has failed.
    pub(crate) fn call_failure(&self, client: &Client, error: CallError) -> Failure {
        match error {
            CallError::Send(error) => self.failure(client, &error),
            _ if !client.is_connected() => self.lost(client),
            error => rpc::failure(&self.row.name(), error),
        }
    }

    /// A client has lost its connection.
    pub(crate) fn lost(&self, client: &Client) -> Failure {
        Failure::NoBroker(format!("{}: {}; {}", self.row.name(), listen::reason(client), LOG_SAYS_WHY))
    }
}

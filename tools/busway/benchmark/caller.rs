//! The rows of the RPC layer.

use std::time::Instant;

use busway::client::SendError;
use busway::rpc::{CallError, Methods, Request, Rpc};
use busway::{Client, QoS, ResultCode};

use super::place::Place;
use super::row::Row;
use super::work::Work;
use crate::failure::Failure;

/// A worker that makes one call after the other.
pub(crate) struct Caller {
    rpc: Rpc,
    target: String,
    parameters: Vec<u8>,
}

/// Returns its parameters, at the broker and here.
const BROKER_ECHO: &str = "benchmark.test";
const OWN_ECHO: &str = "benchmark.selftest";

impl Caller {
    pub(crate) async fn connect(place: &Place) -> Result<Self, Failure> {
        let client = place.connect("caller").await?;
        let target = match place.row {
            Row::Call => ".broker".to_owned(),
            Row::CallHandle => client.name().to_owned(),
            _ => place.client_name("nobody"),
        };
        let methods = Methods::new().method(OWN_ECHO, async |request: Request| Ok(request.params()));
        let rpc = Rpc::builder(client).deadline(place.plan.timeout).start(methods);
        Ok(Self { rpc, target, parameters: vec![0xEE; place.payload_size()] })
    }

    pub(crate) fn client(&self) -> &Client {
        self.rpc.client()
    }

    pub(crate) async fn run(&self, place: &Place, work: &mut Work) -> Result<(), Failure> {
        while work.goes_on().await {
            let started = Instant::now();
            let called = match place.row {
                Row::Call0 => self.call_nobody(work).await,
                Row::Call => self.call(BROKER_ECHO, work).await,
                _ => self.call(OWN_ECHO, work).await,
            };
            match called {
                Ok(true) => {}
                Ok(false) => return Err(place.failed("the answer is not what was sent")),
                Err(error) => return Err(place.call_failure(self.client(), error)),
            }
            work.latency.record(started);
        }
        Ok(())
    }

    /// Says whether the parameters came back.
    async fn call(&self, method: &str, work: &Work) -> Result<bool, CallError> {
        work.tally.add_sent();
        let answer = self.rpc.call(&self.target, method, &self.parameters).realtime().await?;
        work.tally.add_received();
        Ok(answer.as_slice() == self.parameters)
    }

    /// The broker confirms that nobody is there: that is its answer in time.
    async fn call_nobody(&self, work: &Work) -> Result<bool, CallError> {
        let called = self.rpc.call0(&self.target, "test", &self.parameters).qos(QoS::RealtimeProcessed).await;
        work.tally.add_sent();
        match called {
            Err(CallError::Send(SendError::Refused(ResultCode::NOT_REGISTERED))) => Ok(true),
            called => called.map(|()| true),
        }
    }
}

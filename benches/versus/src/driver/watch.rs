//! The CPU time that the processes of a run use while it measures.

use super::broker::Broker;
use super::cast::Cast;
use super::usage::CpuTime;
use crate::failure::Result;
use crate::report::Metric;

/// What was used before.
#[derive(Debug)]
pub(crate) struct Watch {
    broker: Option<Watched>,
    clients: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    pid: u32,
    before: CpuTime,
}

impl Watch {
    pub(crate) fn begin(broker: &Broker, cast: &Cast) -> Result<Self> {
        let watched = |pid| Ok(Watched { pid, before: CpuTime::of(pid)? });
        let clients = cast.pids().map(watched).collect::<Result<_>>()?;
        Ok(Self { broker: broker.pid().map(watched).transpose()?, clients })
    }

    /// Microseconds for each message that has arrived since.
    pub(crate) fn end(&self, delivered: f64) -> Result<Vec<(Metric, f64)>> {
        let each = |seconds: f64| seconds * 1e6 / delivered;
        let broker = self.broker.as_ref().map(Watched::used).transpose()?;
        let mut all = broker.unwrap_or_default();
        for client in &self.clients {
            all += client.used()?;
        }
        let mut values = vec![(Metric::CpuAll, each(all))];
        values.extend(broker.map(|seconds| (Metric::BrokerCpu, each(seconds))));
        Ok(values)
    }
}

impl Watched {
    fn used(&self) -> Result<f64> {
        CpuTime::of(self.pid)?.since(self.before)
    }
}

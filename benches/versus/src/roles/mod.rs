//! What the processes of a run do. Each is this program again, with a plan as its argument.

mod crowd;
mod fan_in;
mod filters;
mod publisher;
mod round_trip;
mod span;
mod subscriber;

use std::cell::Cell;

use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::clock;
use crate::control::{COUNT, Driver, END, tell};
use crate::failure::{Context, Result};
use crate::plan::{Plan, Role};
use crate::systems::{Bus, BusClient, BusrtClient, BuswayClient, Ends, System};

/// What a process tells the driver at its end. What does not apply to its role stays zero.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    /// Messages sent, or received by each client.
    pub(crate) messages: u64,
    /// When the first message was sent, on the system's monotonic clock.
    pub(crate) start: u64,
    /// When the last one was received.
    pub(crate) end: u64,
    /// Quantiles in microseconds.
    pub(crate) latency: Option<Latency>,
    /// What it took to get ready, in seconds.
    pub(crate) preparation: f64,
}

/// Quantiles of a time, in microseconds; nothing where too few took longer to say so.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
}

/// Times beyond a quantile, below which it is chance.
const BEYOND: f64 = 10.0;

/// Times from a tenth of a microsecond to a minute, with three digits.
pub(crate) struct Times(hdrhistogram::Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(hdrhistogram::Histogram::new_with_bounds(1, 60_000_000_000, 3)?))
    }

    /// Adds a time in nanoseconds.
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    pub(crate) fn latency(&self) -> Latency {
        let count = self.0.len() as f64;
        let quantile = |quantile: f64| {
            // A thousandth of ten thousand may be ten only almost.
            let is_known = count * (1.0 - quantile) > BEYOND - 1e-6;
            is_known.then(|| self.0.value_at_quantile(quantile) as f64 / 1000.0)
        };
        Latency { p50: quantile(0.5), p99: quantile(0.99), p999: quantile(0.999) }
    }
}

/// Does what the plan says, until the driver ends it.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    // Nobody measures beside what an interrupted driver has left behind.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // One thread for all, as a small program would have; the same for every system but zenoh, which refuses it.
    let (runtime, done) = if plan.system == System::Zenoh {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let done = runtime.block_on(run_system(plan));
        (runtime, done)
    } else {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let done = runtime.block_on(LocalSet::new().run_until(run_system(plan)));
        (runtime, done)
    };
    // Some clients leave tasks behind that never end.
    runtime.shutdown_background();
    done.context(|| format!("{:?} {} of {}", plan.role, plan.index, plan.system))
}

async fn run_system(plan: &Plan) -> Result<()> {
    match plan.system {
        System::Busrt | System::BuswaydBusrtClient => run_bus::<BusrtClient>(plan).await,
        System::BuswaySockets => run_bus::<BuswayClient<false>>(plan).await,
        System::BuswayLane => run_bus::<BuswayClient<true>>(plan).await,
        #[cfg(feature = "iceoryx2")]
        System::Iceoryx2 => run_ends::<crate::systems::Iceoryx2>(plan).await,
        #[cfg(feature = "zenoh")]
        System::Zenoh => run_ends::<crate::systems::Zenoh>(plan).await,
        #[cfg(feature = "nats")]
        System::Nats => run_ends::<crate::systems::Nats>(plan).await,
        #[cfg(feature = "zeromq")]
        System::Zeromq => run_ends::<crate::systems::Zeromq>(plan).await,
        #[allow(unreachable_patterns, reason = "with all features there is nothing left")]
        system => Err(format!("this program was built without {system}; see tools/install-rivals").into()),
    }
}

async fn run_bus<C: BusClient>(plan: &Plan) -> Result<()> {
    let driver = Driver::new()?;
    match plan.role {
        Role::Crowd => crowd::idle::<C>(plan, driver).await,
        Role::Chatter => crowd::chatter::<C>(plan, driver).await,
        Role::Sources => fan_in::sources::<C>(plan, driver).await,
        Role::Sink => fan_in::sink::<C>(plan, driver).await,
        Role::Filters => filters::run::<C>(plan, driver).await,
        _ => run_common::<Bus<C>>(plan, driver).await,
    }
}

#[cfg(any(feature = "iceoryx2", feature = "zenoh", feature = "nats", feature = "zeromq"))]
async fn run_ends<E: Ends + 'static>(plan: &Plan) -> Result<()> {
    run_common::<E>(plan, Driver::new()?).await
}

/// Tells the driver how far something in the background is, whenever it asks, until it ends it.
async fn answer(driver: &mut Driver, count: &Cell<u64>) -> Result<()> {
    loop {
        match driver.next().await?.as_str() {
            COUNT => tell(&Outcome { messages: count.get(), end: clock::now(), ..Outcome::default() })?,
            END => return Ok(()),
            said => return Err(format!("the driver said {said:?} instead of {COUNT:?} or {END:?}").into()),
        }
    }
}

async fn run_common<E: Ends + 'static>(plan: &Plan, driver: Driver) -> Result<()> {
    match plan.role {
        Role::Publisher => publisher::run::<E>(plan, driver).await,
        Role::Subscriber => subscriber::run::<E>(plan, driver).await,
        Role::Ping => round_trip::ping::<E>(plan, driver).await,
        Role::Pong => round_trip::pong::<E>(plan, driver).await,
        role => Err(format!("{} has no clients for the role {role:?}", plan.system).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_needs_times_beyond_it() {
        let latency = |count| {
            let mut times = Times::new().unwrap();
            (0..count).for_each(|nanoseconds| times.add(nanoseconds));
            times.latency()
        };
        assert!(latency(19).p50.is_none());
        assert!(latency(20).p50.is_some() && latency(999).p99.is_none());
        assert!(latency(1_000).p99.is_some() && latency(9_999).p999.is_none());
        assert!(latency(10_000).p999.is_some());
    }
}

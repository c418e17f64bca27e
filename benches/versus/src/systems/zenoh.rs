//! zenoh between two peers, without a router, payloads in shared memory.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use zenoh::bytes::ZBytes;
use zenoh::pubsub::Publisher;
use zenoh::qos::CongestionControl;
use zenoh::shm::{BlockOn, GarbageCollect, PosixShmProviderBackend, ShmProvider, ShmProviderBuilder};
use zenoh::{Config, Session, Wait};

use super::{Ends, Flow, Publish, RoundTrip};
use crate::failure::{Context, Result};
use crate::plan::{Plan, Quality};
use crate::stamp::{Outgoing, Received, Stamp};

pub(crate) struct Zenoh;

/// Subscriptions become known to publishers by and by, without a sign that all have.
const MEETING: Duration = Duration::from_millis(300);
/// `transport/shared_memory/transport_optimization/message_size_threshold` of its default configuration.
const SHARED_FROM: usize = 3072;
/// Memory beside the payloads themselves.
const OVERHEAD: usize = 4096;

/// The end that sends.
pub(crate) struct Sending {
    session: Session,
    publisher: Publisher<'static>,
    memory: ShmProvider<PosixShmProviderBackend>,
}

/// Both ends of one side of a round trip.
pub(crate) struct Trips {
    sending: Sending,
    back: mpsc::UnboundedReceiver<ZBytes>,
}

async fn session(plan: &Plan, listens: bool) -> Result<Session> {
    let mut config = Config::default();
    let endpoint = format!("[\"{}\"]", plan.endpoint);
    let (listen, connect) = if listens { (endpoint.as_str(), "[]") } else { ("[]", endpoint.as_str()) };
    for (key, value) in [
        ("mode", "\"peer\""),
        ("scouting/multicast/enabled", "false"),
        ("scouting/gossip/enabled", "false"),
        ("listen/endpoints", listen),
        ("connect/endpoints", connect),
        ("transport/shared_memory/enabled", "true"),
    ] {
        config.insert_json5(key, value)?;
    }
    zenoh::open(config).wait().context(|| "zenoh's session cannot be opened".into())
}

async fn sending(plan: &Plan, session: Session, topic: &str, express: bool) -> Result<Sending> {
    let publisher = session
        .declare_publisher(topic.to_owned())
        .congestion_control(CongestionControl::Block)
        .express(express)
        .wait()?;
    let window = usize::try_from(plan.window())?;
    let bytes = ((plan.payload + OVERHEAD) * window * 2).max(1 << 20);
    let memory = ShmProviderBuilder::default_backend(bytes).wait()?;
    Ok(Sending { session, publisher, memory })
}

impl Sending {
    /// In shared memory from the length on from which zenoh itself puts payloads there.
    fn payload(&self, outgoing: &Outgoing, stamp: Stamp) -> Result<ZBytes> {
        if outgoing.len() < SHARED_FROM {
            let mut bytes = vec![0; outgoing.len()];
            outgoing.write(&mut bytes, stamp);
            return Ok(bytes.into());
        }
        let memory = self.memory.alloc(outgoing.len()).with_policy::<BlockOn<GarbageCollect>>().wait();
        let mut memory = memory.context(|| "zenoh has no shared memory left".into())?;
        outgoing.write(&mut memory, stamp);
        Ok(memory.into())
    }

    async fn meet(&self) -> Result<()> {
        while !self.publisher.matching_status().wait()?.matching() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(MEETING).await;
        Ok(())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let _ = self.session.close().wait();
    }
}

/// Where a payload lies in pieces they are put together; those in shared memory never do.
fn take_from<R>(payload: &ZBytes, take: impl FnOnce(Received<'_>) -> R) -> Result<R> {
    Ok(take(Received::new(&payload.to_bytes())?))
}

impl Ends for Zenoh {
    type Publisher = Sending;
    type Pinger = Trips;

    async fn publisher(plan: &Plan) -> Result<Sending> {
        sending(plan, session(plan, true).await?, &plan.topic, false).await
    }

    async fn subscribe(
        plan: &Plan,
        _number: usize,
        subscribed: impl FnOnce() -> Result<()>,
        take: impl FnMut(Received<'_>) -> Flow + Send + 'static,
    ) -> Result<()> {
        let session = session(plan, false).await?;
        let (finished, mut outcome) = mpsc::unbounded_channel();
        let take = Mutex::new(take);
        // Called by the thread that reads: nothing is faster.
        let subscriber = session.declare_subscriber(plan.topic.clone()).callback(move |sample| {
            let mut take = take.lock().unwrap_or_else(PoisonError::into_inner);
            match take_from(sample.payload(), &mut *take) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(outcome)) => drop(finished.send(outcome)),
                Err(error) => drop(finished.send(Err(error))),
            }
        });
        let _subscriber = subscriber.wait()?;
        subscribed()?;
        outcome.recv().await.unwrap_or_else(|| Err("zenoh's subscriber ended".into()))?;
        session.close().wait()?;
        Ok(())
    }

    async fn pinger(plan: &Plan) -> Result<Trips> {
        let session = session(plan, false).await?;
        let (teller, back) = mpsc::unbounded_channel();
        session
            .declare_subscriber(format!("{}/back", plan.topic))
            .callback(move |sample| drop(teller.send(sample.payload().clone())))
            .background()
            .wait()?;
        let sending = sending(plan, session, &format!("{}/there", plan.topic), true).await?;
        sending.meet().await?;
        Ok(Trips { sending, back })
    }

    async fn echo(plan: &Plan, listening: impl FnOnce()) -> Result<()> {
        let session = session(plan, true).await?;
        let publisher = session
            .declare_publisher(format!("{}/back", plan.topic))
            .congestion_control(CongestionControl::Block)
            .express(true)
            .wait()?;
        let (finished, mut outcome) = mpsc::unbounded_channel();
        let subscriber = session.declare_subscriber(format!("{}/there", plan.topic)).callback(move |sample| {
            let sent = publisher.put(sample.payload().clone()).wait();
            let sent = sent.and_then(|()| take_from(sample.payload(), |received| received.stamp.last));
            match sent {
                Ok(false) => {}
                Ok(true) => drop(finished.send(Ok(()))),
                Err(error) => drop(finished.send(Err(error))),
            }
        });
        let _subscriber = subscriber.wait()?;
        listening();
        outcome.recv().await.unwrap_or_else(|| Err("zenoh's subscriber ended".into()))?;
        // The last answer has to leave before the session ends.
        tokio::time::sleep(MEETING).await;
        session.close().wait()?;
        Ok(())
    }
}

impl Publish for Sending {
    async fn meet(&mut self, _receivers: usize) -> Result<()> {
        Sending::meet(self).await
    }

    async fn publish(&mut self, _topic: &str, outgoing: &mut Outgoing, stamp: Stamp, _quality: Quality) -> Result<()> {
        self.publisher.put(self.payload(outgoing, stamp)?).wait()?;
        Ok(())
    }
}

impl RoundTrip for Trips {
    async fn round_trip(
        &mut self,
        outgoing: &mut Outgoing,
        stamp: Stamp,
        take: impl FnOnce(Received<'_>) -> Result<()>,
    ) -> Result<()> {
        self.sending.publisher.put(self.sending.payload(outgoing, stamp)?).wait()?;
        let payload = self.back.recv().await.ok_or("zenoh's session ended")?;
        take_from(&payload, take)?
    }
}

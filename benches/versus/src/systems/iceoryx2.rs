//! iceoryx2: payloads in shared memory, no broker; receivers wait for events, as a program does that has other things
//! to do.

use core::mem::MaybeUninit;
use std::ops::ControlFlow;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::*;

use super::{Ends, Flow, Publish, RoundTrip};
use crate::failure::{Context, Result};
use crate::plan::{Plan, Quality};
use crate::stamp::{Outgoing, Received, Stamp};

pub(crate) struct Iceoryx2;

type Ipc = ipc::Service;
/// Where payloads are not touched the stamp travels beside them, and its last word, too: so the payload may stay
/// unwritten, as nobody reads it, without unsafe code.
type Words = [u64; 3];
/// A payload that only travels.
type Unwritten = MaybeUninit<u8>;

/// A channel of one direction: data, and events that wake whoever waits for it.
struct Channel<'a> {
    node: &'a Node<Ipc>,
    plan: &'a Plan,
    name: &'a str,
}

/// What data is in: bytes where all are touched, unwritten memory where none is.
enum Data<Bytes, Nothing> {
    Touched(Bytes),
    Unwritten(Nothing),
}

type Out = Data<Publisher<Ipc, [u8], Words>, Publisher<Ipc, [Unwritten], Words>>;
type In = Data<Subscriber<Ipc, [u8], Words>, Subscriber<Ipc, [Unwritten], Words>>;

/// The end that sends.
pub(crate) struct Sending {
    data: Out,
    notifier: Notifier<Ipc>,
    length: usize,
    /// Keeps what the ports belong to.
    _node: Node<Ipc>,
}

/// The end that receives.
struct Receiving {
    data: In,
    listener: Listener<Ipc>,
}

/// Makes a service; both ends ask for the same, whoever is first makes it.
macro_rules! service {
    ($channel:expr, $item:ty) => {{
        let Channel { node, plan, name } = $channel;
        node.service_builder(&service_name(plan, name)?)
            .publish_subscribe::<[$item]>()
            .user_header::<Words>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(buffer(plan))
            .max_subscribers(plan.receivers.max(1))
            .max_publishers(1)
            .max_nodes(plan.receivers + 2)
            .open_or_create()
            .context(|| format!("iceoryx2's service {name} cannot be opened"))?
    }};
}

fn service_name(plan: &Plan, name: &str) -> Result<ServiceName> {
    let name = format!("{}/{}/{name}", plan.endpoint, plan.topic);
    ServiceName::new(&name).context(|| format!("{name:?} is no name for a service"))
}

fn buffer(plan: &Plan) -> usize {
    usize::try_from(plan.window()).unwrap_or(usize::MAX)
}

impl Channel<'_> {
    fn sending(&self) -> Result<(Out, Notifier<Ipc>)> {
        let length = self.plan.payload;
        let blocks = BackpressureStrategy::RetryUntilDelivered;
        let failed = || "iceoryx2's publisher cannot be made".to_owned();
        let data = if self.plan.touched {
            let service = service!(self, u8);
            let publisher = service.publisher_builder().initial_max_slice_len(length).backpressure_strategy(blocks);
            Data::Touched(publisher.create().context(failed)?)
        } else {
            let service = service!(self, Unwritten);
            let publisher = service.publisher_builder().initial_max_slice_len(length).backpressure_strategy(blocks);
            Data::Unwritten(publisher.create().context(failed)?)
        };
        Ok((data, self.events()?.notifier_builder().create()?))
    }

    fn receiving(&self) -> Result<Receiving> {
        let size = buffer(self.plan);
        let failed = || "iceoryx2's subscriber cannot be made".to_owned();
        let data = if self.plan.touched {
            let service = service!(self, u8);
            Data::Touched(service.subscriber_builder().buffer_size(size).create().context(failed)?)
        } else {
            let service = service!(self, Unwritten);
            Data::Unwritten(service.subscriber_builder().buffer_size(size).create().context(failed)?)
        };
        Ok(Receiving { data, listener: self.events()?.listener_builder().create()? })
    }

    fn events(&self) -> Result<iceoryx2::service::port_factory::event::PortFactory<Ipc>> {
        let receivers = self.plan.receivers.max(1);
        let events = self.node.service_builder(&service_name(self.plan, &format!("{}-events", self.name))?).event();
        let events = events.max_listeners(receivers).max_notifiers(1).max_nodes(receivers + 2);
        events.open_or_create().context(|| "iceoryx2's events cannot be opened".into())
    }
}

impl Sending {
    fn send(&self, outgoing: &Outgoing, stamp: Stamp) -> Result<()> {
        match &self.data {
            Data::Touched(publisher) => {
                let mut sample = publisher.loan_slice_uninit(self.length)?;
                *sample.user_header_mut() = words(stamp);
                let source = outgoing.source().ok_or("touched payloads have no source")?;
                let mut sample = sample.write_from_slice(source);
                Outgoing::finish(sample.payload_mut(), stamp);
                sample.send()?;
            }
            Data::Unwritten(publisher) => {
                let mut sample = publisher.loan_slice_uninit(self.length)?;
                *sample.user_header_mut() = words(stamp);
                // Writes nothing.
                sample.write_from_fn(|_| MaybeUninit::uninit()).send()?;
            }
        }
        self.notifier.notify()?;
        Ok(())
    }
}

impl Receiving {
    /// Gives the next payload to `take`, and waits for it if there is none.
    fn next<R>(&mut self, take: impl FnOnce(Received<'_>) -> R) -> Result<R> {
        loop {
            match &self.data {
                Data::Touched(subscriber) => {
                    if let Some(sample) = subscriber.receive()? {
                        return Ok(take(Received::new(sample.payload())?));
                    }
                }
                Data::Unwritten(subscriber) => {
                    if let Some(sample) = subscriber.receive()? {
                        let [first, extra, last_word] = *sample.user_header();
                        let stamp = Stamp::from_words([first, extra]);
                        let (length, last_word) = (sample.payload().len(), Some(last_word));
                        return Ok(take(Received { stamp, length, last_word, bytes: &[] }));
                    }
                }
            }
            self.listener.blocking_wait(|_| {})?;
        }
    }
}

fn words(stamp: Stamp) -> Words {
    let [first, extra] = stamp.words();
    [first, extra, stamp.last_word()]
}

fn node() -> Result<Node<Ipc>> {
    set_log_level(LogLevel::Error);
    NodeBuilder::new().create::<Ipc>().context(|| "iceoryx2's node cannot be made".into())
}

impl Ends for Iceoryx2 {
    type Publisher = Sending;
    type Pinger = Trips;

    async fn publisher(plan: &Plan) -> Result<Sending> {
        let node = node()?;
        let (data, notifier) = Channel { node: &node, plan, name: "data" }.sending()?;
        Ok(Sending { data, notifier, length: plan.payload, _node: node })
    }

    async fn subscribe(
        plan: &Plan,
        _number: usize,
        subscribed: impl FnOnce() -> Result<()>,
        mut take: impl FnMut(Received<'_>) -> Flow + Send + 'static,
    ) -> Result<()> {
        let node = node()?;
        let mut receiving = Channel { node: &node, plan, name: "data" }.receiving()?;
        subscribed()?;
        loop {
            if let ControlFlow::Break(outcome) = receiving.next(&mut take)? {
                return outcome;
            }
        }
    }

    async fn pinger(plan: &Plan) -> Result<Trips> {
        Trips::new(plan, "there", "back")
    }

    async fn echo(plan: &Plan, listening: impl FnOnce()) -> Result<()> {
        let outgoing = Outgoing::new(plan.payload, plan.touched);
        let mut trips = Trips::new(plan, "back", "there")?;
        listening();
        // Who comes later is not known by itself to who was there before.
        let mut is_met = false;
        loop {
            let stamp = trips.receiving.next(|received| received.stamp)?;
            if !is_met {
                trips.sending.update()?;
                is_met = true;
            }
            trips.sending.send(&outgoing, stamp)?;
            if stamp.last {
                return Ok(());
            }
        }
    }
}

impl Sending {
    fn update(&self) -> Result<()> {
        match &self.data {
            Data::Touched(publisher) => publisher.update_connections(),
            Data::Unwritten(publisher) => publisher.update_connections(),
        }
        .context(|| "iceoryx2's connections cannot be made".into())
    }
}

impl Publish for Sending {
    async fn meet(&mut self, _receivers: usize) -> Result<()> {
        self.update()
    }

    async fn publish(&mut self, _topic: &str, outgoing: &mut Outgoing, stamp: Stamp, _quality: Quality) -> Result<()> {
        self.send(outgoing, stamp)
    }
}

/// Both ends of one side of a round trip.
pub(crate) struct Trips {
    sending: Sending,
    receiving: Receiving,
}

impl Trips {
    fn new(plan: &Plan, out: &str, back: &str) -> Result<Self> {
        let node = node()?;
        let receiving = Channel { node: &node, plan, name: back }.receiving()?;
        let (data, notifier) = Channel { node: &node, plan, name: out }.sending()?;
        Ok(Self { sending: Sending { data, notifier, length: plan.payload, _node: node }, receiving })
    }
}

impl RoundTrip for Trips {
    async fn round_trip(
        &mut self,
        outgoing: &mut Outgoing,
        stamp: Stamp,
        take: impl FnOnce(Received<'_>) -> Result<()>,
    ) -> Result<()> {
        self.sending.send(outgoing, stamp)?;
        self.receiving.next(take)?
    }
}

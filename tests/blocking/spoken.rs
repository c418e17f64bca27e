//! The blocking client in the words of the async one, so that the same promises can be asked of it: what is awaited has
//! happened, on the thread that awaits it, before it is asked for.

use std::future::{IntoFuture, Ready, ready};
use std::time::Duration;

use busway::blocking::{self, Confirmation, RecvTimeoutError, StateChanges};
use busway::broker::{self, RegisterError};
use busway::client::{self, ConnectError, ConnectionState, IntoFilters, SendError, Transport, TryError};
use busway::{Content, Endpoint, Frame, QoS};

#[derive(Clone)]
pub(crate) struct Client(pub(crate) blocking::Client);

impl Client {
    pub(crate) fn builder(endpoint: impl Into<Endpoint>, name: &str) -> Builder {
        Builder(blocking::Client::builder(endpoint, name))
    }

    pub(crate) fn name(&self) -> &str {
        self.0.name()
    }

    pub(crate) fn send<'a>(&'a self, target: &'a str, payload: impl Into<Content<'a>>) -> Operation<'a> {
        Operation(self.0.send(target, payload))
    }

    pub(crate) fn broadcast<'a>(&'a self, mask: &'a str, payload: impl Into<Content<'a>>) -> Operation<'a> {
        Operation(self.0.broadcast(mask, payload))
    }

    pub(crate) fn publish<'a>(&'a self, topic: &'a str, payload: impl Into<Content<'a>>) -> Operation<'a> {
        Operation(self.0.publish(topic, payload))
    }

    pub(crate) fn publish_for<'a>(
        &'a self,
        topic: &'a str,
        receiver: &'a str,
        payload: impl Into<Content<'a>>,
    ) -> Operation<'a> {
        Operation(self.0.publish_for(topic, receiver, payload))
    }

    pub(crate) fn subscribe<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters(self.0.subscribe(filters))
    }

    pub(crate) fn unsubscribe<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters(self.0.unsubscribe(filters))
    }

    pub(crate) fn exclude<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters(self.0.exclude(filters))
    }

    pub(crate) fn unexclude<'a>(&'a self, filters: impl IntoFilters<'a>) -> Filters<'a> {
        Filters(self.0.unexclude(filters))
    }

    /// Some promises have more tasks that wait for a frame than their runtime has threads.
    pub(crate) async fn recv(&self) -> Option<Frame> {
        loop {
            match self.0.recv_timeout(Duration::from_millis(1)) {
                Ok(frame) => return Some(frame),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => tokio::task::yield_now().await,
            }
        }
    }

    pub(crate) fn try_recv(&self) -> Option<Frame> {
        self.0.try_recv()
    }

    pub(crate) fn transport(&self) -> Transport {
        self.0.transport()
    }

    pub(crate) fn state(&self) -> State {
        let changes = self.0.state_changes();
        State { current: self.0.state(), changes }
    }

    pub(crate) fn close(&self) -> Ready<()> {
        self.0.close();
        ready(())
    }
}

pub(crate) struct Builder(pub(crate) client::Builder<blocking::Client>);

impl Builder {
    pub(crate) fn shm(self, on: bool) -> Self {
        Self(self.0.shm(on))
    }

    pub(crate) fn connect(self) -> Ready<Result<Client, ConnectError>> {
        ready(self.0.connect().map(Client))
    }
}

pub(crate) struct Operation<'a>(blocking::Operation<'a>);

impl Operation<'_> {
    pub(crate) fn qos(self, qos: QoS) -> Self {
        Self(self.0.qos(qos))
    }

    pub(crate) fn try_enqueue(self) -> Result<Confirmation, TryError> {
        self.0.try_enqueue()
    }
}

impl IntoFuture for Operation<'_> {
    type Output = Result<(), SendError>;
    type IntoFuture = Ready<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        ready(self.0.wait())
    }
}

pub(crate) struct Filters<'a>(blocking::Filters<'a>);

impl Filters<'_> {
    pub(crate) fn qos(self, qos: QoS) -> Self {
        Self(self.0.qos(qos))
    }
}

impl IntoFuture for Filters<'_> {
    type Output = Result<(), SendError>;
    type IntoFuture = Ready<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        ready(self.0.wait())
    }
}

pub(crate) struct State {
    current: ConnectionState,
    changes: StateChanges,
}

impl State {
    pub(crate) fn borrow(&self) -> &ConnectionState {
        &self.current
    }

    pub(crate) fn wait_for(&mut self, is_it: impl Fn(&ConnectionState) -> bool) -> Ready<Option<Box<ConnectionState>>> {
        while !is_it(&self.current) {
            match self.changes.next() {
                Some(state) => self.current = state,
                None => return ready(None),
            }
        }
        ready(Some(Box::new(self.current.clone())))
    }
}

pub(crate) struct Broker(blocking::Broker);

impl Broker {
    pub(crate) fn builder() -> BrokerBuilder {
        BrokerBuilder(blocking::Broker::builder())
    }

    pub(crate) fn client(&self, name: &str) -> Result<Client, RegisterError> {
        self.0.client(name).map(Client)
    }
}

pub(crate) struct BrokerBuilder(broker::Builder);

impl BrokerBuilder {
    pub(crate) fn start(self) -> Ready<Result<Broker, busway::broker::BindError>> {
        ready(blocking::Broker::start(self.0).map(Broker))
    }
}

//! Where the clients of a promise meet: a broker of either flavour behind a socket, or one in this process.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use busway::broker::RegisterError;
use busway::client::{self, ConnectError};
use busway::{Endpoint, QoS, ResultCode};
use rustix::process::Signal;

use crate::expectations::{NOT_REGISTERED, until};
use crate::support::{BrokerProcess, Flavor, Setup, Transport};
use crate::{Broker, Builder, Client};

/// One column of the table of promises.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Socket(Setup, Lane),
    InProcess,
}

/// Whether local clients move to the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// None does.
    Off,
    /// All do, and a promise begins when they have.
    On,
    /// Every other one does.
    Mixed,
    /// All ask for it, whatever comes of it: what a program without options does.
    Asked,
}

impl Place {
    pub(crate) const BUSWAY_UNIX: Self = Self::socket(Flavor::Busway, Transport::Unix, Lane::Off);
    pub(crate) const BUSWAY_LANE: Self = Self::socket(Flavor::Busway, Transport::Unix, Lane::On);
    pub(crate) const BUSWAY_MIXED: Self = Self::socket(Flavor::Busway, Transport::Unix, Lane::Mixed);
    pub(crate) const BUSWAY_TCP: Self = Self::socket(Flavor::Busway, Transport::Tcp, Lane::Asked);
    pub(crate) const REFERENCE_UNIX: Self = Self::socket(Flavor::Reference, Transport::Unix, Lane::Asked);
    pub(crate) const REFERENCE_TCP: Self = Self::socket(Flavor::Reference, Transport::Tcp, Lane::Asked);

    const fn socket(flavor: Flavor, transport: Transport, lane: Lane) -> Self {
        Self::Socket(Setup { flavor, transport }, lane)
    }

    pub(crate) fn is_reference(self) -> bool {
        matches!(self, Self::Socket(Setup { flavor: Flavor::Reference, .. }, _))
    }

    /// A bus with nothing special about it.
    pub(crate) async fn open(self) -> Bus {
        match self {
            Self::Socket(setup, lane) => Bus::Process(setup.start(), setup.transport, lane.into()),
            Self::InProcess => {
                Bus::Embedded(Broker::builder().start().await.expect("nothing to bind, nothing to fail"))
            }
        }
    }

    /// A broker behind a socket, with options.
    pub(crate) fn start_with(self, options: &[&str]) -> Bus {
        match self {
            Self::Socket(setup, lane) => Bus::Process(setup.start_with(options), setup.transport, lane.into()),
            Self::InProcess => panic!("a promise about options is one about processes"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(setup, lane) => write!(formatter, "{setup}, lane {lane:?}"),
            Self::InProcess => formatter.write_str("in process"),
        }
    }
}

/// Which clients of a bus move to the lane.
pub(crate) struct Lanes {
    lane: Lane,
    clients: AtomicUsize,
}

impl From<Lane> for Lanes {
    fn from(lane: Lane) -> Self {
        Self { lane, clients: AtomicUsize::new(0) }
    }
}

impl Lanes {
    /// Whether the next client asks for a lane.
    fn next(&self) -> bool {
        match self.lane {
            Lane::Off => false,
            Lane::On | Lane::Asked => true,
            Lane::Mixed => self.clients.fetch_add(1, Ordering::Relaxed).is_multiple_of(2),
        }
    }
}

/// A running broker.
pub(crate) enum Bus {
    Process(BrokerProcess, Transport, Lanes),
    Embedded(Broker),
}

impl Bus {
    /// A client, connected or in process.
    pub(crate) async fn client(&self, name: &str) -> Client {
        match self {
            Self::Process(.., lanes) => {
                let is_on_lane = lanes.next();
                let builder = Client::builder(self.endpoint(), name).shm(is_on_lane);
                let client = builder.connect().await.unwrap_or_else(|error| panic!("{name}: {error}"));
                if is_on_lane && lanes.lane != Lane::Asked {
                    until(|| client.transport() == client::Transport::Lane).await;
                }
                client
            }
            Self::Embedded(broker) => broker.client(name).unwrap_or_else(|error| panic!("{name}: {error}")),
        }
    }

    /// A client that has subscribed.
    pub(crate) async fn subscriber(&self, name: &str, topics: &[&str]) -> Client {
        let client = self.client(name).await;
        client.subscribe(topics).await.expect("the broker takes subscriptions");
        client
    }

    /// A client under a name that another has given up, or is about to.
    pub(crate) async fn successor(&self, name: &str) -> Client {
        loop {
            match self.attempt(name).await {
                Ok(client) => return client,
                Err(code) => assert_eq!(code, ResultCode::BUSY, "why {name} was refused"),
            }
            tokio::task::yield_now().await;
        }
    }

    /// A client, or the code with which the broker refused.
    pub(crate) async fn attempt(&self, name: &str) -> Result<Client, ResultCode> {
        match self {
            Self::Process(..) => match self.builder(name).connect().await {
                Ok(client) => Ok(client),
                Err(ConnectError::Refused { code, .. }) => Err(code),
                Err(error) => panic!("{name}: {error}"),
            },
            Self::Embedded(broker) => match broker.client(name) {
                Ok(client) => Ok(client),
                Err(RegisterError::Refused { code, .. }) => Err(code),
                Err(error) => panic!("{name}: {error}"),
            },
        }
    }

    /// Waits until nobody has that name any more.
    pub(crate) async fn wait_until_gone(&self, name: &str) {
        let observer = self.successor("observer of the departed").await;
        while observer.send(name, "").qos(QoS::Processed).await != NOT_REGISTERED {
            tokio::task::yield_now().await;
        }
        observer.close().await;
    }

    /// Options of a connection to this broker.
    pub(crate) fn builder(&self, name: &str) -> Builder {
        let is_on_lane = match self {
            Self::Process(.., lanes) => lanes.next(),
            Self::Embedded(_) => false,
        };
        Client::builder(self.endpoint(), name).shm(is_on_lane)
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Process(broker, Transport::Unix, _) => broker.socket().into(),
            Self::Process(broker, Transport::Tcp, _) => Endpoint::from(format!("127.0.0.1:{}", broker.port())),
            Self::Embedded(_) => panic!("a broker without endpoints has none to connect to"),
        }
    }

    /// The broker's process.
    pub(crate) fn process(&self) -> &BrokerProcess {
        match self {
            Self::Process(broker, ..) => broker,
            Self::Embedded(_) => panic!("an embedded broker has no process of its own"),
        }
    }

    pub(crate) fn process_mut(&mut self) -> &mut BrokerProcess {
        match self {
            Self::Process(broker, ..) => broker,
            Self::Embedded(_) => panic!("an embedded broker has no process of its own"),
        }
    }

    /// The end without a farewell.
    pub(crate) fn kill(&mut self) {
        let process = self.process_mut();
        process.signal(Signal::KILL);
        process.wait();
    }

    /// See [`BrokerProcess::freeze`].
    pub(crate) async fn freeze(&self) {
        tokio::task::block_in_place(|| self.process().freeze());
    }

    pub(crate) fn thaw(&self) {
        self.process().signal(Signal::CONT);
    }
}

//! A broker inside a program without async code.

use std::fmt;

use busway_net::link::{BindError, Endpoint};
use busway_net::wire::Limits;

use super::client::Client;
use super::runtime::Runtime;
use crate::broker::{self, AccessRules, BrokerStats, Builder, ClientList, RegisterError};

/// A running broker. It ends with [`shut_down`](Broker::shut_down), or at once when it is dropped.
///
/// Its work is done by the one thread that reads for all blocking clients of the process: enough for a program whose
/// parts talk to each other. A broker for a whole machine is `buswayd`, or a [`broker::Broker`] on a runtime of its own.
///
/// ```
/// use busway::blocking::Broker;
///
/// let broker = Broker::start(Broker::builder())?;
/// let (anna, bert) = (broker.client("anna")?, broker.client("bert")?);
/// anna.send("bert", "hello").wait()?;
/// assert_eq!(bert.recv().map(|frame| frame.payload().to_vec()), Some(b"hello".to_vec()));
/// broker.shut_down();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Broker {
    broker: broker::Broker,
    runtime: &'static Runtime,
}

impl Broker {
    /// Options of a broker, for [`start`](Broker::start); without any endpoint it serves in-process clients alone.
    pub fn builder() -> Builder {
        broker::Broker::builder()
    }

    /// Starts a broker.
    ///
    /// # Errors
    /// When it cannot listen somewhere; nothing is left behind then.
    pub fn start(options: Builder) -> Result<Self, BindError> {
        let no_thread = |source| BindError::System { at: "the thread of the broker".to_owned(), source };
        let runtime = Runtime::current().map_err(no_thread)?;
        let started = runtime.run(options.start());
        let broker = started.unwrap_or_else(|error| Err(no_thread(error.into())))?;
        Ok(Self { broker, runtime })
    }

    /// Where it listens, in the order of the builder; a TCP port of 0 has become a real one.
    pub fn endpoints(&self) -> &[Endpoint] {
        self.broker.endpoints()
    }

    /// An in-process client: the same as a remote one, without a socket.
    ///
    /// # Errors
    /// When the name is not valid, or taken.
    pub fn client(&self, name: &str) -> Result<Client, RegisterError> {
        let client = self.runtime.within(|| self.broker.client(name))?;
        Ok(Client::new(client, self.runtime))
    }

    /// Counters.
    pub fn stats(&self) -> BrokerStats {
        self.broker.stats()
    }

    /// The registered primary clients, by name; `.broker` is one of them.
    pub fn clients(&self) -> ClientList {
        self.broker.clients()
    }

    /// As [`Broker::set_access`](broker::Broker::set_access).
    pub fn set_access(&self, rules: impl Into<Option<AccessRules>>) {
        self.broker.set_access(rules);
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        self.broker.limits()
    }

    /// Announces the end, lets clients take what waits for them (for at most a second), closes every connection and
    /// removes the sockets.
    pub fn shut_down(self) {
        let _ = self.runtime.run(self.broker.end());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its paths and ports are free when this returns.
        let _ = self.runtime.run(self.broker.end_tasks());
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.broker.fmt(formatter)
    }
}

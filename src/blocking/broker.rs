//! A broker inside a program without async code.

use std::fmt;

use busway_net::link::{BindError, Endpoint};
use busway_net::wire::{Limits, ResultCode};

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
    /// There until it is dropped.
    broker: Option<broker::Broker>,
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
        Ok(Self { broker: Some(broker), runtime })
    }

    /// What a forked child has of it.
    #[cfg(test)]
    pub(super) fn in_a_child(mut self, of_parent: &'static Runtime) -> Self {
        Self { broker: self.broker.take(), runtime: of_parent }
    }

    fn broker(&self) -> &broker::Broker {
        self.broker.as_ref().expect("it is there until it is dropped")
    }

    /// Where it listens, in the order of the builder; a TCP port of 0 has become a real one.
    pub fn endpoints(&self) -> &[Endpoint] {
        self.broker().endpoints()
    }

    /// An in-process client: the same as a remote one, without a socket.
    ///
    /// # Errors
    /// As those of [`Broker::client`](broker::Broker::client); and in a forked child.
    pub fn client(&self, name: &str) -> Result<Client, RegisterError> {
        if self.runtime.is_of_parent() {
            return Err(RegisterError::Refused { name: name.to_owned(), code: ResultCode::OTHER });
        }
        let client = self.runtime.within(|| self.broker().client(name))?;
        Ok(Client::new(client, self.runtime))
    }

    /// Counters.
    pub fn stats(&self) -> BrokerStats {
        self.broker().stats()
    }

    /// The registered primary clients, by name; `.broker` is one of them.
    pub fn clients(&self) -> ClientList {
        self.broker().clients()
    }

    /// As [`Broker::set_access`](broker::Broker::set_access).
    pub fn set_access(&self, rules: impl Into<Option<AccessRules>>) {
        if !self.runtime.is_of_parent() {
            self.broker().set_access(rules);
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        self.broker().limits()
    }

    /// Announces the end, lets clients take what waits for them (for at most a second), closes every connection and
    /// removes the sockets.
    pub fn shut_down(self) {
        let _ = self.runtime.run(self.broker().end());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.runtime.is_of_parent() {
            // A forked child's: ending it would end the connections of its parent.
            std::mem::forget(self.broker.take());
        } else if let Some(broker) = &self.broker {
            // Its paths and ports are free when this returns.
            let _ = self.runtime.run(broker.end_tasks());
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.broker().fmt(formatter)
    }
}

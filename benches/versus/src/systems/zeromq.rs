//! ZeroMQ over UNIX sockets, without a broker.

use std::ops::ControlFlow;

use zmq::{Context as Sockets, Message, PAIR, SUB, Socket, XPUB};

use super::{Ends, Flow, Publish, RoundTrip};
use crate::failure::{Context, Result};
use crate::plan::{Plan, Quality};
use crate::stamp::{Outgoing, Received, Stamp};

pub(crate) struct Zeromq;

/// The window bounds what is on its way; its own bound would drop messages.
const UNBOUNDED: i32 = 0;

/// A socket of the sending end.
pub(crate) struct Sending(Socket);

/// A socket of the end that waits for an answer.
pub(crate) struct Trips(Socket);

fn bind(socket: &Socket, plan: &Plan) -> Result<()> {
    socket.bind(&plan.endpoint).context(|| format!("ZeroMQ cannot bind {}", plan.endpoint))
}

fn connect(socket: &Socket, plan: &Plan) -> Result<()> {
    socket.connect(&plan.endpoint).context(|| format!("ZeroMQ cannot connect to {}", plan.endpoint))
}

impl Ends for Zeromq {
    type Publisher = Sending;
    type Pinger = Trips;

    async fn publisher(plan: &Plan) -> Result<Sending> {
        // As PUB, but it hears of subscriptions.
        let socket = Sockets::new().socket(XPUB)?;
        socket.set_sndhwm(UNBOUNDED)?;
        socket.set_xpub_verbose(true)?;
        bind(&socket, plan)?;
        Ok(Sending(socket))
    }

    async fn subscribe(
        plan: &Plan,
        _number: usize,
        subscribed: impl FnOnce() -> Result<()>,
        mut take: impl FnMut(Received<'_>) -> Flow + Send + 'static,
    ) -> Result<()> {
        let socket = Sockets::new().socket(SUB)?;
        socket.set_rcvhwm(UNBOUNDED)?;
        connect(&socket, plan)?;
        socket.set_subscribe(b"")?;
        subscribed()?;
        let mut message = Message::new();
        loop {
            socket.recv(&mut message, 0)?;
            if let ControlFlow::Break(outcome) = take(Received::new(&message)?) {
                return outcome;
            }
        }
    }

    async fn pinger(plan: &Plan) -> Result<Trips> {
        let socket = Sockets::new().socket(PAIR)?;
        connect(&socket, plan)?;
        Ok(Trips(socket))
    }

    async fn echo(plan: &Plan, listening: impl FnOnce()) -> Result<()> {
        let socket = Sockets::new().socket(PAIR)?;
        bind(&socket, plan)?;
        listening();
        let mut message = Message::new();
        loop {
            socket.recv(&mut message, 0)?;
            let stamp = Received::new(&message)?.stamp;
            socket.send(&message[..], 0)?;
            if stamp.last {
                return Ok(());
            }
        }
    }
}

impl Publish for Sending {
    async fn meet(&mut self, receivers: usize) -> Result<()> {
        for _ in 0..receivers {
            self.0.recv_bytes(0).context(|| "ZeroMQ heard of no subscription".into())?;
        }
        Ok(())
    }

    async fn publish(&mut self, _topic: &str, outgoing: &mut Outgoing, stamp: Stamp, _quality: Quality) -> Result<()> {
        self.0.send(outgoing.stamped(stamp), 0)?;
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
        self.0.send(outgoing.stamped(stamp), 0)?;
        let mut message = Message::new();
        self.0.recv(&mut message, 0)?;
        take(Received::new(&message)?)
    }
}

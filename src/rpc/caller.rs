//! One call, from the wish to the answer.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use busway_net::wire::{QoS, rpc};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::Rpc;
use super::error::CallError;
use super::pack::unpack;
use crate::client::{ConnectionState, SendError, Transport};
use crate::payload::{Content, Payload};
use crate::wall_clock;

/// Bytes of a request besides its method and parameters.
const REQUEST_HEAD: usize = 6;

/// A call to be made; await it.
///
/// # Errors
/// Awaiting it fails with a [`CallError`] when the peer answers with an error, or cannot answer: it is not there, has no
/// room for the request, or leaves during the call; when this client may not send to it, or the connection is lost; and when
/// the deadline has passed, after which nobody knows whether it was done. A NUL byte in the method's name is an error, too,
/// and so are typed parameters that cannot be packed, or a result that is not of the type expected.
#[must_use = "nothing is called until it is awaited"]
pub struct Call<'a, R = Payload> {
    wish: Wish<'a>,
    deadline: Duration,
    qos: QoS,
    unpack: fn(Payload) -> Result<R, CallError>,
}

/// Whom to call, what, and with what: or why not.
struct Wish<'a> {
    rpc: &'a Rpc,
    target: &'a str,
    method: &'a str,
    params: Result<Content<'a>, CallError>,
}

impl<'a> Call<'a> {
    pub(super) fn raw(rpc: &'a Rpc, (target, method): (&'a str, &'a str), params: Content<'a>) -> Self {
        Call::new(Wish { rpc, target, method, params: Ok(params) }, Ok)
    }
}

impl<'a, R> Call<'a, R> {
    fn new(wish: Wish<'a>, unpack: fn(Payload) -> Result<R, CallError>) -> Self {
        let deadline = wish.rpc.shared().options.deadline;
        Self { wish, deadline, qos: QoS::Processed, unpack }
    }

    /// How long the call may take in all, in place of [`Builder::deadline`](super::Builder::deadline).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The request is flushed at once on every hop, and so is the answer.
    pub fn realtime(mut self) -> Self {
        self.qos = QoS::RealtimeProcessed;
        self
    }
}

impl<'a, R: DeserializeOwned> Call<'a, R> {
    pub(super) fn typed(
        rpc: &'a Rpc,
        (target, method): (&'a str, &'a str),
        params: Result<Vec<u8>, rmp_serde::encode::Error>,
    ) -> Self {
        let params = params.map(Content::from).map_err(CallError::Pack);
        Self::new(Wish { rpc, target, method, params }, |result| unpack(&result).map_err(CallError::Unpack))
    }
}

impl<'a, R: Send + 'a> IntoFuture for Call<'a, R> {
    type Output = Result<R, CallError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { wish, deadline, qos, unpack } = self;
            let shared = wish.rpc.shared();
            let limited = shared.within_runtime(|| tokio::time::timeout(deadline, wish.fulfil(qos)));
            match limited.await {
                Ok(result) => unpack(result?),
                Err(_) => Err(CallError::Deadline(deadline)),
            }
        })
    }
}

impl Wish<'_> {
    async fn fulfil(self, qos: QoS) -> Result<Payload, CallError> {
        let Self { rpc, target, method, params } = self;
        let params = params?;
        let shared = rpc.shared();
        let mut connection = shared.client.state();
        if *connection.borrow_and_update() != ConnectionState::Connected {
            return Err(SendError::Disconnected.into());
        }
        let _turn = shared.turns.acquire().await;
        if !target.starts_with('.') {
            shared.watch_announcements().await?;
        }
        // Waiting for a turn may have taken longer than the connection lasted: what is asked on the next one is answered
        // there.
        if *connection.borrow_and_update() != ConnectionState::Connected {
            return Err(SendError::Disconnected.into());
        }
        let arrived = || shared.client.queue().arrived();
        // Over TCP the broker may have another clock.
        let called_at = (shared.client.transport() != Transport::Tcp).then(wall_clock::now);
        let (call, answer) = shared.calls.begin(target, (arrived(), called_at));
        let request = request(call.id, method, &params)?;
        let confirmation = shared.client.send(target, request).qos(qos).enqueue().await?;
        call.confirm(confirmation.placed().await?.unwrap_or_else(arrived));
        tokio::select! {
            biased;
            outcome = answer => outcome.unwrap_or(Err(CallError::Send(SendError::Disconnected))),
            () = lost(&mut connection) => Err(SendError::Disconnected.into()),
        }
    }
}

/// The connection on which the request went is lost, whether or not there is another by now.
async fn lost(connection: &mut watch::Receiver<ConnectionState>) {
    let _ = connection.changed().await;
}

/// A call without reply to be made; await it.
///
/// # Errors
/// Awaiting it fails with a [`CallError`] when the method's name has a NUL byte in it, or when the request is not accepted
/// for sending or not confirmed, as an [`Operation`](crate::client::Operation) does.
#[must_use = "nothing is called until it is awaited"]
pub struct Call0<'a> {
    rpc: &'a Rpc,
    target: &'a str,
    method: &'a str,
    params: Content<'a>,
    qos: QoS,
}

impl<'a> Call0<'a> {
    pub(super) fn new(rpc: &'a Rpc, (target, method): (&'a str, &'a str), params: Content<'a>) -> Self {
        Self { rpc, target, method, params, qos: QoS::Processed }
    }

    /// Confirmation and urgency ([`QoS::Processed`] by default).
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }
}

impl<'a> IntoFuture for Call0<'a> {
    type Output = Result<(), CallError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let request = request(0, self.method, &self.params)?;
            Ok(self.rpc.shared().client.send(self.target, request).qos(self.qos).await?)
        })
    }
}

fn request(call_id: u32, method: &str, params: &Content<'_>) -> Result<Vec<u8>, CallError> {
    if method.as_bytes().contains(&0) {
        return Err(CallError::Method);
    }
    let mut request = Vec::with_capacity(REQUEST_HEAD + method.len() + params.len());
    rpc::encode_request_head(&mut request, call_id, method);
    request.extend_from_slice(params.as_slice());
    Ok(request)
}

impl<R> fmt::Debug for Call<'_, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wish { target, method, .. } = &self.wish;
        formatter.debug_struct("Call").field("target", target).field("method", method).finish_non_exhaustive()
    }
}

impl fmt::Debug for Call0<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, method, .. } = self;
        formatter.debug_struct("Call0").field("target", target).field("method", method).finish_non_exhaustive()
    }
}

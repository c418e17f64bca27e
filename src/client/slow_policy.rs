//! What a client wants done with frames that it is too slow for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use busway_net::wire::rpc::{METHOD_NOT_FOUND, encode_request_head};
use busway_net::wire::{self, QoS, encode_client_head};
use serde::Serialize;

use super::error::SendError;
use super::questions::BROKER;
use super::queue::ReceiveQueue;
use super::remote::Remote;
use super::{Client, Link};
use crate::policy::SlowPolicy;

/// The broker's method.
const METHOD: &str = "client.slow_policy";

#[derive(Serialize)]
struct Params<'a> {
    policy: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    topics: &'a [&'a str],
}

impl Client {
    /// Changes what happens to frames for this client when it is too slow for them: in the broker, when its process
    /// does not read, and in its own receive queue, when the application does not. Subscriptions may have
    /// [policies of their own](super::Filters::slow_policy); among several that match a topic the one set last holds.
    ///
    /// Without a policy the broker [cuts](SlowPolicy::Cut) a client that does not read, and a receive queue drops the
    /// newest. Policies hold across reconnections. With [`SlowPolicy::Wait`], confirmations of this client's own
    /// operations wait as well while its receive queue is full: they are not to be awaited by whoever receives.
    ///
    /// # Errors
    /// When the broker knows no policies (only Busway's does), does not allow this one, or has access rules that do not let
    /// this client send messages to `.broker`.
    pub async fn slow_policy(&self, policy: SlowPolicy) -> Result<(), SendError> {
        self.set_policy(&[], policy).await
    }

    async fn set_policy(&self, filters: &[&str], policy: SlowPolicy) -> Result<(), SendError> {
        match &self.inner.link {
            Link::Remote(remote) => self.request_policy(remote, filters, policy).await,
            #[cfg(feature = "broker")]
            Link::Local(local) => local.set_policy(filters, policy),
        }
    }

    async fn request_policy(&self, remote: &Remote, filters: &[&str], policy: SlowPolicy) -> Result<(), SendError> {
        for filter in filters {
            remote.options.limits.check_path(filter.as_bytes(), b'/')?;
        }
        let (call_id, answer) = remote.questions.ask();
        // Confirmed: who may not send to the broker is told so, and need not wait for an answer that does not come.
        self.send(BROKER, request(call_id, filters, policy)).qos(QoS::RealtimeProcessed).await?;
        let limited = remote.within_runtime(|| tokio::time::timeout(remote.options.timeout, answer));
        let answer = limited.await;
        let answer = answer.map_err(|_| SendError::Timeout)?.map_err(|_| SendError::Disconnected)?;
        answer.map_err(|(code, words)| SendError::Policy {
            reason: if code == METHOD_NOT_FOUND { "it knows none".to_owned() } else { words },
        })?;
        let rules = self.inner.queue.rules();
        if filters.is_empty() {
            rules.set(None, policy);
        }
        for filter in filters {
            rules.set(Some(filter), policy);
        }
        // Who waits for room may no longer have to.
        self.inner.queue.room().notify_waiters();
        Ok(())
    }
}

fn request(call_id: u32, filters: &[&str], policy: SlowPolicy) -> Vec<u8> {
    let mut request = Vec::new();
    encode_request_head(&mut request, call_id, METHOD);
    let params = Params { policy: policy.to_string(), topics: filters };
    let encoded = rmp_serde::encode::write_named(&mut request, &params);
    debug_assert!(encoded.is_ok(), "a map of texts can be written to memory");
    request
}

/// Frames that tell a new connection what the one before it was granted.
pub(super) fn restoring_frames(queue: &ReceiveQueue) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut add = |filters: &[&str], policy| {
        let request = request(0, filters, policy);
        let shape = (wire::Operation::Message, QoS::No);
        encode_client_head(&mut frames, 0, shape, (BROKER.as_bytes(), None), request.len());
        frames.extend(request);
    };
    queue.rules().look(|rules| {
        if let Some(policy) = rules.general() {
            add(&[], policy);
        }
        for (filter, policy) in rules.of_filters() {
            add(&[filter], policy);
        }
    });
    frames
}

/// The change of a policy that comes before a subscription.
pub(super) struct PolicyRequest<'a> {
    future: Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>>,
}

impl<'a> PolicyRequest<'a> {
    pub(super) fn new(client: &'a Client, filters: Vec<&'a str>, policy: SlowPolicy) -> Self {
        Self { future: Box::pin(async move { client.set_policy(&filters, policy).await }) }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.future.as_mut().poll(context)
    }
}

impl fmt::Debug for PolicyRequest<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PolicyRequest")
    }
}

//! The broker's own client, `.broker`: what it answers and what it announces.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_net::link::{Level, Touch};
use busway_net::wire::rpc::{self, RpcMessage};
use busway_net::wire::{FrameKind, Operation, QoS, ResultCode};
use serde::{Deserialize, Serialize};

use super::client_list;
use super::peer::Peer;
use super::policy_request;
use super::router::{Request, Router, Source};
use super::touched::Touched;
use crate::lane::{Declined, Outgoing, Routed, Sink};
use crate::names::ClientName;
use crate::payload::Content;
use crate::policy::MAX_FILTERS;
use crate::wall_clock;

/// Bytes of parameters that are looked at: as many topics as may have a policy, and more than all else needs.
const PARAMS_MAX: usize = MAX_FILTERS * (1024 + 5) + 4096;

/// Where clients' comings and goings are announced.
pub(crate) const INFO_TOPIC: &str = ".broker/info";
/// Where everybody listens from the start.
pub(crate) const WARN_TOPIC: &str = ".broker/warn";

/// The sink of `.broker`: the router answers calls itself, and everything else is of no interest to the broker.
pub(crate) struct ControlSink;

impl Sink for ControlSink {
    fn offer(&self, _token: u64, _frame: &Outgoing<'_>) -> Result<Touch, Declined> {
        Ok(Touch::Again)
    }

    fn acknowledge(&self, _token: u64, _op_id: u32, _code: ResultCode) -> Result<Touch, Declined> {
        Ok(Touch::Again)
    }

    fn flush(&self) {}

    fn close(&self) -> Level {
        Level::default()
    }

    fn level(&self) -> Level {
        Level::default()
    }
}

/// Counters of the whole broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerStats {
    /// Seconds since the start.
    pub uptime: u64,
    /// Frames received from clients.
    pub r_frames: u64,
    /// Bytes received.
    pub r_bytes: u64,
    /// Frames given to clients.
    pub w_frames: u64,
    /// Bytes given.
    pub w_bytes: u64,
    /// Frames that did not reach a receiver: refused by its full queue, or waiting when its connection ended.
    #[serde(default)]
    pub lost_frames: u64,
    /// Frames of clients that the access rules forbade.
    #[serde(default)]
    pub denied_frames: u64,
    /// Clients that were cut.
    #[serde(default)]
    pub cut_clients: u64,
}

/// Who the broker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerInfo {
    /// Who made it.
    pub author: String,
    /// Its version.
    pub version: String,
}

#[derive(Serialize)]
struct Announcement<'a> {
    s: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<&'a str>,
    t: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
}

/// Publishes an announcement of the broker.
pub(crate) fn announce(router: &Router, topic: &str, subject: &str, name: Option<&ClientName>, touched: &mut Touched) {
    publish(router, topic, (subject, name, None), touched);
}

/// Announces that so many frames for a client were dropped.
pub(crate) fn announce_loss(router: &Router, name: &ClientName, frames: u64, touched: &mut Touched) {
    publish(router, WARN_TOPIC, ("loss", Some(name), Some(frames)), touched);
}

fn publish(
    router: &Router,
    topic: &str,
    (subject, name, number): (&str, Option<&ClientName>, Option<u64>),
    touched: &mut Touched,
) {
    let announcement = Announcement { s: subject, d: name.map(|name| &**name), t: wall_clock::now(), n: number };
    let Ok(event) = rmp_serde::to_vec_named(&announcement) else { return };
    let request =
        Request { op_id: 0, operation: Operation::Publish, qos: QoS::No, address: topic.as_bytes(), receiver: &[] };
    let mut source = Source::new(Arc::clone(&router.broker));
    let delivered = router.deliver(&mut source, &request, Routed::Owned(&event.into()), touched);
    debug_assert!(delivered.is_ok(), "the broker's topics are legal");
}

/// Answers a call to `.broker`. Whatever else is sent there is ignored.
pub(crate) fn handle(router: &Router, caller: &Arc<Peer>, qos: QoS, content: &Content<'_>, touched: &mut Touched) {
    let Ok(RpcMessage::Request { call_id, method, params }) = rpc::parse(content.as_slice()) else { return };
    if call_id == 0 {
        // A client that has connected again restores what it was granted before.
        if method == b"client.slow_policy" {
            let _ = check_length(params).and_then(|()| policy_request::grant(router, caller, params));
        }
        return;
    }
    if method == b"benchmark.test" {
        let start = content.len() - params.len();
        let (echo, mut shared) = (content.tail(start), None);
        let echo = router.share_if_large((&echo).into(), &mut shared);
        reply(router, caller, qos, &rpc::reply_head(call_id), echo, touched);
        return;
    }
    match answer(router, caller, method, params) {
        Ok(result) => {
            reply(router, caller, qos, &rpc::reply_head(call_id), Routed::Owned(&result.into()), touched);
        }
        Err((code, text)) => {
            reply(
                router,
                caller,
                qos,
                &rpc::error_reply_head(call_id, code),
                Routed::Borrowed(text.as_bytes()),
                touched,
            );
        }
    }
}

fn reply(router: &Router, caller: &Arc<Peer>, qos: QoS, prefix: &[u8], content: Routed<'_>, touched: &mut Touched) {
    let frame = Outgoing {
        kind: FrameKind::Message,
        realtime: qos.is_realtime(),
        names: &router.broker_names,
        prefix,
        content,
    };
    // A caller that cannot take the answer is cut for it, which is counted.
    let _ = router.offer(caller, &frame, touched);
}

/// Code and words of an error reply.
pub(super) type Failure = (i16, String);

fn check_length(params: &[u8]) -> Result<(), Failure> {
    let is_long = params.len() > PARAMS_MAX;
    if is_long { Err((rpc::INVALID_PARAMETERS, format!("parameters have at most {PARAMS_MAX} bytes"))) } else { Ok(()) }
}

fn answer(router: &Router, caller: &Peer, method: &[u8], params: &[u8]) -> Result<Vec<u8>, Failure> {
    check_length(params)?;
    let no_params = || match params {
        [] => Ok(()),
        _ => Err((rpc::INVALID_PARAMETERS, "this method takes no parameters".to_owned())),
    };
    match method {
        b"test" => {
            no_params()?;
            encode(&std::collections::BTreeMap::from([("ok", true)]))
        }
        b"info" => {
            no_params()?;
            encode(&BrokerInfo { author: "The Busway developers".into(), version: crate::VERSION.into() })
        }
        b"stats" => {
            no_params()?;
            encode(&stats(router))
        }
        b"client.list" => {
            let filter = match params {
                [] => None,
                params => client_list::filter_of(params)?,
            };
            encode(&match filter {
                None => client_list::clients(router),
                Some(filter) => client_list::matching_clients(router, &filter)?,
            })
        }
        b"client.slow_policy" => {
            policy_request::grant(router, caller, params)?;
            encode(&std::collections::BTreeMap::from([("ok", true)]))
        }
        _ => Err((rpc::METHOD_NOT_FOUND, "no such method".into())),
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    rmp_serde::to_vec_named(value).map_err(|error| (rpc::INTERNAL_ERROR, error.to_string()))
}

/// What was counted, for the peers that have gone and those that are there.
pub(crate) fn stats(router: &Router) -> BrokerStats {
    let retired = &router.retired;
    let mut stats = BrokerStats {
        uptime: router.started.elapsed().as_secs(),
        r_frames: retired.received_frames.load(Ordering::Relaxed),
        r_bytes: retired.received_bytes.load(Ordering::Relaxed),
        w_frames: retired.written_frames.load(Ordering::Relaxed),
        w_bytes: retired.written_bytes.load(Ordering::Relaxed),
        lost_frames: retired.lost.load(Ordering::Relaxed),
        denied_frames: retired.denied.load(Ordering::Relaxed),
        cut_clients: retired.cut.load(Ordering::Relaxed),
    };
    router.with_registry(|registry| {
        for (peer, _) in registry.peers() {
            let (frames, bytes) = peer.received.load();
            let level = peer.sink.level();
            stats.r_frames += frames;
            stats.r_bytes += bytes;
            stats.w_frames += level.taken_frames;
            stats.w_bytes += level.taken_bytes;
            stats.lost_frames += peer.sink.dropped();
            stats.denied_frames += peer.denied.load(Ordering::Relaxed);
        }
    });
    stats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_without_end_are_not_looked_at() {
        assert_eq!(check_length(&vec![0; PARAMS_MAX]), Ok(()));
        assert_eq!(check_length(&vec![0; PARAMS_MAX + 1]).map_err(|(code, _)| code), Err(rpc::INVALID_PARAMETERS));
    }
}

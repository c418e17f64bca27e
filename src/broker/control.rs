//! The broker's own client, `.broker`: what it answers and what it announces.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use busway_net::link::{Level, Touch};
use busway_net::wire::rpc::{self, RpcMessage};
use busway_net::wire::{FrameKind, Operation, QoS, ResultCode};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::peer::{Peer, Transport};
use super::policy_request;
use super::router::{Request, Router, Source};
use super::touched::Touched;
use crate::lane::{Declined, Outgoing, Routed, Sink};
use crate::names::ClientName;
use crate::payload::Content;
use crate::policy::MAX_FILTERS;
use crate::wall_clock;

/// Bytes of an expression by which clients are listed: a long one takes thousands of times as many to compile.
const FILTER_MAX: usize = 256;
/// Bytes of what it is compiled to: `\w{1,8}` takes more than a quarter of it. Looking at a name of 255 bytes takes the
/// longer the larger that is, up to some 40 ms ...
const FILTER_PROGRAM_MAX: usize = 1 << 20;
/// ... and this is what a look at all names may take, and one of them more.
const FILTER_TIME: Duration = Duration::from_millis(50);
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

/// One client, as `client.list` tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// Its name.
    pub name: String,
    /// `internal`, `local_ipc`, `tcp` or `websocket`.
    pub kind: String,
    /// The address it came from, `host:port` (TCP).
    pub source: Option<String>,
    /// Where the broker listened for it: a path or `host:port`.
    pub port: Option<String>,
    /// Frames received from it.
    pub r_frames: u64,
    /// Bytes received.
    pub r_bytes: u64,
    /// Frames given to it.
    pub w_frames: u64,
    /// Bytes given.
    pub w_bytes: u64,
    /// Frames that wait for it.
    pub queue: usize,
    /// It and its secondaries.
    pub instances: usize,
    /// How it is connected: `internal`, `lane`, `unix` or `tcp`. Other brokers do not tell.
    #[serde(default)]
    pub transport: Option<String>,
    /// Why a local client exchanges payloads over its socket and not by the lane.
    #[serde(default)]
    pub lane_off_reason: Option<String>,
    /// Payloads in shared memory that it read in place (`lane`).
    #[serde(default)]
    pub in_place: Option<u64>,
    /// Payloads in shared memory that were copied for it: it had no lease left, held too much of one sender, may not
    /// map the sender's memory or had not done so yet (`lane`).
    #[serde(default)]
    pub copied: Option<u64>,
    /// User of its process (UNIX sockets).
    #[serde(default)]
    pub uid: Option<u32>,
    /// Group of its process.
    #[serde(default)]
    pub gid: Option<u32>,
    /// Its process when it connected.
    #[serde(default)]
    pub pid: Option<i32>,
    /// Frames for it that were lost.
    #[serde(default)]
    pub lost_frames: u64,
    /// Frames of it that the access rules forbade.
    #[serde(default)]
    pub denied_frames: u64,
}

/// What `client.list` returns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientList {
    /// Primaries only, by name.
    pub clients: Vec<ClientInfo>,
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

#[derive(Deserialize)]
struct ListParams {
    filter: Option<String>,
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
                params => {
                    rmp_serde::from_slice::<ListParams>(params)
                        .map_err(|error| (rpc::INVALID_PARAMETERS, error.to_string()))?
                        .filter
                }
            };
            if filter.as_ref().is_some_and(|pattern| pattern.len() > FILTER_MAX) {
                let reason = format!("a filter has at most {FILTER_MAX} bytes");
                return Err((rpc::INVALID_PARAMETERS, reason));
            }
            let filter = filter
                .map(|pattern| regex::RegexBuilder::new(&pattern).size_limit(FILTER_PROGRAM_MAX).build())
                .transpose()
                .map_err(|error| (rpc::INVALID_PARAMETERS, error.to_string()))?;
            encode(&match filter {
                None => clients(router),
                Some(filter) => matching_clients(router, &filter)?,
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

/// The primary clients.
pub(crate) fn clients(router: &Router) -> ClientList {
    list_of(primaries(router))
}

/// The primary clients whose names match. Names are as long as clients make them, and a short expression can take long
/// for each: nobody waits for the registry meanwhile, nor for this thread for long.
fn matching_clients(router: &Router, filter: &regex::Regex) -> Result<ClientList, Failure> {
    let begin = processor_time();
    let mut matching = Vec::new();
    for (peer, secondaries) in primaries(router) {
        if processor_time().saturating_sub(begin) > FILTER_TIME {
            return Err((rpc::INVALID_PARAMETERS, "the filter takes too long: use a simpler one, or none".to_owned()));
        }
        if filter.is_match(&peer.name) {
            matching.push((peer, secondaries));
        }
    }
    Ok(list_of(matching))
}

/// What this thread has taken of its processor: others that have it meanwhile do not count.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// With the number of secondaries of each.
fn primaries(router: &Router) -> Vec<(Arc<Peer>, usize)> {
    router.with_registry(|registry| {
        let primaries = registry.peers().filter(|(peer, _)| !peer.name.is_secondary());
        primaries.map(|(peer, secondaries)| (Arc::clone(peer), secondaries)).collect()
    })
}

fn list_of(peers: Vec<(Arc<Peer>, usize)>) -> ClientList {
    let mut clients: Vec<ClientInfo> =
        peers.into_iter().map(|(peer, secondaries)| client_info(&peer, secondaries)).collect();
    clients.sort_by(|one, other| one.name.cmp(&other.name));
    ClientList { clients }
}

fn client_info(peer: &Peer, secondaries: usize) -> ClientInfo {
    let (r_frames, r_bytes) = peer.received.load();
    let level = peer.sink.level();
    let (source, identity) = match peer.transport {
        Transport::Tcp(address) => (Some(address.to_string()), None),
        Transport::Unix(identity) => (None, identity),
        Transport::Internal => (None, None),
    };
    let lane = peer.sink.lane_status();
    let counts = lane.counts();
    ClientInfo {
        name: peer.name.to_string(),
        kind: peer.transport.kind().into(),
        source,
        port: peer.listener.as_deref().map(str::to_owned),
        r_frames,
        r_bytes,
        w_frames: level.taken_frames,
        w_bytes: level.taken_bytes,
        queue: level.frames,
        instances: secondaries + 1,
        transport: Some(if counts.is_some() { "lane" } else { peer.transport.name() }.into()),
        lane_off_reason: lane.off_reason().map(|reason| reason.to_string()),
        in_place: counts.map(|(in_place, _)| in_place),
        copied: counts.map(|(_, copied)| copied),
        uid: identity.map(|identity| identity.uid),
        gid: identity.map(|identity| identity.gid),
        pid: identity.map(|identity| identity.pid),
        lost_frames: peer.lost(),
        denied_frames: peer.denied.load(Ordering::Relaxed),
    }
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

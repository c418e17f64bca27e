//! The clients of a broker, as `client.list` shows them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use busway_net::wire::rpc;
use regex::{Regex, RegexBuilder};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::control::Failure;
use super::peer::{Peer, Transport};
use super::router::Router;

/// Bytes of an expression by which clients are listed: a long one takes thousands of times as many to compile.
const FILTER_MAX: usize = 256;
/// Bytes of what it is compiled to: `\w{1,8}` takes more than a quarter of it. Looking at a name of 255 bytes takes the
/// longer the larger that is, up to some 40 ms ...
const FILTER_PROGRAM_MAX: usize = 1 << 20;
/// ... and this is what a look at all names may take, and one of them more.
const FILTER_TIME: Duration = Duration::from_millis(50);

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

#[derive(Deserialize)]
struct ListParams {
    filter: Option<String>,
}

/// The filter in the parameters of a call, if there is one.
///
/// # Errors
/// When it is none, or too long.
pub(super) fn filter_of(params: &[u8]) -> Result<Option<Regex>, Failure> {
    let invalid = |reason: String| (rpc::INVALID_PARAMETERS, reason);
    let ListParams { filter } = rmp_serde::from_slice(params).map_err(|error| invalid(error.to_string()))?;
    let Some(pattern) = filter else { return Ok(None) };
    if pattern.len() > FILTER_MAX {
        return Err(invalid(format!("a filter has at most {FILTER_MAX} bytes")));
    }
    let filter = RegexBuilder::new(&pattern).size_limit(FILTER_PROGRAM_MAX).build();
    filter.map(Some).map_err(|error| invalid(error.to_string()))
}

/// The primary clients.
pub(crate) fn clients(router: &Router) -> ClientList {
    list_of(primaries(router))
}

/// The primary clients whose names match. Names are as long as clients make them, and a short expression can take long
/// for each: nobody waits for the registry meanwhile, nor for this thread for long.
///
/// # Errors
/// When it takes too long.
pub(super) fn matching_clients(router: &Router, filter: &Regex) -> Result<ClientList, Failure> {
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

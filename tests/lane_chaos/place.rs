//! A broker to attack, and what can be seen of it from outside.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rmpv::Value;

use crate::support::{BrokerProcess, Call, Flavor, Kind, Setup, Transport, WATCHDOG, eventually, text, unpack};

/// A broker with these options.
pub(crate) fn broker(options: &[&str]) -> BrokerProcess {
    BrokerProcess::start(Setup { flavor: Flavor::Busway, transport: Transport::Unix }, options)
}

/// A broker that is started by another program, which lays something upon it.
pub(crate) fn broker_by(starter: &[&str], options: &[&str]) -> BrokerProcess {
    BrokerProcess::start_by(Setup { flavor: Flavor::Busway, transport: Transport::Unix }, starter, options)
}

/// What a process holds: descriptors, and mappings of the lane's segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) descriptors: usize,
    pub(crate) mappings: usize,
}

impl Holdings {
    pub(crate) fn of(process: u32) -> Self {
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("the process is there").count();
        Self { descriptors, mappings: segments(process, "").len() }
    }
}

/// Waits until a broker holds no more than before.
pub(crate) fn expect_return_to(broker: &BrokerProcess, before: Holdings) {
    let started = Instant::now();
    loop {
        let now = Holdings::of(broker.id());
        // A witness may have given up an arena meanwhile.
        if now.descriptors <= before.descriptors && now.mappings <= before.mappings {
            return;
        }
        assert!(started.elapsed() < WATCHDOG / 2, "watchdog: the broker holds {now:?} and not {before:?} as before");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Bytes of the lane's segments that a process has mapped, by name (`up`, `down`, `arena`, or all).
pub(crate) fn segments(process: u32, name: &str) -> Vec<u64> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("the process is there");
    let wanted = format!("/memfd:busway-{name}");
    let lines = maps.lines().filter(|line| line.contains(&wanted));
    lines.map(|line| length_of(line.split(' ').next().expect("a range"))).collect()
}

fn length_of(range: &str) -> u64 {
    let (start, end) = range.split_once('-').expect("a range has two ends");
    let number = |text| u64::from_str_radix(text, 16).expect("an address");
    number(end) - number(start)
}

/// KiB of a process's mappings of such segments that it has touched.
pub(crate) fn touched(process: u32, name: &str) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{process}/smaps")).expect("the process is there");
    let wanted = format!("/memfd:busway-{name}");
    let (mut is_wanted, mut sum) = (false, 0);
    for line in maps.lines() {
        if line.split(' ').next().is_some_and(|range| range.contains('-')) {
            is_wanted = line.contains(&wanted);
        } else if let Some(rest) = line.strip_prefix("Rss:").filter(|_| is_wanted) {
            sum += rest.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        }
    }
    sum
}

/// What `client.list` says of a client: its transport, and why it has no lane.
pub(crate) fn listed(broker: &BrokerProcess, client: &str) -> (String, Option<String>) {
    let list = list(broker);
    let entry = list.iter().find(|entry| text(entry, "name") == client).expect("the client is listed");
    (text(entry, "transport").to_owned(), entry["lane_off_reason"].as_str().map(str::to_owned))
}

/// What `client.list` says of the large payloads that went to a client: read in place, and copied.
pub(crate) fn places(broker: &BrokerProcess, client: &str) -> (u64, u64) {
    let list = list(broker);
    let entry = list.iter().find(|entry| text(entry, "name") == client).expect("the client is listed");
    let count = |field: &str| entry[field].as_u64().expect("a client on the lane has these counts");
    (count("in_place"), count("copied"))
}

/// Who is registered.
pub(crate) fn names(broker: &BrokerProcess) -> Vec<String> {
    list(broker).iter().map(|entry| text(entry, "name").to_owned()).collect()
}

/// Waits until nobody has that name any more.
pub(crate) fn wait_until_gone(broker: &BrokerProcess, name: &str) {
    eventually(&format!("{name} is gone"), || !names(broker).iter().any(|other| other == name));
}

fn list(broker: &BrokerProcess) -> Vec<Value> {
    let mut observer = broker.successor("observer");
    let call = Call::new(1, "client.list");
    observer.send(&call.request());
    let reply = loop {
        let delivery = observer.receive_delivery();
        // The broker tells everybody whom it has cut.
        if delivery.kind != Kind::Publication {
            break delivery;
        }
    };
    let list = unpack(&call.reply(&reply).expect("the broker lists its clients"));
    list["clients"].as_array().expect("clients is an array").clone()
}

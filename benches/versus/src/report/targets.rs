//! What the numbers must show.

use super::samples::Metric;
use crate::driver::{KIB, MIB};
use crate::systems::System::{self, BuswayLane, BuswaySockets, BuswaydBusrtClient, Iceoryx2, Zenoh};

use Against::{Growth, Itself, PartOfBusrt, Times, TimesBusrt};
use Bound::{AtLeast, AtMost};

/// What a row is held against.
#[derive(Clone, Copy, Debug)]
pub(super) enum Against {
    /// Nothing: its own value, in its unit.
    Itself,
    /// busrt, within each round: how many times as good.
    TimesBusrt,
    /// busrt, within each round: which part of what busrt needs.
    PartOfBusrt,
    /// Another system at the same work, within each round: how many times as good.
    Times(System),
    /// The same system at another work, payload and number, within each round: this by that.
    Growth(&'static str, usize, usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// All numbers of receivers: the worst counts.
pub(super) const ANY: usize = 0;

/// Where a number is looked for, and how far it must reach: work, payload, receivers, bound.
pub(super) type Bar = (&'static str, usize, usize, Bound);

/// Some bars of one kind: of all the systems that are named, the worst counts at each. None may be missing.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) row: &'static str,
    pub(super) systems: &'static [System],
    pub(super) metric: Metric,
    pub(super) against: Against,
    pub(super) bars: &'static [Bar],
}

const SOCKETS: &[System] = &[BuswaydBusrtClient, BuswaySockets];
const THEIR_CLIENT: &[System] = &[BuswaydBusrtClient];
const OUR_CLIENT: &[System] = &[BuswaySockets];
const LANE: &[System] = &[BuswayLane];
const ALL_OURS: &[System] = &[BuswaydBusrtClient, BuswaySockets, BuswayLane];

pub(super) const TARGETS: &[Target] = &[
    Target {
        row: "broker CPU, busrt's client",
        systems: THEIR_CLIENT,
        metric: Metric::BrokerCpu,
        against: PartOfBusrt,
        bars: &[
            ("throughput", 64, 1, AtMost(0.25)),
            ("throughput", 64, 4, AtMost(0.15)),
            ("throughput", KIB, 1, AtMost(0.42)),
            ("throughput", KIB, 4, AtMost(0.40)),
            ("throughput", 16 * KIB, 1, AtMost(0.55)),
            ("throughput", MIB, 1, AtMost(0.40)),
            ("throughput", MIB, 4, AtMost(0.60)),
            ("throughput", 16 * MIB, 1, AtMost(0.38)),
            ("realtime", 64, 1, AtMost(0.42)),
            ("processed", 64, 1, AtMost(0.50)),
            ("round_trip", 64, 1, AtMost(0.85)),
        ],
    },
    Target {
        row: "rate, busrt's client",
        systems: THEIR_CLIENT,
        metric: Metric::Rate,
        against: TimesBusrt,
        bars: &[
            ("throughput", 64, 1, AtLeast(1.4)),
            ("throughput", 64, 4, AtLeast(1.6)),
            ("processed", 64, 1, AtLeast(1.3)),
            ("throughput", MIB, 1, AtLeast(1.8)),
        ],
    },
    Target {
        row: "rate, our client",
        systems: OUR_CLIENT,
        metric: Metric::Rate,
        against: TimesBusrt,
        bars: &[
            ("throughput", 64, 1, AtLeast(5.0)),
            ("throughput", 64, 4, AtLeast(5.5)),
            ("throughput", KIB, 1, AtLeast(2.2)),
            ("processed", 64, 1, AtLeast(3.2)),
            ("throughput", MIB, 1, AtLeast(1.9)),
        ],
    },
    Target {
        row: "sockets, p50",
        systems: OUR_CLIENT,
        metric: Metric::P50,
        against: PartOfBusrt,
        bars: &[("round_trip_one_cpu", 64, 1, AtMost(0.8)), ("round_trip", 64, 1, AtMost(0.9))],
    },
    Target {
        row: "sockets, p99",
        systems: OUR_CLIENT,
        metric: Metric::P99,
        against: PartOfBusrt,
        bars: &[
            ("round_trip_one_cpu", 64, 1, AtMost(1.0)),
            ("round_trip", 64, 1, AtMost(1.0)),
            ("tail_beside_16_mib", 64, 1, AtMost(1.0)),
        ],
    },
    Target {
        row: "broker peak RSS, MiB",
        systems: ALL_OURS,
        metric: Metric::PeakRss,
        against: Itself,
        bars: &[
            ("throughput", 64, ANY, AtMost(12.0)),
            ("throughput", MIB, ANY, AtMost(64.0)),
            ("throughput", 16 * MIB, ANY, AtMost(128.0)),
        ],
    },
    Target {
        row: "lane, rate",
        systems: LANE,
        metric: Metric::Rate,
        against: TimesBusrt,
        bars: &[
            ("throughput", 64, 1, AtLeast(6.0)),
            ("throughput", MIB, 4, AtLeast(100.0)),
            ("throughput_touched", MIB, 1, AtLeast(8.0)),
            ("throughput_touched", MIB, 4, AtLeast(10.0)),
        ],
    },
    Target {
        row: "lane, rate by our sockets",
        systems: LANE,
        metric: Metric::Rate,
        against: Times(BuswaySockets),
        bars: &[("throughput", 64, 1, AtLeast(0.9))],
    },
    Target {
        row: "lane, rate by iceoryx2",
        systems: LANE,
        metric: Metric::Rate,
        against: Times(Iceoryx2),
        bars: &[
            ("throughput", MIB, 4, AtLeast(0.8)),
            ("throughput_touched", MIB, 1, AtLeast(0.8)),
            ("throughput_touched", MIB, 4, AtLeast(0.8)),
        ],
    },
    Target {
        row: "lane, rate by zenoh",
        systems: LANE,
        metric: Metric::Rate,
        against: Times(Zenoh),
        bars: &[("throughput_touched", MIB, 1, AtLeast(1.5)), ("throughput_touched", MIB, 4, AtLeast(1.5))],
    },
    Target {
        row: "lane, p50",
        systems: LANE,
        metric: Metric::P50,
        against: PartOfBusrt,
        bars: &[
            ("round_trip_one_cpu", 64, 1, AtMost(0.5)),
            ("round_trip", 64, 1, AtMost(0.6)),
            ("round_trip", MIB, 1, AtMost(0.06)),
        ],
    },
    Target {
        row: "lane, p99 by the quiet case",
        systems: LANE,
        metric: Metric::P99,
        against: Growth("tail_quiet", 64, 1),
        bars: &[("tail_beside_16_mib", 64, 1, AtMost(3.0))],
    },
    Target {
        row: "lane, broker CPU by that at 64 KiB",
        systems: LANE,
        metric: Metric::BrokerCpu,
        against: Growth("paced_200", 64 * KIB, 1),
        bars: &[("paced_200", 16 * MIB, 1, AtMost(1.5))],
    },
    Target {
        row: "system calls a message, sockets",
        systems: SOCKETS,
        metric: Metric::SystemCalls,
        against: Itself,
        bars: &[("throughput", KIB, 1, AtMost(0.1)), ("processed", KIB, 1, AtMost(5.5))],
    },
    Target {
        row: "system calls a message, lane",
        systems: LANE,
        metric: Metric::SystemCalls,
        against: Itself,
        bars: &[("throughput", 64, 1, AtMost(0.02)), ("throughput", KIB, 1, AtMost(0.02))],
    },
    Target {
        row: "match exact, broker CPU by that at 1,000",
        systems: OUR_CLIENT,
        metric: Metric::BrokerCpu,
        against: Growth("subscriptions_exact", 64, 1_000),
        bars: &[("subscriptions_exact", 64, 1_000_000, AtMost(3.0))],
    },
    Target {
        row: "match +, broker CPU by that at 1,000",
        systems: OUR_CLIENT,
        metric: Metric::BrokerCpu,
        against: Growth("subscriptions_one_level", 64, 1_000),
        bars: &[("subscriptions_one_level", 64, 1_000_000, AtMost(3.0))],
    },
    Target {
        row: "match #, broker CPU by that at 1,000",
        systems: OUR_CLIENT,
        metric: Metric::BrokerCpu,
        against: Growth("subscriptions_all_levels", 64, 1_000),
        bars: &[("subscriptions_all_levels", 64, 1_000_000, AtMost(3.0))],
    },
    Target {
        row: "idle clients, KiB each",
        systems: SOCKETS,
        metric: Metric::MemoryEach,
        against: Itself,
        bars: &[("idle_clients", 64, 10_000, AtMost(32.0))],
    },
    Target {
        row: "idle clients, % of a core/1,000",
        systems: SOCKETS,
        metric: Metric::IdleCpu,
        against: Itself,
        bars: &[("idle_clients", 64, 10_000, AtMost(1.0))],
    },
];

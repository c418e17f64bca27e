//! What is measured.

use crate::plan::Quality;
use crate::systems::System;

/// How processes stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One sends to all others.
    Stream,
    /// One sends to another and waits for the answer.
    RoundTrip,
}

/// One kind of work, the same for every system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// As it stands in tables and files.
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) payload: usize,
    pub(crate) receivers: usize,
    pub(crate) quality: Quality,
    pub(crate) touched: bool,
    pub(crate) one_cpu: bool,
    pub(crate) rate: Option<u32>,
    /// Whether the quick mode has it.
    pub(crate) quick: bool,
}

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// 64 B from one to one, with nothing special about it.
pub(crate) const STREAM: Work = Work {
    name: "throughput",
    shape: Shape::Stream,
    payload: 64,
    receivers: 1,
    quality: Quality::No,
    touched: false,
    one_cpu: false,
    rate: None,
    quick: true,
};
const REALTIME: Work = Work { name: "realtime", quality: Quality::Realtime, ..STREAM };
const PROCESSED: Work = Work { name: "processed", quality: Quality::Processed, ..STREAM };
const TOUCHED: Work = Work { name: "throughput_touched", touched: true, payload: MIB, ..STREAM };
const ROUND_TRIP: Work = Work { name: "round_trip", shape: Shape::RoundTrip, ..STREAM };
const ONE_CPU: Work = Work { name: "round_trip_one_cpu", one_cpu: true, ..ROUND_TRIP };
const PACED: Work = Work { name: "paced_200", rate: Some(200), ..STREAM };

const PAYLOADS: [usize; 6] = [64, KIB, 16 * KIB, MIB, 16 * MIB, 64 * MIB];
pub(crate) const RECEIVERS: [usize; 3] = [1, 4, 16];
/// Payload and receivers that the quick mode has.
const QUICK: [(usize, usize); 8] = [(64, 1), (64, 4), (64, 16), (KIB, 1), (KIB, 4), (16 * KIB, 1), (MIB, 1), (MIB, 4)];
const QUICK_LARGE: (usize, usize) = (16 * MIB, 1);

impl Work {
    /// Whether a system does this work at all.
    pub(crate) fn suits(&self, system: System) -> bool {
        if !system.is_bus() && (self.quality != Quality::No || self.rate.is_some()) {
            return false;
        }
        // Who only copies has nothing new to show when the copy is from or to memory that was touched before, except
        // as what the others are compared with.
        !self.touched || system.shares_memory() || matches!(system, System::Busrt | System::BuswaySockets)
    }

    /// Whether the quick mode has this work with a system.
    pub(crate) fn is_quick(&self, system: System) -> bool {
        let is_compared = || self.touched || self.shape == Shape::RoundTrip || self.payload == MIB;
        self.quick && (system.is_bus() || is_compared())
    }
}

/// The end-to-end works.
pub(crate) fn all() -> Vec<Work> {
    let mut works = Vec::new();
    for payload in PAYLOADS {
        for receivers in RECEIVERS {
            let quick = QUICK.contains(&(payload, receivers)) || QUICK_LARGE == (payload, receivers);
            works.push(Work { payload, receivers, quick, ..STREAM });
        }
    }
    for payload in [MIB, 16 * MIB] {
        for receivers in [1, 4] {
            works.push(Work { payload, receivers, quick: payload == MIB, ..TOUCHED });
        }
    }
    works.extend([REALTIME, Work { payload: KIB, quick: false, ..REALTIME }]);
    works.extend([PROCESSED, Work { payload: KIB, quick: false, ..PROCESSED }]);
    works.extend([ROUND_TRIP, ONE_CPU, Work { payload: MIB, ..ROUND_TRIP }]);
    works.extend([Work { payload: 64 * KIB, ..PACED }, Work { payload: 16 * MIB, ..PACED }]);
    works
}

/// The works whose system calls are counted.
pub(crate) fn system_calls() -> Vec<Work> {
    let sizes = [64, KIB].map(|payload| Work { payload, ..STREAM });
    let large = Work { payload: MIB, ..STREAM };
    [&sizes[..], &[large, Work { payload: KIB, ..PROCESSED }, ROUND_TRIP]].concat()
}

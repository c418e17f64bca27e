//! One promise, many tests: each is held on every bus on which it makes sense.

use std::future::Future;

use crate::support::WATCHDOG;

/// Turns async functions of `Place` into tests named `busway_unix::PROMISE`, `busway_lane::PROMISE`,
/// `busway_mixed::PROMISE`, `busway_tcp::PROMISE`,
/// `reference_unix::PROMISE`, `reference_tcp::PROMISE` and `in_process::PROMISE`.
///
/// What stands under `over_sockets` is about connections, which an in-process client has none of. A promise under
/// `busway_only` is one that the reference does not keep; there it is listed as ignored, with the reason. What
/// stands under `alone` takes no place and is tested once: it brings its own broker.
macro_rules! promises {
    (
        $(everywhere { $($all:ident)* })?
        $(over_sockets { $($remote:ident)* })?
        $(busway_only { $($why:literal: $ours:ident)* })?
        $(alone { $($alone:ident)* })?
    ) => {
        $crate::promises::place!(busway_unix, crate::bus::Place::BUSWAY_UNIX,
            [$($($all)*)? $($($remote)*)? $($($ours)*)?], []);
        $crate::promises::place!(busway_lane, crate::bus::Place::BUSWAY_LANE,
            [$($($all)*)? $($($remote)*)? $($($ours)*)?], []);
        $crate::promises::place!(busway_mixed, crate::bus::Place::BUSWAY_MIXED,
            [$($($all)*)? $($($remote)*)? $($($ours)*)?], []);
        $crate::promises::place!(busway_tcp, crate::bus::Place::BUSWAY_TCP,
            [$($($all)*)? $($($remote)*)? $($($ours)*)?], []);
        $crate::promises::place!(reference_unix, crate::bus::Place::REFERENCE_UNIX,
            [$($($all)*)? $($($remote)*)?], [$($($why: $ours)*)?]);
        $crate::promises::place!(reference_tcp, crate::bus::Place::REFERENCE_TCP,
            [$($($all)*)? $($($remote)*)?], [$($($why: $ours)*)?]);
        $crate::promises::place!(in_process, crate::bus::Place::InProcess, [$($($all)*)?], []);
        $(mod alone { $(#[test] fn $alone() { crate::promises::keep(super::$alone()); })* })?
    };
}

/// The tests of one place.
macro_rules! place {
    ($module:ident, $place:expr, [], []) => {};
    ($module:ident, $place:expr, [$($promise:ident)*], [$($why:literal: $other:ident)*]) => {
        mod $module {
            $(#[test] fn $promise() { crate::promises::keep(super::$promise($place)); })*
            $(#[test] #[ignore = $why] fn $other() { crate::promises::keep(super::$other($place)); })*
        }
    };
}

pub(crate) use {place, promises};

/// Runs a promise on a runtime of its own; the watchdog ends a hang.
pub(crate) fn keep(promise: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be started");
    runtime.block_on(async {
        tokio::time::timeout(WATCHDOG, promise).await.expect("watchdog: the promise hangs");
    });
}

//! Promises that are told by threads alone.

use std::panic::resume_unwind;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use busway::blocking::Client;
use busway::blocking::rpc::{Handlers, Rpc};
use busway::client::ConnectionState;

use crate::bus::{Bus, Place};
use crate::support::WATCHDOG;

/// As the promises of the client suite, for functions of `&Bus` without async code. A promise under `behind_sockets` may
/// stop the broker, which a broker in the same process cannot be.
macro_rules! threads {
    (
        $(everywhere { $($all:ident)* })?
        $(behind_sockets { $($remote:ident)* })?
        $(alone { $($alone:ident)* })?
    ) => {
        $crate::threads::place!(busway_unix, crate::bus::Place::BUSWAY_UNIX, [$($($all)*)? $($($remote)*)?]);
        $crate::threads::place!(busway_lane, crate::bus::Place::BUSWAY_LANE, [$($($all)*)? $($($remote)*)?]);
        $crate::threads::place!(busway_tcp, crate::bus::Place::BUSWAY_TCP, [$($($all)*)? $($($remote)*)?]);
        $crate::threads::place!(reference_unix, crate::bus::Place::REFERENCE_UNIX, [$($($all)*)? $($($remote)*)?]);
        $crate::threads::place!(reference_tcp, crate::bus::Place::REFERENCE_TCP, [$($($all)*)? $($($remote)*)?]);
        $crate::threads::place!(in_process, crate::bus::Place::InProcess, [$($($all)*)?]);
        $(mod alone { $(#[test] fn $alone() { crate::threads::keep(super::$alone); })* })?
    };
}

/// The tests of one place.
macro_rules! place {
    ($module:ident, $place:expr, []) => {};
    ($module:ident, $place:expr, [$($promise:ident)*]) => {
        mod $module {
            $(#[test] fn $promise() { crate::threads::keep(|| super::$promise(&mut crate::threads::open($place))); })*
        }
    };
}

pub(crate) use {place, threads};

/// Runs a promise on a thread of its own; the watchdog ends a hang.
pub(crate) fn keep(promise: impl FnOnce() + Send + 'static) {
    let (done, is_done) = channel::<()>();
    let thread = thread::spawn(move || {
        let _done = done;
        promise();
    });
    let timeout = is_done.recv_timeout(WATCHDOG);
    assert!(timeout != Err(std::sync::mpsc::RecvTimeoutError::Timeout), "watchdog: the promise hangs");
    thread.join().unwrap_or_else(|panic| resume_unwind(panic));
}

/// A bus with nothing special about it.
pub(crate) fn open(place: Place) -> Bus {
    at_once(place.open())
}

pub(crate) fn client(bus: &Bus, name: &str) -> Client {
    at_once(bus.client(name)).0
}

pub(crate) fn subscriber(bus: &Bus, name: &str, topics: &[&str]) -> Client {
    at_once(bus.subscriber(name, topics)).0
}

/// Longer than any promise takes: what ends before it does not end by it.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(3_600);

/// A service; its own calls have no deadline to speak of.
pub(crate) fn service(bus: &Bus, name: &str, handlers: impl Handlers) -> Rpc {
    Rpc::builder(client(bus, name)).deadline(FOR_EVER).start(handlers)
}

/// Who calls and serves nobody.
pub(crate) fn caller(bus: &Bus, name: &str) -> Rpc {
    service(bus, name, ())
}

pub(crate) fn wait_until_gone(bus: &Bus, name: &str) {
    at_once(bus.wait_until_gone(name));
}

/// The next frame's payload as text.
pub(crate) fn next_text(client: &Client) -> String {
    let frame = client.recv().unwrap_or_else(|| panic!("{} was to receive a frame", client.name()));
    text(frame.payload())
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

pub(crate) fn is_closed(client: &Client) -> bool {
    matches!(client.state(), ConnectionState::Closed { .. })
}

/// The words of the suites are async ones; nothing of the blocking client's is.
fn at_once<F: Future>(words: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime can be started").block_on(words)
}

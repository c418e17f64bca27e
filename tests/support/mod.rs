//! What every promise stands on: a broker to start, peers that speak raw bytes, and words for what is expected of them.
//!
//! Nothing here uses the library: a mistake made on both sides of a shared codec would prove itself right.

mod broker_process;
mod datagram;
mod delivery;
mod outcome;
mod peer;
mod promises;
mod request;
mod rest;
mod rpc;
mod setup;
mod stream;
mod temporary_directory;
mod watchdog;

pub(crate) use broker_process::BrokerProcess;
#[allow(unused_imports, reason = "for suites that listen in a service manager's or syslog's place")]
pub(crate) use datagram::next_datagram;
pub(crate) use delivery::{Delivery, Frame, Kind};
pub(crate) use outcome::Outcome;
pub(crate) use peer::{GREETING, WirePeer, registration};
pub(crate) use promises::promises;
pub(crate) use request::{Request, operation};
#[allow(unused_imports, reason = "for suites that look whether anybody is woken")]
pub(crate) use rest::{LITTLE, activity, expect_rest};
pub(crate) use rpc::{Call, CallError, fields, number, parameters, text, unpack};
pub(crate) use setup::{Flavor, Setup, Transport};
#[allow(unused_imports, reason = "for suites that bring a broker of their own")]
pub(crate) use stream::Stream;
pub(crate) use temporary_directory::TemporaryDirectory;
pub(crate) use watchdog::{WATCHDOG, eventually};

/// The result codes of the wire, by name.
pub(crate) mod code {
    pub(crate) const OK: u8 = 0x01;
    pub(crate) const NOT_REGISTERED: u8 = 0x71;
    pub(crate) const DATA: u8 = 0x72;
    pub(crate) const NOT_SUPPORTED: u8 = 0x75;
    pub(crate) const BUSY: u8 = 0x76;
    pub(crate) const NOT_DELIVERED: u8 = 0x77;
}

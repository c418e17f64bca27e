//! The payload of a message, as the RPC layer takes it apart.

#![no_main]

#[path = "../../net/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::rpc::payload(input));

//! Frames from a client, as a broker decodes them.

#![no_main]

#[path = "../../net/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::checks::client_frames(input));

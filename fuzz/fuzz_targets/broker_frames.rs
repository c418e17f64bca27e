//! Frames from a broker, as a client decodes them.

#![no_main]

#[path = "../../net/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::checks::broker_frames(input));

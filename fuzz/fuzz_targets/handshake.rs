//! The handshake of both sides, and the frames behind it.

#![no_main]

#[path = "../../net/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::checks::handshake(input));

//! What scripts write to the FIFO, cut into lines and taken apart.

#![no_main]

#[path = "../../net/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::fifo::lines(input));

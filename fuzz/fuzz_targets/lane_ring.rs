//! The ends of a lane against a process that shows something else at every look.

#![no_main]

#[path = "../../shm/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::checks::lane_ring(input));

//! The text of a configuration file, as buswayd reads it.

#![no_main]
#![allow(dead_code, reason = "buswayd uses the rest of these modules")]

#[path = "../../tools/buswayd/config.rs"]
mod config;
#[path = "../../tools/buswayd/config_check.rs"]
mod config_check;
#[path = "../../tools/buswayd/values.rs"]
mod values;

libfuzzer_sys::fuzz_target!(|input: &[u8]| config_check::config(input));

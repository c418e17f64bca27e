//! The fuzzers' corpora, each file once, as plain tests: what was ever found stays found.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use support::{checks, fifo, rpc};

/// Runs `check` over every file of a corpus.
fn holds_for_all_of(corpus: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(corpus);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}: the corpus is empty", folder.display());
    for file in files {
        let input = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&input)));
        assert!(outcome.is_ok(), "{}: see the panic above", file.display());
    }
}

#[test]
fn handshakes_hold() {
    holds_for_all_of("handshake", checks::handshake);
}

#[test]
fn client_frames_hold() {
    holds_for_all_of("client_frames", checks::client_frames);
}

#[test]
fn broker_frames_hold() {
    holds_for_all_of("broker_frames", checks::broker_frames);
}

#[test]
fn rpc_payloads_hold() {
    holds_for_all_of("rpc", rpc::payload);
}

#[test]
fn fifo_lines_hold() {
    holds_for_all_of("fifo", fifo::lines);
}

//! The fuzzer's corpus, each file once, as plain tests: what was ever found stays found.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

#[test]
fn lanes_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/lane_ring");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}: the corpus is empty", folder.display());
    for file in files {
        let input = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let outcome = std::panic::catch_unwind(|| support::checks::lane_ring(&input));
        assert!(outcome.is_ok(), "{}: see the panic above", file.display());
    }
}

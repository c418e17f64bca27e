//! `buswayd`, the daemon.
fn main() {}

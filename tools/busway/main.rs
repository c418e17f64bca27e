//! `busway`, the command line.
fn main() {}

//! The lock-free parts under a model checker: every order in which threads can run, every value that a load may see.
//!
//! `tools/loom` builds and runs this; an ordinary test run does not. Each fence is also left out once, and then the
//! model must fail: a model that cannot fail shows nothing.

#![cfg(loom)]

use std::env;
use std::process::{Command, Stdio};

use busway_shm::{Fence, without_fence};

mod memory;
mod returns;
mod ring;
mod space;

/// How often a thread is interrupted where it does not wait, unless `BUSWAY_PREEMPTIONS` says otherwise. Two are
/// enough for every fault that was put in on purpose; each one more multiplies the time by six.
const PREEMPTIONS: usize = 3;

/// Tells a test which fence to leave out.
const LEFT_OUT: &str = "BUSWAY_FENCE_LEFT_OUT";

const FENCES: [Fence; 4] = [Fence::Tail, Fence::Event, Fence::Head, Fence::SpaceEvent];

/// Runs `model` in every order.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let preemptions = env::var("BUSWAY_PREEMPTIONS").ok();
    let preemptions = preemptions.map_or(PREEMPTIONS, |number| number.parse().expect("a number of interruptions"));
    builder.preemption_bound = Some(preemptions);
    let left_out = env::var(LEFT_OUT).ok();
    match FENCES.into_iter().find(|fence| left_out == Some(format!("{fence:?}"))) {
        Some(fence) => without_fence(fence, || builder.check(model)),
        None => builder.check(model),
    }
}

/// The model `test` without a fence must end with a sleeper whom nobody wakes. In a process of its own: a deadlock
/// leaves the model checker in a state in which nothing can be dropped.
#[track_caller]
fn fails_without(fence: Fence, test: &str) {
    let output = Command::new(env::current_exe().expect("a test knows its program"))
        .args(["--exact", test, "--nocapture"])
        .env(LEFT_OUT, format!("{fence:?}"))
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .expect("a test can start its program");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("running 1 test"), "{test}: no such model: {said}");
    assert!(!output.status.success(), "{test}: no wake-up is lost without the fence");
    assert!(said.contains("deadlock; threads ="), "{test}: {said}");
}

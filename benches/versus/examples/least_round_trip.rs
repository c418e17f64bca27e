//! The least that a round trip through a third process can take on one processor: three processes that do nothing but
//! read a byte from a pipe and write one.
//!
//! ```sh
//! cargo run --release --target-dir target --manifest-path benches/versus/Cargo.toml --example least_round_trip
//! ```

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const WARM_UP: usize = 10_000;
const ROUND_TRIPS: usize = 300_000;

fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        None => middle(),
        Some("near") => near(),
        Some("far") => far(),
        Some(_) => Err(io::Error::other("no argument is expected")),
    }
}

/// Passes bytes on, both ways.
fn middle() -> io::Result<()> {
    stay_on_one_processor()?;
    let program = std::env::current_exe()?;
    let start = |role| Command::new(&program).arg(role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let (mut near, mut far) = (start("near")?, start("far")?);
    let missing = || io::Error::other("a child has no pipe");
    let (mut to_near, mut from_near) =
        (near.stdin.take().ok_or_else(missing)?, near.stdout.take().ok_or_else(missing)?);
    let (mut to_far, mut from_far) = (far.stdin.take().ok_or_else(missing)?, far.stdout.take().ok_or_else(missing)?);
    let mut byte = [0];
    while from_near.read(&mut byte)? == 1 {
        to_far.write_all(&byte)?;
        from_far.read_exact(&mut byte)?;
        to_near.write_all(&byte)?;
    }
    drop((to_near, to_far));
    near.wait()?;
    far.wait()?;
    Ok(())
}

fn near() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    let mut byte = [1];
    for number in 0..WARM_UP + ROUND_TRIPS {
        let start = Instant::now();
        output.write_all(&byte)?;
        output.flush()?;
        input.read_exact(&mut byte)?;
        if number >= WARM_UP {
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    eprintln!("p50 {:?}, p99 {:?}", times[ROUND_TRIPS / 2], times[ROUND_TRIPS / 100 * 99]);
    Ok(())
}

fn far() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut byte = [0];
    while input.read(&mut byte)? == 1 {
        output.write_all(&byte)?;
        output.flush()?;
    }
    Ok(())
}

fn stay_on_one_processor() -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(first);
    Ok(sched_setaffinity(None, &one)?)
}

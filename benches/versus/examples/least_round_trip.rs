//! The least that a round trip through a third process can take on one processor: three processes that do nothing but
//! read a byte from a pipe and write one.
//!
//! ```sh
//! cargo run --release --target-dir target --manifest-path benches/versus/Cargo.toml --example least_round_trip
//! ```
//!
//! With the argument `bells` they wait with tokio, and wake each other as the two sides of the lane do where broker and
//! client are of one user: by eventfds that are only watched, on the way back through an epoll instance. They carry
//! nothing.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const WARM_UP: usize = 10_000;
const ROUND_TRIPS: usize = 300_000;

fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        None => middle(),
        Some("near") => near(),
        Some("far") => far(),
        Some("bells") => with_tokio(middle_with_bells),
        Some("near-bells") => with_tokio(near_with_bells),
        Some("far-bells") => with_tokio(far_with_bells),
        Some(_) => Err(io::Error::other("no argument is expected, or `bells`")),
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
    say(times);
    Ok(())
}

fn say(mut times: Vec<Duration>) {
    times.sort_unstable();
    eprintln!("p50 {:?}, p99 {:?}", times[ROUND_TRIPS / 2], times[ROUND_TRIPS / 100 * 99]);
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

fn with_tokio<F: Future<Output = io::Result<()>>>(run: fn() -> F) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}

/// One of the two at the ends: its process, what it rings, and what rings it.
fn start_with_bells(role: &str) -> io::Result<(Child, AsyncFd<OwnedFd>, OwnedFd)> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let (rung, bell) = (eventfd(0, flags)?, eventfd(0, flags)?);
    let waiter = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&waiter, &bell, epoll::EventData::new_u64(0), epoll::EventFlags::IN | epoll::EventFlags::ET)?;
    let child = Command::new(std::env::current_exe()?)
        .arg(role)
        .stdin(Stdio::from(waiter))
        .stdout(Stdio::from(rung.try_clone()?))
        .spawn()?;
    Ok((child, watch(rung)?, bell))
}

async fn middle_with_bells() -> io::Result<()> {
    stay_on_one_processor()?;
    let (mut near, from_near, to_near) = start_with_bells("near-bells")?;
    let (mut far, from_far, to_far) = start_with_bells("far-bells")?;
    for _ in 0..WARM_UP + ROUND_TRIPS {
        wait(&from_near).await?;
        ring(&to_far)?;
        wait(&from_far).await?;
        ring(&to_near)?;
    }
    near.wait()?;
    far.wait()?;
    Ok(())
}

async fn near_with_bells() -> io::Result<()> {
    let bell = watch(own_bell()?)?;
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for number in 0..WARM_UP + ROUND_TRIPS {
        let start = Instant::now();
        ring(io::stdout())?;
        wait(&bell).await?;
        if number >= WARM_UP {
            times.push(start.elapsed());
        }
    }
    say(times);
    Ok(())
}

async fn far_with_bells() -> io::Result<()> {
    let bell = watch(own_bell()?)?;
    for _ in 0..WARM_UP + ROUND_TRIPS {
        wait(&bell).await?;
        ring(io::stdout())?;
    }
    Ok(())
}

fn own_bell() -> io::Result<OwnedFd> {
    io::stdin().as_fd().try_clone_to_owned()
}

#[allow(deprecated, reason = "deprecated for sources that may change their descriptor: `OwnedFd` cannot")]
fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

async fn wait(rung: &AsyncFd<OwnedFd>) -> io::Result<()> {
    rung.readable().await?.clear_ready();
    Ok(())
}

fn ring(bell: impl AsFd) -> io::Result<()> {
    rustix::io::write(bell, &1u64.to_ne_bytes())?;
    Ok(())
}

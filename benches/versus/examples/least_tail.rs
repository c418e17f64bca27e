//! The least that a small message through a third process takes while two others write and read 16 MiB payloads: three
//! processes that do nothing but pass a time on through pipes, 1,000 times a second, and then keep their processor for
//! a while, as what a real client and broker do with a message does.
//!
//! ```sh
//! cargo run --release --target-dir target --manifest-path benches/versus/Cargo.toml --example least_tail -- 20
//! ```
//!
//! The argument is that while, in microseconds (0 if there is none).

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

const MESSAGES: usize = 3_000;
const INTERVAL: Duration = Duration::from_millis(1);
const PAYLOAD: usize = 16 << 20;
/// Payloads on their way.
const WINDOW: usize = 4;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let work = |text: &str| text.parse().map(Duration::from_micros).map_err(io::Error::other);
    match words[..] {
        ["source", time] => source(work(time)?),
        ["sink", time] => sink(work(time)?),
        ["writer"] => writer(),
        ["reader"] => reader(),
        [] => measure("0", Duration::ZERO),
        [time] => measure(time, work(time)?),
        _ => Err(io::Error::other("one argument is expected: microseconds of work for each message")),
    }
}

fn measure(time: &str, work: Duration) -> io::Result<()> {
    eprint!("quiet:  ");
    pass_on(time, work)?;
    let mut writer = start(&["writer"], Stdio::piped(), Stdio::piped())?;
    let (input, output) = (pipe_of(writer.stdout.take())?, pipe_of(writer.stdin.take())?);
    let mut reader = start(&["reader"], input.into(), output.into())?;
    eprint!("beside: ");
    let outcome = pass_on(time, work);
    for hog in [&mut writer, &mut reader] {
        hog.kill()?;
        hog.wait()?;
    }
    outcome
}

/// What the broker is.
fn pass_on(time: &str, work: Duration) -> io::Result<()> {
    let mut source = start(&["source", time], Stdio::null(), Stdio::piped())?;
    let mut sink = start(&["sink", time], Stdio::piped(), Stdio::inherit())?;
    let (mut input, mut output) = (pipe_of(source.stdout.take())?, pipe_of(sink.stdin.take())?);
    let mut message = [0; 8];
    while input.read_exact(&mut message).is_ok() {
        output.write_all(&message)?;
        work_for(work);
    }
    drop(output);
    source.wait()?;
    sink.wait()?;
    Ok(())
}

fn start(arguments: &[&str], input: Stdio, output: Stdio) -> io::Result<Child> {
    Command::new(std::env::current_exe()?).args(arguments).stdin(input).stdout(output).spawn()
}

fn pipe_of<P>(pipe: Option<P>) -> io::Result<P> {
    pipe.ok_or_else(|| io::Error::other("a child has no pipe"))
}

fn source(work: Duration) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for _ in 0..MESSAGES {
        std::thread::sleep(INTERVAL);
        output.write_all(&now().to_le_bytes())?;
        output.flush()?;
        work_for(work);
    }
    Ok(())
}

fn sink(work: Duration) -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut times = Vec::with_capacity(MESSAGES);
    let mut message = [0; 8];
    while input.read_exact(&mut message).is_ok() {
        times.push(Duration::from_nanos(now() - u64::from_le_bytes(message)));
        work_for(work);
    }
    times.sort_unstable();
    let at = |per_mille: usize| times[times.len() * per_mille / 1000];
    eprintln!("p50 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999));
    Ok(())
}

fn writer() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut payload = vec![0_u64; PAYLOAD / 8];
    let mut byte = [0];
    for number in 0.. {
        if number >= WINDOW {
            input.read_exact(&mut byte)?;
        }
        payload.fill(number as u64);
        black_box(&payload);
        output.write_all(&byte)?;
        output.flush()?;
    }
    Ok(())
}

fn reader() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let payload = vec![1_u64; PAYLOAD / 8];
    let mut byte = [0];
    while input.read(&mut byte)? == 1 {
        black_box(black_box(&payload).iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)));
        output.write_all(&byte)?;
        output.flush()?;
    }
    Ok(())
}

fn work_for(time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Nanoseconds on the clock that all processes have.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

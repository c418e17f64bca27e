//! The command line of `busway benchmark`.

use std::time::Duration;

use busway::Limits;
use clap::{Args, ValueEnum};

use super::row::Row;
use crate::options::seconds;

/// Measure a broker: the rows of `busrt benchmark`, one-to-many and round trips.
///
/// All clients are in this process. Payloads are bytes that the program has already: sockets send them from where they
/// lie, the shared-memory lane copies them once. Every payload of 8 bytes or more carries a number. A frame counts as
/// received when it has arrived, is as long as it was and comes in its place. A row ends when the last frame has arrived.
/// Before it begins, a quarter of its time (at most half a second) or a tenth of its operations go uncounted.
///
/// No client is sent more than --window frames and 16 MiB (or one frame, if that is longer) that it has not read, so that
/// a broker with the usual queues (8192 frames, 64 MiB) cuts nobody; for longer payloads than these, raise --queue-bytes of
/// the broker. Latencies are those of rows in which a worker waits for each answer.
///
/// SIGINT (Ctrl-C) ends it with what was measured until then. Exit codes: 0 done; 1 frames were lost, or something
/// was refused; 2 wrong usage; 3 cannot connect, or the broker went.
#[derive(Clone, Debug, Args)]
pub(crate) struct Benchmark {
    /// Workers at once, each with clients of its own
    #[arg(short = 'w', long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: u16,

    /// Length of a payload (suffixes K, M, or KiB, MiB: powers of 1024; at most 255M)
    #[arg(long, default_value = "100", value_name = "BYTES", value_parser = payload_bytes)]
    pub(crate) payload_size: usize,

    /// Operations of each row, of all workers together, in place of --seconds
    #[arg(short = 'i', long, alias = "iters", value_name = "COUNT", conflicts_with = "seconds",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub(crate) iterations: Option<u64>,

    /// Seconds that each row takes
    #[arg(short = 's', long, default_value = "2", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Measure this row alone; repeatable [default: all of them]
    #[arg(long = "row", value_name = "ROW", value_enum)]
    pub(crate) rows: Vec<Row>,

    /// Subscribers of each worker in the rows publish+recv
    #[arg(long, default_value_t = 4, value_name = "CLIENTS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) receivers: u16,

    /// Frames that may be on their way to a client
    #[arg(long, default_value_t = 1024, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) window: u32,

    /// Threads that run the workers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,

    /// How to exchange frames with a local broker
    #[arg(long, value_enum, default_value_t = Path::Auto)]
    pub(crate) transport: Path,
}

/// By which way frames travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Path {
    /// The lane if the broker has one, otherwise the socket
    Auto,
    /// The shared-memory lane, or not at all
    Lane,
    /// The socket
    Socket,
}

/// Calls put a head before what they carry: what is left is a round number.
const HEAD: usize = 1 << 20;

fn payload_bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        _ => return Err("the suffixes are K and M".to_owned()),
    };
    let number: usize = digits.parse().map_err(|_| "not a number of bytes".to_owned())?;
    let longest = Limits::default().max_payload - HEAD;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes <= longest);
    bytes.ok_or_else(|| format!("at most {longest} bytes"))
}

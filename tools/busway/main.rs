//! `busway`, the command line: listens, sends, publishes, calls, asks the broker.

#![forbid(unsafe_code)]

mod benchmark;
mod broker;
mod connection;
mod failure;
mod listen;
mod man;
#[path = "../manual.rs"]
mod manual;
mod options;
mod output;
mod params;
mod payload;
mod rpc;
mod rpc_listen;
mod send;

use std::process::ExitCode;

use clap::Parser;

use failure::Failure;
use options::{Command, Options};
use output::Output;

#[cfg(not(feature = "std-alloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::WARN.into())
        .from_env_lossy();
    // Failures to log would be told to standard error, by a call that panics when that is closed.
    let log = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    log.with_writer(std::io::stderr).with_target(false).init();
    let mut output = Output::new(options.json);
    match run(&options, &mut output).and_then(|()| output.finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

fn run(options: &Options, output: &mut Output) -> Result<(), Failure> {
    match &options.command {
        Command::Completions { shell } => man::completions(*shell),
        Command::Man { directory } => man::pages(directory.as_deref()),
        command => connected(options, command, output),
    }
}

/// What talks to a broker.
fn connected(options: &Options, command: &Command, output: &mut Output) -> Result<(), Failure> {
    let threads = match command {
        Command::Benchmark(command) => command.threads.into(),
        _ => 1,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start the runtime: {error}")))?;
    let ended = runtime.block_on(async {
        match command {
            Command::Listen(command) => listen::run(options, command, output).await,
            Command::Send(command) => send::send(options, command, output).await,
            Command::Publish(command) => send::publish(options, command, output).await,
            Command::Rpc(command) => rpc::run(options, command, output).await,
            Command::Broker(command) => broker::run(options, *command, output).await,
            Command::Benchmark(command) => benchmark::run(options, command, output).await,
            Command::Completions { .. } | Command::Man { .. } => Ok(()),
        }
    });
    if ended.is_err() {
        // What still waits to be sent concerns nobody any more.
        runtime.shutdown_background();
    }
    ended
}

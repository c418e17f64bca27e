//! `busway`, the command line: listens, sends, publishes, calls, asks the broker.

#![forbid(unsafe_code)]

mod benchmark;
mod broker;
mod connection;
mod ending;
mod failure;
#[path = "../filters.rs"]
mod filters;
mod listen;
mod losses;
mod man;
#[path = "../manual.rs"]
mod manual;
mod names;
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
    let log = log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    log.with_writer(std::io::stderr).with_target(false).init();
    match &options.command {
        Command::Completions { shell } => exit_code(man::completions(*shell)),
        Command::Man { directory } => exit_code(man::pages(directory.as_deref())),
        command => connected(&options, command).unwrap_or_else(|failure| exit_code(Err(failure))),
    }
}

/// How the program ends; the user is told why.
fn exit_code(ended: Result<(), Failure>) -> ExitCode {
    let Err(failure) = ended else { return ExitCode::SUCCESS };
    failure.report();
    failure.exit_code()
}

/// What talks to a broker.
fn connected(options: &Options, command: &Command) -> Result<ExitCode, Failure> {
    let threads = match command {
        Command::Benchmark(command) => command.threads.into(),
        _ => 1,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start the runtime: {error}")))?;
    connection::check_endpoint(options);
    let code = runtime.block_on(async {
        let output = &mut Output::new(options.json);
        let ended = match command {
            Command::Listen(command) => listen::run(options, command, output).await,
            Command::Send(command) => send::send(options, command, output).await,
            Command::Publish(command) => send::publish(options, command, output).await,
            Command::Rpc(command) => rpc::run(options, command, output).await,
            Command::Broker(command) => broker::run(options, *command, output).await,
            Command::Benchmark(command) => benchmark::run(options, command, output).await,
            Command::Completions { .. } | Command::Man { .. } => Ok(()),
        };
        // As long as the runtime runs it hears signals, should nobody take the last words.
        exit_code(ended.and_then(|()| output.finish()))
    });
    // Every command has waited for what it sent: what still waits concerns nobody any more.
    runtime.shutdown_background();
    Ok(code)
}

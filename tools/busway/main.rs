//! `busway`, the command line: listens, sends, publishes, calls, asks the broker.

#![forbid(unsafe_code)]

mod broker;
mod connection;
mod failure;
mod listen;
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
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        match &options.command {
            Command::Listen(command) => listen::run(options, command, output).await,
            Command::Send(command) => send::send(options, command, output).await,
            Command::Publish(command) => send::publish(options, command, output).await,
            Command::Rpc(command) => rpc::run(options, command, output).await,
            Command::Broker(command) => broker::run(options, *command, output).await,
        }
    })
}

//! `buswayd`, the daemon: reads its options, starts a broker, ends it cleanly.

#![forbid(unsafe_code)]

mod background;
mod config;
#[cfg(test)]
mod config_check;
#[path = "../filters.rs"]
mod filters;
mod log_queue;
mod logs;
#[path = "../manual.rs"]
mod manual;
mod options;
mod pid_file;
mod reload;
mod service_manager;
mod values;
mod warnings;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use busway::Endpoint;
use busway::broker::Broker;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use config::ConfigFile;
use options::Options;
use pid_file::PidFile;
use reload::Reloader;
use service_manager::Inherited;

#[cfg(not(feature = "std-alloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let (mut options, file) = Options::read();
    if let Some(output) = options.print() {
        return printed(output);
    }
    if let Some(file) = file.as_ref().filter(|_| options.check) {
        for warning in file.warnings() {
            let _ = writeln!(io::stderr(), "buswayd: warning: {warning}");
        }
        return printed(manual::print(format!("{}: correct\n", file.path.display()).as_bytes()));
    }
    let is_watched = options.daemonize && !options.detached && service_manager::waits_for_this_process();
    options.daemonize &= !is_watched;
    let done =
        if options.daemonize && !options.detached { background::launch() } else { run(options, file, is_watched) };
    let code = done.unwrap_or_else(|error| {
        logs::fail(&error);
        ExitCode::FAILURE
    });
    logs::flush();
    code
}

/// What was asked for in place of a broker.
fn printed(output: io::Result<()>) -> ExitCode {
    let Err(error) = output else { return ExitCode::SUCCESS };
    let _ = writeln!(io::stderr(), "buswayd: cannot write the output: {error}");
    ExitCode::FAILURE
}

type Failure = Box<dyn std::error::Error>;

/// `is_watched`: it would be in the background, if nobody waited for this very process.
fn run(options: Options, file: Option<ConfigFile>, is_watched: bool) -> Result<ExitCode, Failure> {
    let sockets = service_manager::sockets()?;
    if options.detached {
        background::leave_session()?;
    }
    logs::start(&options)?;
    if is_watched {
        tracing::warn!("it stays in the foreground: the service manager waits for this process; remove daemonize (-D)");
    }
    raise_descriptor_limit();
    let runtime = match options.workers() {
        // One thread needs nobody to share its work with.
        1 => tokio::runtime::Builder::new_current_thread(),
        workers => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(workers).thread_name("buswayd");
            builder
        }
    }
    .enable_all()
    .build()
    .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let served = runtime.block_on(serve(options, file, sockets));
    // Whoever still looks up users for a reload is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(options: Options, file: Option<ConfigFile>, sockets: Vec<Inherited>) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for warning in file.as_ref().map(ConfigFile::warnings).unwrap_or_default() {
        tracing::warn!("{warning}");
    }
    let mut reloader = Reloader::new(file)?;
    let _pid_file = options.pid_file.as_deref().map(PidFile::create).transpose()?;
    let broker = options.broker(sockets)?.start().await?;
    for endpoint in broker.endpoints() {
        tracing::info!("listening on {endpoint}");
        if matches!(endpoint, Endpoint::Tcp(_)) {
            tracing::warn!("{endpoint}: TCP has neither authentication nor encryption; keep it to trusted hosts");
        }
    }
    if let Some(endpoint) = broker.endpoints().first() {
        tracing::info!("try in another terminal: busway -c {endpoint} listen -t '#'");
    }
    if options.detached {
        logs::flush();
        background::detach()?;
    }
    service_manager::tell_ready();
    let name = {
        let signs_of_life = service_manager::give_signs_of_life(&broker, options.timeout);
        tokio::select! {
            name = wait(&mut terminate, &mut interrupt) => name,
            // Rules may name users whom a directory far away knows: the others go on meanwhile.
            () = reloader.reload_when_asked(&broker) => "SIGHUP",
            never = signs_of_life => match never {},
        }
    };
    tracing::info!("{name}: ending");
    service_manager::tell_stopping();
    end(broker).await;
    Ok(())
}

async fn wait(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

async fn end(broker: Broker) {
    if tokio::time::timeout(Duration::from_secs(5), broker.shut_down()).await.is_err() {
        tracing::error!("clients did not let go of the broker in time");
    }
}

/// A broker with many clients needs more descriptors than most systems give at first; each client costs one.
fn raise_descriptor_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!("the limit of {soft} descriptors stays: {error}");
    }
}

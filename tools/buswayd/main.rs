//! `buswayd`, the daemon: reads its options, starts a broker, ends it cleanly.

#![forbid(unsafe_code)]

mod config;
#[cfg(test)]
mod config_check;
mod logs;
#[path = "../manual.rs"]
mod manual;
mod options;
mod reload;
mod values;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use busway::Endpoint;
use busway::broker::Broker;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use config::ConfigFile;
use options::Options;
use reload::Reloader;

#[cfg(not(feature = "std-alloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let (options, file) = Options::read();
    match options.print() {
        None => {}
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(error)) => {
            let _ = writeln!(io::stderr(), "buswayd: cannot write the output: {error}");
            return ExitCode::FAILURE;
        }
    }
    if let Some(file) = file.as_ref().filter(|_| options.check) {
        #[allow(clippy::print_stdout, reason = "the answer that was asked for")]
        {
            println!("{}: correct", file.path.display());
        }
        return ExitCode::SUCCESS;
    }
    match run(options, file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

fn run(options: Options, file: Option<ConfigFile>) -> Result<(), Failure> {
    logs::start(&options)?;
    if options.daemonize {
        nix::unistd::daemon(true, false).map_err(|error| format!("cannot become a daemon: {error}"))?;
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
    runtime.block_on(serve(options, file))
}

async fn serve(options: Options, file: Option<ConfigFile>) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reloader = Reloader::new(file)?;
    let broker = options.broker()?.start().await?;
    let _pid_file = options.pid_file.as_deref().map(PidFile::create).transpose()?;
    for endpoint in broker.endpoints() {
        tracing::info!("listening on {endpoint}");
        if matches!(endpoint, Endpoint::Tcp(_)) {
            tracing::warn!("{endpoint}: TCP has neither authentication nor encryption; keep it to trusted hosts");
        }
    }
    if let Some(endpoint) = broker.endpoints().first() {
        tracing::info!("try in another terminal: busway -c {endpoint} listen -t '#'");
    }
    // Outside of systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let name = loop {
        tokio::select! {
            name = wait(&mut terminate, &mut interrupt) => break name,
            () = reloader.asked() => reloader.reload(&broker).await,
        }
    };
    tracing::info!("{name}: ending");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
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

/// A file with this process's number, removed at the end.
struct PidFile(PathBuf);

impl PidFile {
    fn create(path: &std::path::Path) -> Result<Self, Failure> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|error| format!("cannot write the pid file {}: {error}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

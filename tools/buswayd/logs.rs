//! Where the log goes: standard error, or syslog.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::log_queue::{LogQueue, QueuedSyslog};
use crate::options::Options;

/// Starts logging.
pub(crate) fn start(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let level = if options.verbose { LevelFilter::TRACE } else { LevelFilter::INFO };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    if (options.log_syslog || options.daemonize) && syslog_is_there() {
        IS_ELSEWHERE.store(true, Ordering::Relaxed);
        let identity = c"buswayd";
        let syslog =
            syslog_tracing::Syslog::new(identity, syslog_tracing::Options::LOG_PID, syslog_tracing::Facility::Daemon)
                .ok_or("syslog is in use already")?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .log_internal_errors(false)
            .with_writer(QueuedSyslog { queue: QUEUE.get_or_init(LogQueue::to_stderr), syslog })
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .init();
    } else {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            // It would be told to standard error, by a call that panics when that is closed.
            .log_internal_errors(false)
            .with_writer(QUEUE.get_or_init(LogQueue::to_stderr))
            .with_ansi(is_terminal)
            .with_target(false)
            .init();
        if options.daemonize {
            tracing::warn!("there is no syslog ({SYSLOG} is missing): from now on the log of the daemon goes nowhere");
        } else if options.log_syslog {
            tracing::warn!("there is no syslog ({SYSLOG} is missing): the log goes to standard error");
        }
    }
    Ok(())
}

/// Says why the daemon ends, also on standard error when the log is elsewhere.
pub(crate) fn fail(error: &dyn Display) {
    tracing::error!("{error}");
    // Also when it is not started, or the environment wants no errors in it.
    if IS_ELSEWHERE.load(Ordering::Relaxed) || !tracing::enabled!(Level::ERROR) {
        let _ = writeln!(std::io::stderr(), "buswayd: {error}");
    }
}

/// Waits a moment until what was logged is written.
pub(crate) fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(FLUSH_PATIENCE);
    }
}

/// What waits for standard error or syslog.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// How long [`flush`] waits for whoever reads the log.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// The log is not on standard error.
static IS_ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Where the system's library writes to; it drops what it cannot write.
const SYSLOG: &str = "/dev/log";

fn syslog_is_there() -> bool {
    Path::new(SYSLOG).exists()
}

//! Where the log goes: standard error, or syslog.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::options::Options;

/// Starts logging.
pub(crate) fn start(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let level = if options.verbose { LevelFilter::TRACE } else { LevelFilter::INFO };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    if options.log_syslog || options.daemonize {
        let identity = c"buswayd";
        let syslog =
            syslog_tracing::Syslog::new(identity, syslog_tracing::Options::LOG_PID, syslog_tracing::Facility::Daemon)
                .ok_or("syslog is in use already")?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(syslog)
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .init();
    } else {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(is_terminal)
            .with_target(false)
            .init();
    }
    Ok(())
}

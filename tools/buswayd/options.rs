//! The command line of `buswayd`.

use std::path::PathBuf;
use std::time::Duration;

use busway::broker::{AccessRules, Broker, Builder};
use busway::{Endpoint, ShmTrust, SlowPolicy};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use clap_complete::Shell;

use crate::config::{Config, ConfigFile, NamedPolicy};
use crate::manual;
use crate::service_manager::Inherited;
use crate::values::{
    bytes, endpoint, mode, on_or_off, payload_bytes, positive, seconds, spin_micros, wait_seconds, workers,
};

/// Fast IPC broker that speaks the BUS/RT protocol.
///
/// Without options it listens on the default socket: /run/busway/busway.sock for root, otherwise
/// $XDG_RUNTIME_DIR/busway.sock, otherwise /tmp/busway-UID/busway.sock; in a service of systemd, busway.sock in its
/// runtime directory, or the sockets that systemd passes. RUST_LOG sets what is logged (for example RUST_LOG=debug).
///
/// A configuration file (--config) has the same words as keys, and access rules: who may connect under which name, and
/// to what each may send messages, publish, subscribe and broadcast. Switches are true or false there, and bind is a
/// list; max-subscriptions and slow-receivers-by-name exist only there. The command line takes precedence over the file.
/// SIGHUP puts the access rules of the file in force as they are then; a file with an error changes nothing. Without a file
/// it ends a broker that was started from a terminal, and does nothing to others.
///
/// Sizes are bytes, or have a suffix: K, M or G, or the same as KiB, MiB or GiB; all are powers of 1024.
///
/// Exit codes: 0 when SIGTERM or SIGINT has ended it (with -D: when it listens), 1 when it could not start or has failed,
/// 2 for wrong usage or an error in the configuration file.
#[derive(Debug, Parser, PartialEq)]
#[command(name = "buswayd", version)]
pub(crate) struct Options {
    /// Where to listen: a path (has a / in it or ends in .sock, .socket or .ipc), HOST:PORT, or fifo:PATH; repeatable.
    /// unix:PATH and tcp://HOST:PORT are taken, too.
    ///
    /// A FIFO takes commands from shell scripts, one a line: TARGET TEXT, =TOPIC TEXT, TARGET .NOTIFICATION or
    /// TARGET :METHOD KEY=VALUE...
    #[arg(short = 'B', long = "bind", value_name = "ENDPOINT", value_parser = endpoint)]
    bind: Vec<String>,

    /// Read options and access rules from this file (TOML); options on the command line take precedence over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Say whether the file is correct, and end: with 0 if it is, with 2 and the first error if it is not
    #[arg(long, requires = "config")]
    pub(crate) check: bool,

    /// Write the process id to this file while running; one of a broker that still runs is not taken from it
    #[arg(short = 'P', long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// Run in the background; returns when the broker listens, or says why it does not. Logs go to syslog
    #[arg(short = 'D', long)]
    pub(crate) daemonize: bool,

    /// The one in the background
    #[arg(long, hide = true)]
    pub(crate) detached: bool,

    /// Worker threads [default: half of the processors, at least 1 and at most 4]
    #[arg(short = 'w', long, value_parser = workers)]
    workers: Option<u16>,

    /// Seconds that a handshake may take and a frame may stand still; a client silent for 1.25 times as long is
    /// dropped
    #[arg(short = 't', long, default_value = "5", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Duration,

    /// Accepted for compatibility, without effect: read buffers size themselves
    #[arg(long, default_value_t = 16384, value_name = "BYTES")]
    buf_size: usize,

    /// Accepted for compatibility, without effect: buffers are written at the end of each batch (microseconds)
    #[arg(long, default_value_t = 10, value_name = "MICROSECONDS")]
    buf_ttl: u64,

    /// Frames that may wait for one client; one that is slower is dealt with as --slow-receivers says
    #[arg(long, default_value_t = 8192, value_name = "FRAMES", value_parser = positive)]
    queue_size: usize,

    /// Bytes that may wait for one client (suffixes K, M, G)
    #[arg(long, default_value = "64M", value_name = "BYTES", value_parser = bytes)]
    queue_bytes: usize,

    /// What happens when more would wait for a client: it is cut, frames for it are dropped (drop-newest, drop-oldest,
    /// or all but the latest of each topic), or whoever sends to it waits for so many seconds (wait:SECONDS); clients may
    /// choose for themselves
    #[arg(long, default_value = "cut", value_name = "cut|drop-newest|drop-oldest|latest|wait:SECONDS")]
    slow_receivers: SlowPolicy,

    /// Seconds for which a client may ask to let its senders wait; 0 refuses all
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = wait_seconds)]
    max_wait: Duration,

    /// Longest payload (suffixes K, M, G; at most 2G); who sends a longer one is disconnected
    #[arg(long, default_value = "256M", value_name = "BYTES", value_parser = payload_bytes)]
    max_payload: usize,

    /// Clients at once
    #[arg(long, default_value_t = 10_000, value_name = "CLIENTS", value_parser = positive)]
    max_clients: usize,

    /// Mode of UNIX sockets, octal
    #[arg(long, default_value = "0660", value_name = "MODE", value_parser = mode)]
    socket_mode: u32,

    /// The shared-memory lane for local clients that know it: they exchange payloads without copying them
    #[arg(long, default_value = "on", value_name = "on|off", value_parser = on_or_off, action = clap::ArgAction::Set)]
    shm: bool,

    /// Whose payloads are read in place; others are copied
    #[arg(long, default_value = "same-user", value_name = "same-user|all|none")]
    shm_trust: ShmTrust,

    /// Shared memory for all clients together (suffixes K, M, G) [default: a quarter of the machine's memory (of the
    /// control group's, where that is less)]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    shm_bytes: Option<usize>,

    /// Shared memory for the payloads of one client (suffixes K, M, G)
    #[arg(long, default_value = "1G", value_name = "BYTES", value_parser = bytes)]
    shm_client_bytes: usize,

    /// Microseconds for which the broker looks for the next frame of a lane before it sleeps, up to four times as many
    /// where waking a processor takes long; 0: never. It looks only while frames come sooner for it, or come within a
    /// quarter of that time after each other, and looking takes a part of a processor
    #[arg(long, default_value_t = 100, value_name = "MICROSECONDS", value_parser = spin_micros)]
    spin: u64,

    /// A new client takes over the name of an older one, which is dropped; names of secondary clients (NAME%%N) are not
    /// taken
    #[arg(long)]
    force_register: bool,

    /// Log to syslog
    #[arg(long)]
    pub(crate) log_syslog: bool,

    /// Log every step
    #[arg(long)]
    pub(crate) verbose: bool,

    /// Print what teaches a shell to complete this command line, and end
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<Shell>,

    /// Print the man page, and end
    #[arg(long, exclusive = true)]
    man: bool,

    /// Of the configuration file alone.
    #[arg(skip)]
    max_subscriptions: Option<usize>,

    /// Of the configuration file alone.
    #[arg(skip)]
    slow_receivers_by_name: Vec<NamedPolicy>,

    /// Of the configuration file alone.
    #[arg(skip)]
    access: Option<AccessRules>,
}

impl Options {
    /// What the command line says, and where it says nothing the configuration file. An error in either ends the program
    /// with 2.
    pub(crate) fn read() -> (Self, Option<ConfigFile>) {
        let mut command = Self::command();
        let matches = command.get_matches_mut();
        let mut options = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let file = options.config.as_deref().map(|path| {
            ConfigFile::read(path).unwrap_or_else(|error| command.error(ErrorKind::ValueValidation, error).exit())
        });
        if let Some(file) = &file {
            options.settle(file.config.clone(), &matches);
        }
        (options, file)
    }

    /// Takes what a file says, except for what the command line has said.
    fn settle(&mut self, config: Config, matches: &ArgMatches) {
        let settle = Settle(matches);
        settle.value("bind", &mut self.bind, config.bind);
        settle.value("pid_file", &mut self.pid_file, config.pid_file.map(Some));
        settle.value("daemonize", &mut self.daemonize, config.daemonize);
        settle.value("workers", &mut self.workers, config.workers.map(Some));
        settle.value("timeout", &mut self.timeout, config.timeout);
        settle.value("buf_size", &mut self.buf_size, config.buf_size);
        settle.value("buf_ttl", &mut self.buf_ttl, config.buf_ttl);
        settle.value("queue_size", &mut self.queue_size, config.queue_size);
        settle.value("queue_bytes", &mut self.queue_bytes, config.queue_bytes);
        settle.value("slow_receivers", &mut self.slow_receivers, config.slow_receivers);
        settle.value("max_wait", &mut self.max_wait, config.max_wait);
        settle.value("max_payload", &mut self.max_payload, config.max_payload);
        settle.value("max_clients", &mut self.max_clients, config.max_clients);
        settle.value("socket_mode", &mut self.socket_mode, config.socket_mode);
        settle.value("shm", &mut self.shm, config.shm);
        settle.value("shm_trust", &mut self.shm_trust, config.shm_trust);
        settle.value("shm_bytes", &mut self.shm_bytes, config.shm_bytes.map(Some));
        settle.value("shm_client_bytes", &mut self.shm_client_bytes, config.shm_client_bytes);
        settle.value("spin", &mut self.spin, config.spin);
        settle.value("force_register", &mut self.force_register, config.force_register);
        settle.value("log_syslog", &mut self.log_syslog, config.log_syslog);
        settle.value("verbose", &mut self.verbose, config.verbose);
        self.max_subscriptions = config.max_subscriptions;
        self.slow_receivers_by_name = config.slow_receivers_by_name.unwrap_or_default();
        self.access = config.access;
    }

    /// Prints what was asked for in place of a broker.
    pub(crate) fn print(&self) -> Option<std::io::Result<()>> {
        let text = match self.completions {
            Some(shell) => Ok(manual::completions(Self::command(), shell)),
            None if self.man => {
                manual::pages(Self::command()).map(|pages| pages.into_iter().flat_map(|page| page.text).collect())
            }
            None => return None,
        };
        Some(text.and_then(|text: Vec<u8>| manual::print(&text)))
    }

    pub(crate) fn workers(&self) -> usize {
        // The other half is for the clients: on few processors a second worker mostly costs wake-ups.
        let half = || (std::thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, 4);
        self.workers.map_or_else(half, usize::from)
    }

    /// The broker that was asked for, on the sockets that were passed too.
    pub(crate) fn broker(&self, sockets: Vec<Inherited>) -> Result<Builder, Box<dyn std::error::Error>> {
        tracing::debug!(self.buf_size, self.buf_ttl, "accepted for compatibility, without effect");
        let mut builder = Broker::builder()
            .timeout(self.timeout)
            .queue(self.queue_size, self.queue_bytes)
            .slow_policy(self.slow_receivers)
            .max_wait(self.max_wait)
            .max_payload(self.max_payload)
            .max_clients(self.max_clients)
            .socket_mode(self.socket_mode)
            .force_register(self.force_register)
            .shm(self.shm)
            .shm_trust(self.shm_trust)
            .shm_client_bytes(self.shm_client_bytes as u64)
            .busy_poll(Duration::from_micros(self.spin));
        if let Some(bytes) = self.shm_bytes {
            builder = builder.shm_bytes(bytes as u64);
        }
        if let Some(subscriptions) = self.max_subscriptions {
            builder = builder.max_subscriptions(subscriptions);
        }
        for NamedPolicy { name, policy } in &self.slow_receivers_by_name {
            builder = builder.slow_policy_of(name, *policy);
        }
        if let Some(rules) = &self.access {
            builder = builder.access(rules.clone());
        }
        for endpoint in &self.bind {
            if let Some(path) = endpoint.strip_prefix("fifo:") {
                builder = builder.fifo(path);
                continue;
            }
            let endpoint = Endpoint::from(endpoint);
            if sockets.iter().any(|socket| socket.is_bound_to(&endpoint)) {
                tracing::debug!("{endpoint}: a socket that was bound there was passed");
            } else {
                builder = builder.endpoint(endpoint);
            }
        }
        let is_passed = !sockets.is_empty();
        for socket in sockets {
            builder = match socket {
                Inherited::Unix(listener) => builder.unix_listener(listener),
                Inherited::Tcp(listener) => builder.tcp_listener(listener),
            };
        }
        if self.bind.is_empty() && !is_passed {
            let path = default_socket().map_err(|error| {
                // An error that the system did not make says it already.
                let advice = if error.get_ref().is_some() { "" } else { "; choose one with -B" };
                format!("no place for the default socket: {error}{advice}")
            })?;
            builder = builder.endpoint(Endpoint::Unix(path));
        }
        Ok(builder)
    }
}

/// A service has a directory of its own, whoever its user is.
fn default_socket() -> std::io::Result<PathBuf> {
    let directories = std::env::var_os("RUNTIME_DIRECTORY").filter(|directories| !directories.is_empty());
    match directories.as_ref().and_then(|directories| std::env::split_paths(directories).next()) {
        Some(directory) => Ok(directory.join("busway.sock")),
        None => busway::default_socket(),
    }
}

/// Which options the command line has said.
struct Settle<'a>(&'a ArgMatches);

impl Settle<'_> {
    fn value<T>(&self, option: &str, place: &mut T, value: Option<T>) {
        if let Some(value) = value
            && self.0.value_source(option) != Some(ValueSource::CommandLine)
        {
            *place = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn busrtd_s_own_options_are_taken_unchanged() {
        let line = "buswayd -B /tmp/a.sock -B 0.0.0.0:9924 -P /run/x.pid -D -w 4 -t 5 --buf-size 16384 --buf-ttl 10 \
                    --queue-size 8192 --force-register --log-syslog --verbose";
        let options = Options::try_parse_from(line.split_whitespace()).unwrap();
        assert_eq!(options.bind.len(), 2);
        assert_eq!(options.workers(), 4);
    }

    /// What the command line and a file say together.
    fn settled(line: &str, file: &str) -> Options {
        let matches = Options::command().get_matches_from(line.split_whitespace());
        let mut options = Options::from_arg_matches(&matches).unwrap();
        options.settle(Config::parse(file).unwrap(), &matches);
        options
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let file = "timeout = 7\nqueue-size = 10\nshm = false\nbind = [\"a.sock\", \"b.sock\"]\nverbose = true";
        let options = settled("buswayd --queue-size 8192 -B c.sock", file);
        assert_eq!(options.timeout, Duration::from_secs(7));
        assert_eq!((options.queue_size, options.shm, options.verbose), (8192, false, true));
        assert_eq!(options.bind, ["c.sock"]);
    }

    const EXAMPLE: &str = include_str!("buswayd.toml");

    #[test]
    fn the_example_says_the_defaults() {
        let mut expected = settled("buswayd", "");
        expected.max_subscriptions = Some(65_536);
        assert_eq!(settled("buswayd", EXAMPLE), expected);
    }

    #[test]
    fn the_example_has_every_key_and_each_is_correct() {
        // What is no sentence and stands behind a '#' is an example that has no default.
        let uncommented: Vec<&str> = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
            .collect();
        let uncommented = uncommented.join("\n");
        let options = settled("buswayd", &uncommented);
        assert!(options.access.is_some() && options.workers.is_some() && options.shm_bytes.is_some());
        let table: toml::Table = uncommented.parse().unwrap();
        let command = Options::command();
        let options = command.get_arguments().filter_map(clap::Arg::get_long);
        for key in options
            .filter(|option| !["config", "check", "completions", "detached", "man", "help", "version"].contains(option))
        {
            assert!(table.contains_key(key), "{key} is missing in the example");
        }
    }
}

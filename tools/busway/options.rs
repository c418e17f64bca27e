//! The command line of `busway`.

use std::path::PathBuf;
use std::time::Duration;

use busway::SlowPolicy;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::benchmark::Benchmark;
use crate::names;
use crate::params::{self, Param};

/// Talk to a BUS/RT broker: Busway's buswayd or any other.
///
/// Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 cannot connect, or the broker went.
#[derive(Debug, Parser)]
#[command(name = "busway", version)]
pub(crate) struct Options {
    /// Where the broker listens: a path or HOST:PORT, or as unix:PATH or tcp://HOST:PORT [default: /run/busway/busway.sock, then
    /// $XDG_RUNTIME_DIR/busway.sock, then /tmp/busway-UID/busway.sock]
    #[arg(short = 'c', long, value_name = "ENDPOINT", env = "BUSWAY_CONNECT", global = true, value_hint = ValueHint::FilePath)]
    pub(crate) connect: Option<String>,

    /// This client's name [default: cli.HOST.PID]
    #[arg(short = 'n', long, value_name = "NAME", value_parser = names::client, global = true)]
    pub(crate) name: Option<String>,

    /// Seconds that connecting and each answer may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, global = true)]
    pub(crate) timeout: Duration,

    /// Print one JSON object a line; text payloads in "payload", others in "payload_base64", and MessagePack maps and lists
    /// in "value", too
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print what arrives: messages, broadcasts, and publications of the topics given
    Listen(Listen),
    /// Send a message to a client, or a broadcast when the target has a * or ? in it
    Send(Send),
    /// Publish to a topic
    Publish(Publish),
    /// Call methods of other clients, and see what others call
    #[command(subcommand)]
    Rpc(Rpc),
    /// Ask the broker
    #[command(subcommand)]
    Broker(Broker),
    Benchmark(Benchmark),
    /// Print what teaches a shell to complete this command line
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the man pages of busway and its commands, or write each to a file of its own
    Man {
        /// Write them here, as busway.1, busway-listen.1 and so on; the directory is made
        #[arg(value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Subscribe: + is one level, # all that follow; repeatable. A filter that looks like a mistake is taken, with a
    /// warning of what it means
    #[arg(short = 't', long = "topics", value_name = "FILTER", value_parser = names::topic)]
    pub(crate) topics: Vec<String>,

    /// Leave these topics out, whatever is subscribed to; repeatable
    #[arg(long, value_name = "FILTER", value_parser = names::topic)]
    pub(crate) exclude: Vec<String>,

    /// What happens to frames that come faster than they are printed: frames are dropped (drop-newest, drop-oldest, or
    /// all but the latest of each topic), those who send wait for so many seconds (wait:SECONDS), or the broker cuts this
    /// program (cut). What was dropped is told: before the next frame, and at the end (with --json in "lost_before", at the end
    /// of an object of the kind "end") [default: drop-newest; a broker that
    /// knows no policies, or may not be asked, cuts]
    #[arg(long, value_name = "cut|drop-newest|drop-oldest|latest|wait:SECONDS")]
    pub(crate) slow: Option<SlowPolicy>,

    /// End after so many frames
    #[arg(long, value_name = "FRAMES")]
    pub(crate) count: Option<u64>,

    /// When the broker goes, try again until it is back, and subscribe again; standard error tells. What is published
    /// meanwhile is missed. Without this the program ends (exit code 3), as it does if there is no broker at first
    #[arg(long)]
    pub(crate) reconnect: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// A client's name, or a mask: ? is one part, * all that follow
    #[arg(value_parser = names::target)]
    pub(crate) target: String,

    /// The payload; without it, or with -, it is read from standard input
    pub(crate) payload: Option<String>,

    /// Confirmation and urgency
    #[arg(long, value_enum, default_value_t = Qos::Processed)]
    pub(crate) qos: Qos,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The topic
    #[arg(value_parser = names::topic)]
    pub(crate) topic: String,

    /// The payload; without it, or with -, it is read from standard input
    pub(crate) payload: Option<String>,

    /// Only to this client and its secondaries, if they have subscribed
    #[arg(long = "for", value_name = "NAME", value_parser = names::client)]
    pub(crate) receiver: Option<String>,

    /// Confirmation and urgency
    #[arg(long, value_enum, default_value_t = Qos::Processed)]
    pub(crate) qos: Qos,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rpc {
    /// Print calls, notifications, and what `busway listen` prints; every call is answered with nothing
    Listen(Listen),
    /// Send a notification
    Notify(RpcNotify),
    /// Call a method and do not wait for its answer
    Call0(RpcCall),
    /// Call a method and print its answer
    ///
    /// An answer that is a MessagePack value, as typed methods return it, is printed as JSON, with --json in "value". So
    /// are some very short texts, which are MessagePack, too: one ASCII letter is a number.
    Call(RpcCall),
}

#[derive(Debug, Args)]
pub(crate) struct RpcNotify {
    /// A client's name
    #[arg(value_parser = names::target)]
    pub(crate) target: String,

    /// The payload; without it, or with -, it is read from standard input
    pub(crate) payload: Option<String>,

    /// Confirmation and urgency
    #[arg(long, value_enum, default_value_t = Qos::Processed)]
    pub(crate) qos: Qos,
}

#[derive(Debug, Args)]
pub(crate) struct RpcCall {
    /// A client's name; .broker is the broker itself
    #[arg(value_parser = names::target)]
    pub(crate) target: String,

    /// The method
    pub(crate) method: String,

    /// Parameters, sent as a MessagePack map: true, false, integers and floats are what they look like, anything else
    /// is text, also what looks like a number and would not come back as it is written (007, +49). With := in place of = the value is JSON: point:='{"x":1}' names:='["a","b"]' serial:='"17"'. A single -
    /// reads them from standard input, as they are
    #[arg(value_name = "KEY=VALUE", value_parser = params::parse)]
    pub(crate) params: Vec<Param>,

    /// Send this JSON value as the parameters, packed as MessagePack: a map, a list, or anything else; - is standard
    /// input
    #[arg(long, value_name = "JSON", conflicts_with_all = ["params", "raw"], allow_hyphen_values = true)]
    pub(crate) json_params: Option<String>,

    /// Send this text as the parameters, as it is; - is standard input
    #[arg(long, value_name = "TEXT", conflicts_with = "params", allow_hyphen_values = true)]
    pub(crate) raw: Option<String>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Broker {
    /// Who made it, and its version
    Info,
    /// Its counters
    Stats,
    /// Whether it answers
    Test,
    /// The registered clients, all but this one
    #[command(name = "client.list")]
    ClientList,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Qos {
    /// Neither confirmed nor urgent
    No,
    /// The broker confirms
    Processed,
    /// Flushed at once on every hop
    Realtime,
    /// Both
    RealtimeProcessed,
}

impl From<Qos> for busway::QoS {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::No => Self::No,
            Qos::Processed => Self::Processed,
            Qos::Realtime => Self::Realtime,
            Qos::RealtimeProcessed => Self::RealtimeProcessed,
        }
    }
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && duration <= Duration::from_secs(86_400) => Ok(duration),
        _ => Err("must be above 0 and at most 86400 seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }
}

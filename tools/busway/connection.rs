//! Finding and reaching the broker.

use std::io::{self, Write};
use std::time::Duration;

use busway::client::{Builder, ConnectError, ConnectionState, Reconnect};
use busway::{Client, Endpoint};
use clap::CommandFactory;
use clap::error::ErrorKind;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::options::Options;

/// An endpoint that is none ends the program, before it reads or does anything.
pub(crate) fn check_endpoint(options: &Options) {
    let Some(text) = options.connect.as_deref().filter(|endpoint| !endpoint.is_empty()) else { return };
    if let Err(fault) = check(text) {
        Options::command().error(ErrorKind::InvalidValue, format!("'{text}' is no endpoint: {fault}")).exit()
    }
}

/// The longest path that the system takes for a socket.
const MAX_PATH: usize = 107;

fn check(text: &str) -> Result<(), String> {
    const USE: &str = "use HOST:PORT, or a path with a / in it or .sock at its end";
    let endpoint = Endpoint::from(text);
    endpoint.check().map_err(|fault| fault.to_string())?;
    match &endpoint {
        Endpoint::Unix(path) if path.as_os_str().is_empty() => Err("a path is missing".to_owned()),
        Endpoint::Unix(path) if path.as_os_str().len() > MAX_PATH => {
            Err(format!("the path of a socket has at most {MAX_PATH} bytes"))
        }
        Endpoint::Unix(_) => Ok(()),
        Endpoint::Tcp(address) => match address.rsplit_once(':') {
            None | Some(("", _)) => Err(USE.to_owned()),
            Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
            Some(_) => Err("the port must be a number from 1 to 65535".to_owned()),
        },
    }
}

/// Connects to the endpoint that was given, or to the first default socket at which a broker answers.
pub(crate) async fn connect(options: &Options) -> Result<Client, Failure> {
    connect_as(options.connect.as_deref(), &name(options), options.timeout, |builder| builder).await
}

/// As [`connect`], and again whenever the connection is lost, if that is wanted. Standard error tells of it.
pub(crate) async fn connect_to_listen(options: &Options, reconnect: bool) -> Result<Client, Failure> {
    if !reconnect {
        return connect(options).await;
    }
    let adjust = |builder: Builder| builder.reconnect(Reconnect::default());
    let client = connect_as(options.connect.as_deref(), &name(options), options.timeout, adjust).await?;
    tokio::spawn(tell_of_losses(client.state(), client.name().to_owned()));
    Ok(client)
}

async fn tell_of_losses(mut state: watch::Receiver<ConnectionState>, name: String) {
    while state.changed().await.is_ok() {
        let _ = match &*state.borrow_and_update() {
            ConnectionState::Connected => writeln!(io::stderr(), "connected again, listening as {name}"),
            ConnectionState::Disconnected { reason } => writeln!(io::stderr(), "{reason}; trying again"),
            // Whoever wanted the end knows.
            _ => return,
        };
    }
}

/// As [`connect`], under another name and with other options of the connection.
pub(crate) async fn connect_as(
    endpoint: Option<&str>,
    name: &str,
    timeout: Duration,
    adjust: impl Fn(Builder) -> Builder,
) -> Result<Client, Failure> {
    let connect = |builder: Builder| adjust(builder.timeout(timeout)).connect();
    // A variable of the environment that is set to nothing says nothing.
    if let Some(text) = endpoint.filter(|endpoint| !endpoint.is_empty()) {
        return Ok(connect(Client::builder(text, name)).await?);
    }
    connect(Client::default_builder(name)).await.map_err(|error| match error {
        ConnectError::NoBroker { tried } => {
            let tried: Vec<_> = tried.iter().map(|(endpoint, source)| format!("  {endpoint}: {source}")).collect();
            Failure::NoBroker(format!(
                "no broker at the default sockets:\n{}\nstart one with `buswayd`, or say with -c or $BUSWAY_CONNECT \
                 where it is",
                tried.join("\n")
            ))
        }
        error => error.into(),
    })
}

/// The name that was asked for, or one that says whose client this is.
pub(crate) fn name(options: &Options) -> String {
    options.name.clone().unwrap_or_else(default_name)
}

fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|letter| !letter.is_control()).take(64).collect();
    let host = if host.is_empty() { "localhost" } else { &host };
    format!("cli.{host}.{}", std::process::id())
}

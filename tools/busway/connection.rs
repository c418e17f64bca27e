//! Finding and reaching the broker.

use busway::client::ConnectError;
use busway::{Client, Endpoint};

use crate::failure::Failure;
use crate::options::Options;

/// Connects to the endpoint that was given, or to the first default socket at which a broker answers.
pub(crate) async fn connect(options: &Options) -> Result<Client, Failure> {
    let name = options.name.clone().unwrap_or_else(default_name);
    let attempt = |endpoint: Endpoint| Client::builder(endpoint, &name).timeout(options.timeout).connect();
    // A variable of the environment that is set to nothing says nothing.
    if let Some(endpoint) = options.connect.as_deref().filter(|endpoint| !endpoint.is_empty()) {
        return Ok(attempt(endpoint.into()).await?);
    }
    let mut tried = Vec::new();
    for path in busway::default_sockets() {
        match attempt(Endpoint::from(path)).await {
            Ok(client) => return Ok(client),
            Err(ConnectError::Unreachable { endpoint, source }) => tried.push(format!("  {endpoint}: {source}")),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::NoBroker(format!(
        "no broker at the default sockets:\n{}\nstart one with `buswayd`, or say with -c or $BUSWAY_CONNECT where it is",
        tried.join("\n")
    )))
}

fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|letter| !letter.is_control()).take(64).collect();
    let host = if host.is_empty() { "localhost" } else { &host };
    format!("cli.{host}.{}", std::process::id())
}

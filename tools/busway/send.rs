//! `busway send` and `busway publish`.

use std::io::{self, IsTerminal, Read, Write};

use busway::{Client, Limits, QoS};
use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::connection::connect;
use crate::failure::Failure;
use crate::names::shown;
use crate::options::{Options, Publish, Send};
use crate::output::Output;

pub(crate) async fn send(options: &Options, command: &Send, output: &mut Output) -> Result<(), Failure> {
    if command.target.split('.').any(|part| part.len() > 1 && part.contains(['*', '?'])) {
        let words = format!("'{}': * and ? stand for whole parts of a name, as in 'group.*'", command.target);
        Options::command().error(ErrorKind::InvalidValue, words).exit()
    }
    let payload = read(command.payload.as_deref())?;
    let client = connect(options).await?;
    let operation = if command.target.contains(['*', '?']) {
        client.broadcast(&command.target, payload)
    } else {
        client.send(&command.target, payload)
    };
    operation.qos(command.qos.into()).await.map_err(|error| Failure::of(shown(&command.target), &error))?;
    finish(&client, command.qos.into(), options, shown(&command.target)).await?;
    output.done()
}

pub(crate) async fn publish(options: &Options, command: &Publish, output: &mut Output) -> Result<(), Failure> {
    let payload = read(command.payload.as_deref())?;
    let client = connect(options).await?;
    let operation = match &command.receiver {
        Some(receiver) => client.publish_for(&command.topic, receiver, payload),
        None => client.publish(&command.topic, payload),
    };
    operation.qos(command.qos.into()).await.map_err(|error| Failure::of(shown(&command.topic), &error))?;
    finish(&client, command.qos.into(), options, shown(&command.topic)).await?;
    output.done()
}

/// Ends the connection once everything is written that was sent to `address`. The end alone would give up without a word
/// on what the broker does not take.
pub(crate) async fn finish(client: &Client, qos: QoS, options: &Options, address: &str) -> Result<(), Failure> {
    // What the broker has confirmed it has.
    if !qos.is_confirmed() {
        let Ok(written) = tokio::time::timeout(options.timeout, client.flush()).await else {
            let seconds = options.timeout.as_secs_f64();
            return Err(Failure::Failed(format!(
                "{address}: the broker has not taken all of it within {seconds} s; --timeout gives it more time"
            )));
        };
        written.map_err(|error| Failure::of(address, &error))?;
    }
    client.close().await;
    Ok(())
}

/// The payload of the command line, or standard input up to the longest payload there is.
pub(crate) fn read(payload: Option<&str>) -> Result<Vec<u8>, Failure> {
    match payload {
        Some(text) if text != "-" => Ok(text.as_bytes().to_vec()),
        _ => {
            let stdin = io::stdin();
            if stdin.is_terminal() {
                let _ = writeln!(io::stderr(), "reading the payload from the terminal; Ctrl-D ends it");
            }
            let limit = Limits::default().max_payload;
            let mut bytes = Vec::new();
            stdin
                .lock()
                .take(limit as u64 + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::Failed(format!("cannot read standard input: {error}")))?;
            if bytes.len() > limit {
                return Err(Failure::Failed(format!(
                    "standard input has more than {limit} bytes, the longest payload"
                )));
            }
            Ok(bytes)
        }
    }
}

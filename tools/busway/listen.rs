//! `busway listen`.

use std::io::{self, Write};

use busway::client::ConnectionState;
use busway::{Client, Frame, FrameKind};
use serde_json::{Map, Value};
use tokio::task::coop::consume_budget;

use crate::connection::connect_to_listen;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::filters;
use crate::options::{Listen, Options};
use crate::output::{self, Output};
use crate::payload;

pub(crate) async fn run(options: &Options, command: &Listen, output: &mut Output) -> Result<(), Failure> {
    let client = connect_to_listen(options, command.reconnect).await?;
    subscribe(&client, command).await?;
    let mut end = Ending::new()?;
    let _ = writeln!(io::stderr(), "listening as {}", client.name());
    let printed = tokio::select! {
        printed = print_frames(&client, command.count, output) => printed,
        () = end.wanted() => Ok(()),
        () = output::reader_gone() => Err(Failure::ClosedPipe),
    };
    // It is shown before the farewell, which takes as long as the broker does.
    let shown = printed.and_then(|()| output.finish());
    client.close().await;
    shown
}

/// The topics that were asked for.
pub(crate) async fn subscribe(client: &Client, command: &Listen) -> Result<(), Failure> {
    for filter in command.topics.iter().chain(&command.exclude) {
        if let Some(meaning) = filters::odd_meaning(filter) {
            let _ = writeln!(io::stderr(), "busway: warning: the filter '{filter}': {meaning}");
        }
    }
    if let Some(policy) = command.slow {
        client.slow_policy(policy).await.map_err(|error| Failure::of("slow policy", &error))?;
    }
    if !command.exclude.is_empty() {
        client.exclude(&command.exclude).await.map_err(|error| Failure::of("exclude", &error))?;
    }
    if !command.topics.is_empty() {
        client.subscribe(&command.topics).await.map_err(|error| Failure::of("subscribe", &error))?;
    }
    Ok(())
}

async fn print_frames(client: &Client, count: Option<u64>, output: &mut Output) -> Result<(), Failure> {
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let frame = match client.try_recv() {
            Some(frame) => frame,
            None => {
                // Nothing more at the moment: show what there is.
                output.finish()?;
                match client.recv().await {
                    Some(frame) => frame,
                    None => return Err(Failure::NoBroker(reason(client))),
                }
            }
        };
        print(&frame, output)?;
        left -= 1;
        // However fast frames come, a signal is heard.
        consume_budget().await;
    }
    Ok(())
}

/// Why a connection ended.
pub(crate) fn reason(client: &Client) -> String {
    match &*client.state().borrow() {
        ConnectionState::Closed { reason } => reason.clone(),
        _ => "the connection to the broker ended".to_owned(),
    }
}

pub(crate) fn is_closed(state: &ConnectionState) -> bool {
    matches!(state, ConnectionState::Closed { .. })
}

/// What stands before a payload.
#[derive(Debug, Default)]
pub(crate) struct Heading<'a> {
    pub(crate) kind: &'a str,
    pub(crate) sender: &'a str,
    pub(crate) topic: Option<&'a str>,
    pub(crate) method: Option<&'a str>,
    pub(crate) realtime: bool,
    pub(crate) lost_before: u64,
}

pub(crate) fn print(frame: &Frame, output: &mut Output) -> Result<(), Failure> {
    let kind = match frame.kind() {
        FrameKind::Publication => "publication",
        FrameKind::Message => "message",
        FrameKind::Broadcast => "broadcast",
    };
    let heading = Heading {
        kind,
        sender: frame.sender(),
        topic: frame.topic(),
        method: None,
        realtime: frame.is_realtime(),
        lost_before: frame.lost_before(),
    };
    print_payload(&heading, frame.payload(), output)
}

pub(crate) fn print_payload(heading: &Heading<'_>, payload: &[u8], output: &mut Output) -> Result<(), Failure> {
    let Heading { kind, sender, topic, method, realtime, lost_before } = *heading;
    if output.is_json() {
        let mut object = Map::new();
        object.insert("kind".into(), kind.into());
        object.insert("sender".into(), sender.into());
        for (name, value) in [("topic", topic), ("method", method)] {
            if let Some(value) = value {
                object.insert(name.into(), value.into());
            }
        }
        object.insert("realtime".into(), realtime.into());
        object.insert("size".into(), payload.len().into());
        object.insert("lost_before".into(), lost_before.into());
        payload::insert(payload, &mut object);
        return output.object(&Value::Object(object));
    }
    if lost_before > 0 {
        let what = if method.is_some() { "calls" } else { "frames" };
        output.line(&format!("-- {lost_before} {what} lost: the output is too slow"))?;
    }
    let address = topic.or(method).map(|address| format!(" {}", address.escape_debug())).unwrap_or_default();
    output.line(&format!("{kind}{address} from {} ({} bytes)", sender.escape_debug(), payload.len()))?;
    output.line(&payload::describe(payload))
}

//! `busway listen`.

use std::io::{self, Write};

use busway::client::{ConnectionState, SendError};
use busway::{Client, Frame, FrameKind, SlowPolicy};
use serde_json::{Map, Value};
use tokio::task::coop::consume_budget;

use crate::connection::connect_to_listen;
use crate::ending::Ending;
use crate::failure::{Failure, LOG_SAYS_WHY};
use crate::filters;
use crate::losses::{self, Losses, Lost};
use crate::options::{Listen, Options};
use crate::output::{self, Output};
use crate::payload;

pub(crate) async fn run(options: &Options, command: &Listen, output: &mut Output) -> Result<(), Failure> {
    let client = connect_to_listen(options, command.reconnect).await?;
    subscribe(&client, command).await?;
    let losses = {
        let client = client.clone();
        Losses::new(move || Lost { frames: client.lost_frames(), calls: 0 })
    };
    let mut end = Ending::new(&losses)?;
    let _ = writeln!(io::stderr(), "listening as {}", client.name());
    let printed = tokio::select! {
        printed = print_frames(&client, command.count, &losses, output) => printed,
        () = end.wanted() => losses.print_rest(output),
        () = output::reader_gone() => Err(Failure::ClosedPipe),
    };
    // It is shown before the farewell, which takes as long as the broker does.
    let shown = printed.and_then(|()| output.finish());
    losses.let_go();
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
    match client.slow_policy(command.slow.unwrap_or(SlowPolicy::DropNewest)).await {
        // Nobody has asked for this one: a broker that does not grant it is listened to without.
        Err(error) if command.slow.is_none() && error != SendError::Disconnected => {}
        asked => asked.map_err(|error| Failure::of("slow policy", &error))?,
    }
    if !command.exclude.is_empty() {
        client.exclude(&command.exclude).await.map_err(|error| Failure::of("exclude", &error))?;
    }
    if !command.topics.is_empty() {
        client.subscribe(&command.topics).await.map_err(|error| Failure::of("subscribe", &error))?;
    }
    Ok(())
}

async fn print_frames(
    client: &Client,
    count: Option<u64>,
    losses: &Losses,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let frame = match client.try_recv() {
            Some(frame) => frame,
            None => {
                // Nothing more at the moment: show what there is.
                output.finish()?;
                match client.recv().await {
                    Some(frame) => frame,
                    None => return Err(connection_ended(client, losses, output)),
                }
            }
        };
        print(&frame, output)?;
        losses.tell(Lost { frames: frame.lost_before(), calls: 0 });
        left -= 1;
        // However fast frames come, a signal is heard.
        consume_budget().await;
    }
    Ok(())
}

/// The connection ended, and everything that came before is printed.
pub(crate) fn connection_ended(client: &Client, losses: &Losses, output: &mut Output) -> Failure {
    match losses.print_rest(output).and_then(|()| output.finish()) {
        Ok(()) => Failure::NoBroker(format!("{}; {LOG_SAYS_WHY}", reason(client))),
        Err(failure) => failure,
    }
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
        output.line(&losses::line(lost_before, what))?;
    }
    let address = topic.or(method).map(|address| format!(" {}", payload::on_one_line(address))).unwrap_or_default();
    output.line(&format!("{kind}{address} from {} ({} bytes)", payload::on_one_line(sender), payload.len()))?;
    output.line(&payload::describe(payload))
}

//! `busway listen`.

use std::io::{self, Write};

use busway::client::ConnectionState;
use busway::{Client, Frame, FrameKind};
use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};

use crate::connection::connect;
use crate::failure::Failure;
use crate::options::{Listen, Options};
use crate::output::{self, Output};
use crate::payload;

pub(crate) async fn run(options: &Options, command: &Listen, output: &mut Output) -> Result<(), Failure> {
    let client = connect(options).await?;
    if !command.exclude.is_empty() {
        client.exclude(&command.exclude).await.map_err(|error| Failure::of("exclude", &error))?;
    }
    if !command.topics.is_empty() {
        client.subscribe(&command.topics).await.map_err(|error| Failure::of("subscribe", &error))?;
    }
    let _ = writeln!(io::stderr(), "listening as {}", client.name());
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let printed = tokio::select! {
        printed = print_frames(&client, command.count, output) => printed,
        () = output::reader_gone() => Err(Failure::ClosedPipe),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    client.close().await;
    printed
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
    }
    Ok(())
}

fn reason(client: &Client) -> String {
    match &*client.state().borrow() {
        ConnectionState::Closed { reason } => reason.clone(),
        _ => "the connection to the broker ended".to_owned(),
    }
}

fn print(frame: &Frame, output: &mut Output) -> Result<(), Failure> {
    let kind = match frame.kind() {
        FrameKind::Publication => "publication",
        FrameKind::Message => "message",
        FrameKind::Broadcast => "broadcast",
    };
    if output.is_json() {
        let mut object = Map::new();
        object.insert("kind".into(), kind.into());
        object.insert("sender".into(), frame.sender().into());
        if let Some(topic) = frame.topic() {
            object.insert("topic".into(), topic.into());
        }
        object.insert("realtime".into(), frame.is_realtime().into());
        object.insert("size".into(), frame.payload().len().into());
        object.insert("lost_before".into(), frame.lost_before().into());
        payload::insert(frame.payload(), &mut object);
        return output.object(&Value::Object(object));
    }
    if frame.lost_before() > 0 {
        output.line(&format!("-- {} frames lost: the output is too slow", frame.lost_before()))?;
    }
    let topic = frame.topic().map(|topic| format!(" {}", topic.escape_debug())).unwrap_or_default();
    let sender = frame.sender().escape_debug();
    output.line(&format!("{kind}{topic} from {sender} ({} bytes)", frame.payload().len()))?;
    output.line(&payload::describe(frame.payload()))
}

//! The FIFO channel: what shell scripts write becomes frames of `.broker`.

mod complaints;
mod params;

use std::sync::Arc;

use busway_net::link::Fifo;
use busway_net::wire::fifo::{Command, Line, Lines, parse};
use busway_net::wire::rpc::{NOTIFICATION, encode_request_head};
use busway_net::wire::{Limits, Operation, QoS, ResultCode};

use super::ACCEPT_PAUSE;
use super::router::{Request, Router, Source};
use super::touched::Touched;
use crate::lane::Routed;
use complaints::Complaints;

/// The longest line, where payloads may be that long.
const MAX_LINE: usize = 1 << 20;
/// Bytes that are read at once; between two reads others have their turn.
const READ: usize = 16 << 10;

/// Reads commands and sends what they say, until the broker ends or the FIFO is gone.
pub(super) async fn serve(router: Arc<Router>, mut fifo: Fifo) {
    let place = format!("fifo:{}", fifo.path().display());
    tracing::info!("{place}: waiting for commands");
    let mut lines = Lines::new(longest_line(&router.limits));
    let mut channel = Channel::new(&router, place);
    let mut buffer = vec![0; READ];
    let mut is_failing = false;
    loop {
        let read = fifo.read(&mut buffer);
        let read = match channel.complaints.due() {
            None => read.await,
            Some(due) => match tokio::time::timeout_at(due.into(), read).await {
                Ok(read) => read,
                Err(_) => {
                    channel.complaints.tell_due();
                    continue;
                }
            },
        };
        match read {
            Ok(0) => lines.finish(|line| channel.take(&line)),
            Ok(count) => lines.push(&buffer[..count], |line| channel.take(&line)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                tracing::error!(
                    "{}: it was removed or replaced and is read no more; restart the broker",
                    channel.place
                );
                channel.complaints.tell_silent();
                return;
            }
            Err(error) => {
                // Most likely out of descriptors: say so once, and give the clients time to leave.
                if !is_failing {
                    tracing::error!("{}: cannot be read, will be tried again: {error}", channel.place);
                }
                is_failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        }
        is_failing = false;
        channel.flush();
        tokio::task::yield_now().await;
    }
}

/// A command that reached nobody.
#[derive(Debug, thiserror::Error)]
#[error("to {address:?}: {code}")]
struct Undelivered {
    address: String,
    code: ResultCode,
}

/// Room for the longest legal command.
fn longest_line(limits: &Limits) -> usize {
    limits.max_payload.saturating_add(limits.max_path + 2).min(MAX_LINE)
}

/// From lines to frames.
struct Channel<'a> {
    router: &'a Router,
    source: Source,
    touched: Touched,
    place: String,
    complaints: Complaints,
}

impl<'a> Channel<'a> {
    fn new(router: &'a Router, place: String) -> Self {
        let source = Source::new(Arc::clone(&router.broker));
        Self { router, source, touched: Touched::new(router.next_id()), complaints: Complaints::new(&place), place }
    }

    /// What cannot be done is logged; the next line counts.
    fn take(&mut self, line: &Line<'_>) {
        let done = line.content.clone().and_then(|bytes| {
            self.source.peer.received.add(1, bytes.len() as u64);
            parse(bytes, &self.router.limits)
        });
        match done {
            Ok(Some(command)) => {
                if let Err(reason) = self.send(command) {
                    self.complaints.say(line.number, &reason);
                }
            }
            Ok(None) => {}
            Err(fault) => self.complaints.say(line.number, &fault),
        }
    }

    fn send(&mut self, command: Command<'_>) -> Result<(), Undelivered> {
        match command {
            Command::Message { target, text } => self.deliver(Operation::Message, target, text.as_bytes()),
            Command::Broadcast { mask, text } => self.deliver(Operation::Broadcast, mask, text.as_bytes()),
            Command::Publish { topic, text } => self.deliver(Operation::Publish, topic, text.as_bytes()),
            Command::Notify { target, text } => {
                self.deliver(Operation::Message, target, &[&[NOTIFICATION], text.as_bytes()].concat())
            }
            Command::Call { target, method, params } => {
                let mut content = Vec::new();
                encode_request_head(&mut content, 0, method);
                params::encode(&mut content, &params);
                self.deliver(Operation::Message, target, &content)
            }
        }
    }

    fn deliver(&mut self, operation: Operation, address: &str, content: &[u8]) -> Result<(), Undelivered> {
        let request = Request { op_id: 0, operation, qos: QoS::No, address: address.as_bytes(), receiver: &[] };
        let code = self.router.deliver(&mut self.source, &request, Routed::Borrowed(content), &mut self.touched);
        // What is no address at all did not get here.
        match code.unwrap_or(ResultCode::DATA) {
            ResultCode::OK => Ok(()),
            code => Err(Undelivered { address: address.to_owned(), code }),
        }
    }

    fn flush(&mut self) {
        self.router.finish(&mut self.touched);
        // The next line may never come: peers that go meanwhile are not kept for it.
        self.source.forget();
        self.complaints.tell_due();
    }
}

//! `busway rpc listen`.

use std::io::{self, Write};

use busway::rpc::{Handlers, Notification, Request, Rpc, RpcError};
use busway::{Frame, Payload};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::coop::consume_budget;

use crate::connection::connect_to_listen;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::listen::{self, Heading};
use crate::options::{Listen, Options};
use crate::output::{self, Output};

/// Events that wait to be printed; beyond, handlers wait, and then the layer below.
const QUEUE: usize = 256;

/// Whatever comes, to be printed.
enum Event {
    Call(Request),
    Notification(Notification),
    Frame(Frame),
}

/// Answers every call with nothing, and hands everything on.
struct Printer(Sender<Event>);

impl Handlers for Printer {
    async fn call(&self, request: Request) -> Result<Payload, RpcError> {
        // Nobody prints any more: this program is about to end.
        let _ = self.0.send(Event::Call(request)).await;
        Ok(Payload::new())
    }

    async fn notification(&self, notification: Notification) {
        let _ = self.0.send(Event::Notification(notification)).await;
    }

    async fn frame(&self, _rpc: &Rpc, frame: Frame) {
        let _ = self.0.send(Event::Frame(frame)).await;
    }
}

pub(crate) async fn run(options: &Options, command: &Listen, output: &mut Output) -> Result<(), Failure> {
    let client = connect_to_listen(options, command.reconnect).await?;
    let (sender, mut events) = channel(QUEUE);
    // One at a time: calls are printed in their order.
    let rpc = Rpc::builder(client).deadline(options.timeout).max_handlers(1).start(Printer(sender));
    listen::subscribe(rpc.client(), command).await?;
    let mut end = Ending::new()?;
    let _ = writeln!(io::stderr(), "listening as {}", rpc.client().name());
    let printed = tokio::select! {
        printed = print_events(&rpc, &mut events, command.count, output) => printed,
        () = end.wanted() => Ok(()),
        () = output::reader_gone() => Err(Failure::ClosedPipe),
    };
    let shown = printed.and_then(|()| output.finish());
    // Calls that are being answered are answered, then the connection ends.
    let mut state = rpc.client().state();
    drop(events);
    drop(rpc);
    let _ = tokio::time::timeout(options.timeout, state.wait_for(listen::is_closed)).await;
    shown
}

async fn print_events(
    rpc: &Rpc,
    events: &mut Receiver<Event>,
    count: Option<u64>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut left = count.unwrap_or(u64::MAX);
    let mut refused = 0;
    while left > 0 {
        let event = match events.try_recv() {
            Ok(event) => event,
            Err(_) => {
                // Nothing more at the moment: show what there is.
                output.finish()?;
                match events.recv().await {
                    Some(event) => event,
                    // The connection has ended, and everything that came before is handled.
                    None => return Err(Failure::NoBroker(listen::reason(rpc.client()))),
                }
            }
        };
        print(&event, &mut refused, output)?;
        left -= 1;
        consume_budget().await;
    }
    Ok(())
}

/// `refused` counts the calls of which was told that they could not wait.
fn print(event: &Event, refused: &mut u64, output: &mut Output) -> Result<(), Failure> {
    let heading = |kind, sender| Heading { kind, sender, ..Heading::default() };
    match event {
        Event::Frame(frame) => listen::print(frame, output),
        Event::Notification(notification) => {
            let realtime = notification.is_realtime();
            let lost_before = notification.lost_before();
            let heading = Heading { realtime, lost_before, ..heading("notification", notification.sender()) };
            listen::print_payload(&heading, &notification.payload(), output)
        }
        Event::Call(request) => {
            let kind = if request.wants_reply() { "call" } else { "call0" };
            let (realtime, method) = (request.is_realtime(), Some(request.method()));
            // A call does not know which ones are missing before it, as frames do.
            let told = std::mem::replace(refused, request.rpc().refused_requests());
            let lost_before = *refused - told;
            let heading = Heading { realtime, method, lost_before, ..heading(kind, request.sender()) };
            listen::print_payload(&heading, &request.params(), output)
        }
    }
}

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
use crate::losses::{Losses, Lost};
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
    let losses = {
        let rpc = rpc.clone();
        Losses::new(move || Lost {
            frames: rpc.client().lost_frames() + rpc.lost_frames(),
            calls: rpc.refused_requests(),
        })
    };
    let mut end = Ending::new(&losses)?;
    let _ = writeln!(io::stderr(), "listening as {}", rpc.client().name());
    let printed = tokio::select! {
        printed = print_events(&rpc, &mut events, (command.count, &losses), output) => printed,
        () = end.wanted() => losses.print_rest(output),
        () = output::reader_gone() => Err(Failure::ClosedPipe),
    };
    let shown = printed.and_then(|()| output.finish());
    // Calls that are being answered are answered, then the connection ends.
    let mut state = rpc.client().state();
    drop(events);
    losses.let_go();
    drop(rpc);
    let _ = tokio::time::timeout(options.timeout, state.wait_for(listen::is_closed)).await;
    shown
}

async fn print_events(
    rpc: &Rpc,
    events: &mut Receiver<Event>,
    (count, losses): (Option<u64>, &Losses),
    output: &mut Output,
) -> Result<(), Failure> {
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let event = match events.try_recv() {
            Ok(event) => event,
            Err(_) => {
                // Nothing more at the moment: show what there is.
                output.finish()?;
                match events.recv().await {
                    Some(event) => event,
                    None => return Err(listen::connection_ended(rpc.client(), losses, output)),
                }
            }
        };
        print(&event, losses, output)?;
        left -= 1;
        consume_budget().await;
    }
    Ok(())
}

fn print(event: &Event, losses: &Losses, output: &mut Output) -> Result<(), Failure> {
    let heading = |kind, sender| Heading { kind, sender, ..Heading::default() };
    let lost = match event {
        Event::Frame(frame) => Lost { frames: frame.lost_before(), calls: 0 },
        Event::Notification(notification) => Lost { frames: notification.lost_before(), calls: 0 },
        // A call does not know which ones are missing before it, as frames do.
        Event::Call(_) => Lost { frames: 0, calls: losses.untold().calls },
    };
    losses.tell(lost);
    match event {
        Event::Frame(frame) => listen::print(frame, output),
        Event::Notification(notification) => {
            let realtime = notification.is_realtime();
            let heading =
                Heading { realtime, lost_before: lost.frames, ..heading("notification", notification.sender()) };
            listen::print_payload(&heading, &notification.payload(), output)
        }
        Event::Call(request) => {
            let kind = if request.wants_reply() { "call" } else { "call0" };
            let (realtime, method) = (request.is_realtime(), Some(request.method()));
            let heading = Heading { realtime, method, lost_before: lost.calls, ..heading(kind, request.sender()) };
            listen::print_payload(&heading, &request.params(), output)
        }
    }
}

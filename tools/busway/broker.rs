//! `busway broker`: questions to the broker itself.

use comfy_table::{Table, presets};
use serde_json::{Map, Value};

use crate::connection::connect;
use crate::failure::Failure;
use crate::options::{Broker, Options};
use crate::output::Output;
use crate::payload::{from_messagepack, on_one_line, without_controls};
use crate::rpc;

const BROKER: &str = ".broker";

pub(crate) async fn run(options: &Options, command: Broker, output: &mut Output) -> Result<(), Failure> {
    let method = match command {
        Broker::Info => "info",
        Broker::Stats => "stats",
        Broker::Test => "test",
        Broker::ClientList => "client.list",
    };
    let client = connect(options).await?;
    let name = client.name().to_owned();
    let rpc = rpc::caller(client, options.timeout);
    let answer = rpc.call(BROKER, method, "").realtime().await.map_err(|error| rpc::failure(method, error))?;
    rpc.close().await;
    let Some(Value::Object(answer)) = from_messagepack(&answer) else {
        return Err(Failure::Failed(format!("{method}: the broker's answer is not a MessagePack map")));
    };
    match (command, output.is_json()) {
        (Broker::ClientList, is_json) => print_clients(answer, &name, is_json, output),
        (_, true) => output.object(&Value::Object(answer)),
        (_, false) => print_fields(&answer, output),
    }
}

fn print_fields(answer: &Map<String, Value>, output: &mut Output) -> Result<(), Failure> {
    let mut table = table(&["field", "value"]);
    for (field, value) in answer {
        table.add_row([field.clone(), cell(value)]);
    }
    output.line(&table.to_string())
}

/// All clients but this one; a JSON object each.
fn print_clients(
    mut answer: Map<String, Value>,
    own_name: &str,
    is_json: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let Some(Value::Array(clients)) = answer.remove("clients") else {
        return Err(Failure::Failed("client.list: the broker's answer has no clients in it".to_owned()));
    };
    let others = clients.iter().filter(|client| client["name"] != own_name);
    if is_json {
        return others.into_iter().try_for_each(|client| output.object(client));
    }
    let columns = [
        ("name", "name"),
        ("kind", "kind"),
        ("transport", "transport"),
        ("source", "source"),
        ("port", "port"),
        ("r_frames", "r_frames"),
        ("r_bytes", "r_bytes"),
        ("w_frames", "w_frames"),
        ("w_bytes", "w_bytes"),
        ("queue", "queue"),
        ("instances", "ins"),
        ("lost_frames", "lost"),
        ("denied_frames", "denied"),
        ("pid", "pid"),
        ("in_place", "in place"),
        ("copied", "copied"),
        ("lane_off_reason", "lane off because"),
    ];
    let mut table = table(&columns.map(|(_, title)| title));
    for client in others {
        table.add_row(columns.map(|(field, _)| cell(&client[field])));
    }
    output.line(&table.to_string())
}

fn table(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(titles);
    table
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // Names come from other processes: no escape sequence of theirs reaches the terminal.
        Value::String(text) => on_one_line(text),
        other => without_controls(&other.to_string()).into_owned(),
    }
}

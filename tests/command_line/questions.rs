//! `busway broker`: what the broker says of itself.

use serde_json::{Value, json};

use crate::program::{Busway, objects};
use crate::support::{BrokerProcess, Flavor, Request, Setup, Transport, promises};

promises! {
    everywhere {
        test_says_that_the_broker_answers
        info_names_author_and_version
        stats_count_up
        clients_are_listed_as_a_table
        clients_are_listed_as_an_object_a_line
        names_in_the_table_bring_no_escape_sequences
        quotes_in_the_table_are_what_they_are
        an_empty_list_is_a_table_without_rows
    }
}

fn ask(setup: &Setup, broker: &BrokerProcess, question: &str) -> String {
    Busway::on(setup, broker, &["broker", question]).output()
}

fn ask_for_json(setup: &Setup, broker: &BrokerProcess, question: &str) -> Vec<Value> {
    objects(&Busway::on(setup, broker, &["--json", "broker", question]).output())
}

/// A table of fields as pairs.
fn pairs(table: &str) -> Vec<(&str, &str)> {
    let mut lines = table.lines().map(|line| line.trim().split_once(' ').unwrap_or((line.trim(), "")));
    assert_eq!(lines.next().map(|(field, value)| (field, value.trim())), Some(("field", "value")));
    lines.map(|(field, value)| (field, value.trim())).collect()
}

fn test_says_that_the_broker_answers(setup: &Setup) {
    let broker = setup.start();
    assert_eq!(pairs(&ask(setup, &broker, "test")), [("ok", "true")]);
    assert_eq!(ask_for_json(setup, &broker, "test"), [json!({ "ok": true })]);
}

fn info_names_author_and_version(setup: &Setup) {
    let broker = setup.start();
    let version = if setup.flavor == Flavor::Busway { busway::VERSION } else { "0.5.6" };
    let output = ask(setup, &broker, "info");
    let pairs = pairs(&output);
    assert_eq!(pairs.iter().map(|(field, _)| *field).collect::<Vec<_>>(), ["author", "version"]);
    assert_eq!(pairs[1].1, version);
    let objects = ask_for_json(setup, &broker, "info");
    assert_eq!((objects.len(), &objects[0]["version"]), (1, &json!(version)));
    assert!(objects[0]["author"].is_string());
}

fn stats_count_up(setup: &Setup) {
    let broker = setup.start();
    let frames = |object: &Value| object["r_frames"].as_u64().expect("a number");
    let before = frames(&ask_for_json(setup, &broker, "stats")[0]);
    let mut anna = broker.peer("anna");
    for _ in 0..10 {
        anna.perform(Request::publish("light", "on"));
    }
    let after = &ask_for_json(setup, &broker, "stats")[0];
    assert!(frames(after) >= before + 10, "{before} and then {after}");
    for field in ["uptime", "r_bytes", "w_frames", "w_bytes"] {
        assert!(after[field].is_u64(), "{field} of {after}");
    }
    let table = ask(setup, &broker, "stats");
    assert!(pairs(&table).iter().any(|(field, value)| *field == "r_frames" && value.parse::<u64>().is_ok()), "{table}");
}

fn clients_are_listed_as_a_table(setup: &Setup) {
    let broker = setup.start();
    let _peers = [broker.peer("anna"), broker.peer("bert"), broker.peer("anna%%2")];
    let table = ask(setup, &broker, "client.list");
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let titles = rows.next().expect("a table has a head");
    assert_eq!(titles[..2], ["name", "kind"]);
    assert!(titles.contains(&"ins"));
    assert!(
        table.lines().next().is_some_and(|titles| titles.contains("in place") && titles.contains("copied")),
        "{table}"
    );
    let kind = if setup.transport == Transport::Unix { "local_ipc" } else { "tcp" };
    let rows: Vec<_> = rows.map(|row| (row[0].to_owned(), row[1].to_owned())).collect();
    let expected = [(".broker", "internal"), ("anna", kind), ("bert", kind)];
    assert_eq!(rows, expected.map(|(name, kind)| (name.to_owned(), kind.to_owned())), "without the one that asks");
}

fn clients_are_listed_as_an_object_a_line(setup: &Setup) {
    let broker = setup.start();
    let _peers = [broker.peer("anna"), broker.peer("anna%%2")];
    let objects = ask_for_json(setup, &broker, "client.list");
    assert_eq!(objects.iter().map(|object| &object["name"]).collect::<Vec<_>>(), [".broker", "anna"]);
    let anna = &objects[1];
    assert_eq!(anna["instances"], 2);
    for field in ["r_frames", "r_bytes", "w_frames", "w_bytes", "queue"] {
        assert!(anna[field].is_u64(), "{field} of {anna}");
    }
}

fn names_in_the_table_bring_no_escape_sequences(setup: &Setup) {
    let broker = setup.start();
    let _peer = broker.peer("red\x1B[31m\nbell\x07");
    let table = ask(setup, &broker, "client.list");
    assert!(table.chars().all(|letter| !letter.is_control() || letter == '\n'), "{table:?}");
    assert_eq!(table.lines().count(), 3, "{table}");
    let objects = ask_for_json(setup, &broker, "client.list");
    assert_eq!(objects[1]["name"], json!("red\x1B[31m\nbell\x07"), "for programs it is what it was");
}

fn quotes_in_the_table_are_what_they_are(setup: &Setup) {
    let broker = setup.start();
    let _peer = broker.peer("anna's \"lamp\"\\");
    let table = ask(setup, &broker, "client.list");
    assert!(table.contains("anna's \"lamp\"\\\\ "), "a backslash alone is written as two: {table}");
}

fn an_empty_list_is_a_table_without_rows(setup: &Setup) {
    let broker = setup.start();
    let table = ask(setup, &broker, "client.list");
    // The broker's own client is always there.
    assert_eq!(table.lines().count(), 2, "{table}");
}

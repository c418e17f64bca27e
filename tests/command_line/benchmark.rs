//! `busway benchmark`: every row, what is counted, and how it ends.

use std::fs::OpenOptions;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Busway, Running, objects};
use crate::support::{BrokerProcess, Setup, eventually, promises};

promises! {
    everywhere {
        every_row_is_measured
        every_frame_that_was_sent_is_received
        the_table_has_a_line_for_each_row
        payloads_of_any_length_arrive
        a_frame_at_a_time_is_enough
        a_broker_that_is_killed_amid_is_a_lost_connection
        what_was_measured_before_the_broker_went_is_printed
        an_output_that_takes_nothing_hides_no_other_reason
        an_interruption_ends_it_with_what_was_measured
        a_broker_that_stands_still_is_given_up
        several_run_at_once
    }
    busway_only {
        "the reference cuts a client whose queue is full": a_narrow_queue_of_the_broker_loses_nothing
    }
    busway_unix_only {
        "the reference has no lane": the_lane_is_used_unless_it_is_declined
    }
    busway_tcp_only {
        "only TCP is far away": the_lane_is_refused_over_tcp
    }
    reference_only {
        a_lane_that_is_not_there_is_refused
    }
}

const ROWS: [&str; 11] = [
    "rpc.call",
    "rpc.call+handle",
    "rpc.call0",
    "send.qos.no",
    "send.qos.processed",
    "send+recv.qos.no",
    "send+recv.qos.processed",
    "publish+recv.qos.no",
    "publish+recv.qos.processed",
    "round.trip.qos.no",
    "round.trip.qos.realtime",
];
/// Those in which nothing arrives.
const TO_NOBODY: [&str; 3] = ["rpc.call0", "send.qos.no", "send.qos.processed"];
/// Those in which nobody waits for a single frame.
const WITHOUT_LATENCY: [&str; 3] = ["send.qos.no", "send+recv.qos.no", "publish+recv.qos.no"];

fn benchmark(setup: &Setup, broker: &BrokerProcess, arguments: &[&str]) -> Busway {
    Busway::on(setup, broker, &[&["benchmark"], arguments].concat())
}

/// The rows, as objects.
fn measure(setup: &Setup, broker: &BrokerProcess, arguments: &[&str]) -> Vec<Value> {
    objects(&benchmark(setup, broker, &[&["--json"], arguments].concat()).output())
}

fn every_row_is_measured(setup: &Setup) {
    let broker = setup.start();
    let rows = measure(setup, &broker, &["--seconds", "0.02"]);
    let names: Vec<&str> = rows.iter().filter_map(|row| row["row"].as_str()).collect();
    assert_eq!(names, ROWS);
    for row in rows {
        let name = row["row"].as_str().expect("a row has a name");
        let positive = |field: &str| row[field].as_f64().is_some_and(|value| value > 0.0);
        assert!(positive("sent") && positive("seconds") && positive("per_second"), "{row}");
        assert_eq!(row["payload_bytes"], 100, "{row}");
        assert_eq!(row["interrupted"], false, "{row}");
        assert_eq!(row["received"].is_null(), TO_NOBODY.contains(&name), "{row}");
        for field in ["latency_p50_us", "latency_p99_us", "latency_p99_9_us", "latency_max_us"] {
            assert_eq!(positive(field), !WITHOUT_LATENCY.contains(&name), "{field} of {row}");
        }
        assert!(["lane", "unix", "tcp"].map(Value::from).contains(&row["transport"]), "{row}");
    }
    broker.expect_service();
}

fn every_frame_that_was_sent_is_received(setup: &Setup) {
    let broker = setup.start();
    for workers in 1..=4_u64 {
        // Not all have the same share of 101.
        let arguments = ["--iterations", "101", "--receivers", "3", "--workers", &workers.to_string()];
        for row in measure(setup, &broker, &arguments) {
            let name = row["row"].as_str().expect("a row has a name");
            assert_eq!((&row["sent"], &row["workers"]), (&101.into(), &workers.into()), "{row}");
            if TO_NOBODY.contains(&name) {
                continue;
            }
            let receivers = if name.starts_with("publish") { 3 } else { 1 };
            assert_eq!((&row["received"], &row["lost"]), (&(101 * receivers).into(), &0.into()), "{row}");
        }
    }
}

fn the_table_has_a_line_for_each_row(setup: &Setup) {
    let broker = setup.start();
    let arguments = ["-w", "2", "-i", "1200", "--row", "round.trip.qos.realtime", "--row", "send+recv.qos.no"];
    let table = benchmark(setup, &broker, &arguments).output();
    let lines: Vec<&str> = table.lines().collect();
    let [heading, titles, round_trip, received] = lines[..] else { panic!("{table}") };
    assert!(heading.contains("workers: 2") && heading.contains("100 bytes"), "{table}");
    for title in ["row", "sent", "received", "lost", "seconds", "per second", "MB/s", "p50 us", "p99 us", "p99.9 us"] {
        assert!(titles.contains(title), "{title} is missing in\n{table}");
    }
    for (line, name) in [(round_trip, "round.trip.qos.realtime"), (received, "send+recv.qos.no")] {
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((cells[0], &cells[2..5]), (name, &["1,200", "1,200", "0"][..]), "{table}");
    }
}

fn payloads_of_any_length_arrive(setup: &Setup) {
    let broker = setup.start();
    for (length, bytes, count) in [("0", 0, 30), ("1", 1, 30), ("1M", 1 << 20, 3)] {
        let arguments = ["--payload-size", length, "--iterations", &count.to_string()];
        let rows = measure(setup, &broker, &arguments);
        assert_eq!(rows.len(), ROWS.len());
        for row in rows {
            assert_eq!((&row["payload_bytes"], &row["sent"]), (&bytes.into(), &count.into()), "{row}");
            assert!(row["lost"].is_null() || row["lost"] == 0, "{row}");
        }
    }
}

fn a_frame_at_a_time_is_enough(setup: &Setup) {
    let broker = setup.start();
    let rows = measure(setup, &broker, &["--window", "1", "--seconds", "0.02", "--row", "publish+recv.qos.no"]);
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(row["received"].as_u64(), row["sent"].as_u64().map(|sent| sent * 4), "{row}");
}

fn a_narrow_queue_of_the_broker_loses_nothing(setup: &Setup) {
    let broker = setup.start_with(&["--queue-size", "16"]);
    // A sender that floods itself is held, not cut.
    let rows = measure(setup, &broker, &["--iterations", "5000", "--row", "send+recv.qos.no"]);
    assert_eq!((&rows[0]["received"], &rows[0]["lost"]), (&5000.into(), &0.into()), "{rows:?}");
    // Others are sent no more than the window.
    let rows = measure(setup, &broker, &["--iterations", "5000", "--window", "8", "--row", "publish+recv.qos.no"]);
    assert_eq!((&rows[0]["received"], &rows[0]["lost"]), (&20_000.into(), &0.into()), "{rows:?}");
    assert!(!broker.log().contains("cut"), "{}", broker.log());
}

/// Starts rows that take long, and waits until a client of the one of that number, or of a later one, has sent so many
/// frames: what it does before it begins takes fewer.
fn start(setup: &Setup, broker: &BrokerProcess, arguments: &[&str], point: (usize, u64)) -> Running {
    let running = benchmark(setup, broker, &[&["-n", "bench"], arguments].concat()).start();
    wait_until_under_way(setup, broker, point);
    running
}

/// As [`start`], for rows that are started already.
fn wait_until_under_way(setup: &Setup, broker: &BrokerProcess, (row, frames): (usize, u64)) {
    eventually("the row is under way", || {
        let clients = objects(&Busway::on(setup, broker, &["--json", "broker", "client.list"]).output());
        clients.iter().any(|client| {
            let number =
                client["name"].as_str().and_then(|name| name.strip_prefix("bench.")?.split('.').next()?.parse().ok());
            number.is_some_and(|number: usize| number >= row) && client["r_frames"].as_u64() > Some(frames)
        })
    });
}

fn a_broker_that_is_killed_amid_is_a_lost_connection(setup: &Setup) {
    for row in ["rpc.call", "send.qos.no", "send+recv.qos.no", "publish+recv.qos.processed", "round.trip.qos.realtime"]
    {
        let mut broker = setup.start();
        let running = start(setup, &broker, &["--seconds", "60", "--row", row], (0, 50));
        broker.signal(Signal::KILL);
        broker.wait();
        running.finish().expect_failure(3, &[row]);
    }
}

fn what_was_measured_before_the_broker_went_is_printed(setup: &Setup) {
    let rows = ["--row", "rpc.call"].repeat(200);
    for json in [&["--json"][..], &[]] {
        let mut broker = setup.start();
        let running = start(setup, &broker, &[&["--seconds", "0.05"], json, &rows].concat(), (2, 0));
        broker.signal(Signal::KILL);
        broker.wait();
        let finished = running.finish();
        assert_eq!(finished.code, 3, "{finished:?}");
        assert!(finished.stderr.starts_with("busway: "), "{finished:?}");
        let measured = finished.stdout.lines().filter(|line| line.contains("rpc.call")).count();
        assert!((2..200).contains(&measured), "{finished:?}");
    }
}

fn an_output_that_takes_nothing_hides_no_other_reason(setup: &Setup) {
    let mut broker = setup.start();
    let full = OpenOptions::new().write(true).open("/dev/full").expect("the device is there");
    let arguments = [&["-n", "bench", "--seconds", "0.05"][..], &["--row", "rpc.call"].repeat(200)].concat();
    let running = benchmark(setup, &broker, &arguments).standard_output(full).start();
    wait_until_under_way(setup, &broker, (2, 0));
    broker.signal(Signal::KILL);
    broker.wait();
    // It is killed amid a row, or before the next one has connected.
    let finished = running.finish();
    assert!(finished.code == 3 && !finished.stderr.contains("output"), "{finished:?}");
}

fn an_interruption_ends_it_with_what_was_measured(setup: &Setup) {
    let broker = setup.start();
    // What is not counted is 10,000 frames.
    let arguments = ["--json", "--iterations", "1000000000", "--row", "send+recv.qos.no"];
    let running = start(setup, &broker, &arguments, (0, 15_000));
    running.signal(Signal::INT);
    let finished = running.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, "interrupted amid send+recv.qos.no\n"), "{finished:?}");
    let rows = objects(&finished.stdout);
    let [row] = &rows[..] else { panic!("{finished:?}") };
    assert_eq!((&row["interrupted"], &row["lost"]), (&true.into(), &0.into()), "{row}");
    assert!(row["received"].as_u64().is_some_and(|received| received > 0), "{row}");
    assert_eq!(row["received"], row["sent"], "{row}");
    broker.expect_service();
}

fn a_broker_that_stands_still_is_given_up(setup: &Setup) {
    for row in ["rpc.call", "send+recv.qos.no"] {
        let broker = setup.start();
        let running = start(setup, &broker, &["--timeout", "0.3", "--seconds", "60", "--row", row], (0, 50));
        broker.freeze();
        let finished = running.finish();
        broker.signal(Signal::CONT);
        finished.expect_failure(1, &[row]);
    }
}

fn several_run_at_once(setup: &Setup) {
    let broker = setup.start();
    let arguments =
        ["--json", "--iterations", "1000", "--row", "publish+recv.qos.no", "--row", "round.trip.qos.realtime"];
    let running: Vec<Running> = (0..2).map(|_| benchmark(setup, &broker, &arguments).start()).collect();
    for running in running {
        let finished = running.finish();
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""));
        for row in objects(&finished.stdout) {
            assert_eq!((&row["sent"], &row["lost"]), (&1000.into(), &0.into()), "{row}");
        }
    }
}

fn the_lane_is_used_unless_it_is_declined(setup: &Setup) {
    let broker = setup.start();
    for (path, transport) in [("auto", "lane"), ("lane", "lane"), ("socket", "unix")] {
        for row in measure(setup, &broker, &["--iterations", "10", "--transport", path]) {
            assert_eq!(row["transport"], transport, "{row}");
        }
    }
    let broker = setup.start_with(&["--shm", "off"]);
    let rows = measure(setup, &broker, &["--iterations", "10", "--row", "round.trip.qos.realtime"]);
    assert_eq!(rows[0]["transport"], "unix", "{rows:?}");
    let finished = benchmark(setup, &broker, &["--iterations", "10", "--transport", "lane"]).run();
    finished.expect_failure(1, &["no lane", "switched off at the broker"]);
}

fn the_lane_is_refused_over_tcp(setup: &Setup) {
    let broker = setup.start();
    benchmark(setup, &broker, &["--transport", "lane"]).run().expect_failure(1, &["no lane", "TCP"]);
}

fn a_lane_that_is_not_there_is_refused(setup: &Setup) {
    let broker = setup.start();
    let finished = benchmark(setup, &broker, &["--transport", "lane"]).run();
    finished.expect_failure(1, &["no lane"]);
}

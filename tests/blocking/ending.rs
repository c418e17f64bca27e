//! The end of clients, threads and programs: what was accepted arrives, and nothing stays behind.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc::channel;

use busway::blocking::Client;
use busway::blocking::rpc::{Methods, Request, Rpc};
use busway::{Endpoint, QoS};

use crate::bus::{Bus, Place};
use crate::support::eventually;
use crate::threads::{client, next_text, open, subscriber, threads, wait_until_gone};

threads! {
    everywhere {
        what_was_published_before_the_drop_arrives
        the_name_of_a_dropped_client_is_free
        a_clone_goes_on
    }
    behind_sockets {
        a_drop_while_the_broker_is_busy_loses_nothing
    }
    alone {
        a_program_that_ends_after_its_last_publication_loses_nothing
        a_hundred_clients_have_no_thread_of_their_own
    }
}

const FRAMES: usize = 500;

/// Copied ones and shared ones, more than a socket takes at once.
fn payload(number: usize) -> Vec<u8> {
    let mut payload = format!("{number} ").into_bytes();
    payload.resize(if number.is_multiple_of(5) { 40_000 } else { 1_000 }, b'.');
    payload
}

fn publish_all(client: &Client) {
    for number in 0..FRAMES {
        client.publish("bulk", payload(number)).wait().expect("it is accepted");
    }
}

fn expect_all(receiver: &Client) {
    for number in 0..FRAMES {
        let frame = receiver.recv().expect("the receiver is connected");
        assert!(frame.payload().as_slice() == payload(number), "frame {number} of {FRAMES}");
    }
}

fn what_was_published_before_the_drop_arrives(bus: &mut Bus) {
    let receiver = subscriber(bus, "receiver", &["bulk"]);
    for _ in 0..10 {
        let sender = client(bus, "sender");
        sender.publish("bulk", "one").wait().expect("it is accepted");
        sender.send("receiver", "two").qos(QoS::Realtime).wait().expect("it is accepted");
        drop(sender);
        assert_eq!([next_text(&receiver), next_text(&receiver)], ["one", "two"]);
        wait_until_gone(bus, "sender");
    }
    let sender = client(bus, "sender");
    publish_all(&sender);
    drop(sender);
    expect_all(&receiver);
}

/// The drop waits for the broker, as far as it lies with the client.
fn the_name_of_a_dropped_client_is_free(bus: &mut Bus) {
    for _ in 0..10 {
        drop(client(bus, "anna"));
        wait_until_gone(bus, "anna");
    }
}

fn a_clone_goes_on(bus: &mut Bus) {
    let anna = client(bus, "anna");
    let clone = anna.clone();
    drop(anna);
    clone.send("anna", "still here").wait().expect("it is accepted");
    assert_eq!(next_text(&clone), "still here");
}

fn a_drop_while_the_broker_is_busy_loses_nothing(bus: &mut Bus) {
    let (sender, receiver) = (client(bus, "sender"), subscriber(bus, "receiver", &["bulk"]));
    bus.process().freeze();
    publish_all(&sender);
    let dropping = std::thread::spawn(move || drop(sender));
    bus.thaw();
    dropping.join().expect("no panic");
    expect_all(&receiver);
}

/// What a program of its own is told by its environment.
const PROGRAM: &str = "BUSWAY_TEST_PROGRAM";

/// Runs one test of this program once more, by itself: it finds its arguments in the environment.
fn run_alone(test: &str, arguments: &str) -> Output {
    let program = env::current_exe().expect("this program has a path");
    let output = Command::new(program).args(["--exact", test]).env(PROGRAM, arguments).output();
    let output = output.expect("this program can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    output
}

fn a_program_that_ends_after_its_last_publication_loses_nothing() {
    if let Ok(endpoint) = env::var(PROGRAM) {
        return end_at_once(&endpoint);
    }
    for place in
        [Place::BUSWAY_UNIX, Place::BUSWAY_LANE, Place::BUSWAY_TCP, Place::REFERENCE_UNIX, Place::REFERENCE_TCP]
    {
        let bus = open(place);
        let receiver = subscriber(&bus, "receiver", &["bulk"]);
        let endpoint = bus.endpoint().to_string();
        run_alone("ending::alone::a_program_that_ends_after_its_last_publication_loses_nothing", &endpoint);
        expect_all(&receiver);
        expect_all(&receiver);
        expect_all(&receiver);
    }
}

/// A client that is dropped, one on which an RPC layer stands, and one of which a handler is running; then the program has
/// nothing more to do and ends, whatever else of it runs.
fn end_at_once(endpoint: &str) {
    let client = Client::connect(Endpoint::from(endpoint.to_owned()), "program").expect("the broker is there");
    publish_all(&client);
    drop(client);
    let client = Client::connect(Endpoint::from(endpoint.to_owned()), "service").expect("the broker is there");
    let rpc = Rpc::new(client, Methods::new().method("echo", |request: Request| Ok(request.params())));
    publish_all(rpc.client());
    drop(rpc);
    let client = Client::connect(Endpoint::from(endpoint.to_owned()), "busy service").expect("the broker is there");
    let (begun, has_begun) = channel();
    let busy = Methods::new().on_notification(move |_| {
        begun.send(()).expect("somebody looks");
        loop {
            std::thread::park();
        }
    });
    let rpc = Rpc::new(client, busy);
    rpc.notify("busy service", "").wait().expect("it is there");
    has_begun.recv().expect("it begins");
    publish_all(rpc.client());
    drop(rpc);
    std::process::exit(0);
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("this process has threads").count()
}

fn names_of_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("this process has threads");
    let comm = |entry: std::io::Result<fs::DirEntry>| -> Option<PathBuf> { Some(entry.ok()?.path().join("comm")) };
    tasks.filter_map(comm).filter_map(|path| Some(fs::read_to_string(path).ok()?.trim().to_owned())).collect()
}

fn a_hundred_clients_have_no_thread_of_their_own() {
    if env::var(PROGRAM).is_err() {
        let output = run_alone("ending::alone::a_hundred_clients_have_no_thread_of_their_own", "yes");
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(words.contains("1 passed"), "{words}");
        return;
    }
    let bus = open(Place::BUSWAY_LANE);
    let first = client(&bus, "first");
    let before = threads();
    assert_eq!(names_of_threads().iter().filter(|name| *name == "busway-blocking").count(), 1);
    let clients: Vec<_> = (0..100).map(|number| client(&bus, &format!("client.{number}"))).collect();
    let services: Vec<_> =
        clients.iter().map(|client| Rpc::new(client.clone(), Methods::new().method("name", |_| Ok("")))).collect();
    for client in &clients {
        first.send(client.name(), "hello").qos(QoS::Processed).wait().expect("it is there");
    }
    // Those that handled or mapped something go when they have nothing to do for a while.
    let of_clients = |names: Vec<String>| names.iter().filter(|name| *name != "busway-handler").count();
    eventually("no more threads for a hundred clients", || of_clients(names_of_threads()) <= before);
    drop((clients, services));
    eventually("the end of idle threads", || threads() <= before);
    first.send("first", "still here").qos(QoS::Processed).wait().expect("it is connected");
}

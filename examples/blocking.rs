//! A program without async code: subscribe, publish, receive, serve a method and call it. Start `buswayd` first, or give
//! the broker's endpoint as an argument: `cargo run --example blocking -- /path/to/bus.sock`.

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::thread;

use busway::QoS;
use busway::blocking::Client;
use busway::blocking::rpc::{Methods, Request, Rpc};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args().nth(1);
    let connect = |name| match endpoint.as_deref() {
        Some(endpoint) => Client::connect(endpoint, name),
        None => Client::connect_default(name),
    };
    let client = connect("example.blocking")?;
    client.subscribe("greetings/#").wait()?;

    // Threads may share a client, or clone it.
    thread::scope(|scope| {
        for name in ["world", "moon"] {
            let client = &client;
            scope.spawn(move || client.publish(&format!("greetings/{name}"), "hello").qos(QoS::Processed).wait());
        }
    });
    for frame in client.iter().take(2) {
        println!("{} on {:?}: {}", frame.sender(), frame.topic(), String::from_utf8_lossy(frame.payload()));
    }

    // Handlers may block, and call others.
    let methods = Methods::new()
        .method("twice", |request: Request| Ok(request.params().repeat(2)))
        .typed_method("add", |(one, other): (i64, i64), _| Ok(one + other));
    let _service = Rpc::new(connect("example.calculator")?, methods);
    let rpc = Rpc::new(client, ());
    let sum: i64 = rpc.call_typed("example.calculator", "add", &(40, 2)).wait()?;
    println!("40 + 2 = {sum}");
    Ok(())
}

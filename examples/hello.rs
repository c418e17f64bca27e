//! Hello, bus: subscribe, publish, receive. Start `buswayd` first, or give the broker's endpoint as an argument:
//! `cargo run --example hello -- /path/to/bus.sock`.

#![allow(clippy::print_stdout, reason = "an example talks")]

use busway::{Client, QoS};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = match std::env::args().nth(1) {
        Some(endpoint) => Client::connect(endpoint, "example.hello").await?,
        None => Client::connect_default("example.hello").await?,
    };
    client.subscribe("greetings/#").await?;
    client.publish("greetings/world", "hello, world").qos(QoS::Processed).await?;
    let frame = client.recv().await.ok_or("the broker has gone")?;
    println!("{} on {:?}: {}", frame.sender(), frame.topic(), String::from_utf8_lossy(frame.payload()));
    client.close().await;
    Ok(())
}

//! A broker inside a program: its own parts talk without a socket, other processes through one.

#![allow(clippy::print_stdout, reason = "an example talks")]

use busway::Client;
use busway::broker::Broker;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("busway-example-{}.sock", std::process::id()));
    let broker = Broker::builder().unix(&path).start().await?;
    let inside = broker.client("inside")?;
    inside.subscribe("sensor/+").await?;

    // This would be another process.
    let outside = Client::connect(&path, "outside").await?;
    for reading in 1..=3 {
        outside.publish("sensor/light", format!("{reading}")).await?;
    }
    outside.close().await;

    for _ in 0..3 {
        let frame = inside.recv().await.ok_or("the broker has ended")?;
        println!("{}: {}", frame.sender(), String::from_utf8_lossy(frame.payload()));
    }
    println!("{:?}", broker.stats());
    broker.shut_down().await;
    Ok(())
}

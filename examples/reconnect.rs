//! A client that survives its broker: stop and start `buswayd` while this runs.
//! `cargo run --example reconnect -- /path/to/bus.sock`.

#![allow(clippy::print_stdout, reason = "an example talks")]

use busway::Client;
use busway::client::Reconnect;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args().nth(1).ok_or("usage: reconnect ENDPOINT")?;
    let client =
        Client::builder(endpoint.as_str(), "example.reconnect").reconnect(Reconnect::default()).connect().await?;
    client.subscribe("#").await?;
    let mut state = client.state();
    loop {
        tokio::select! {
            changed = state.changed() => {
                changed?;
                println!("now {:?}", *state.borrow_and_update());
            }
            frame = client.recv() => match frame {
                Some(frame) => println!("{} from {}", frame.topic().unwrap_or("message"), frame.sender()),
                None => return Ok(()),
            },
        }
    }
}

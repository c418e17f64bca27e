//! One camera, several viewers: frames of 1920 x 1080 x 3 bytes at 60 Hz, written once and read in place by all.
//!
//! ```sh
//! buswayd                                              # in one terminal
//! cargo run --release --example camera -- view         # in another, and in a third ...
//! cargo run --release --example camera                 # and the camera itself
//! ```
//!
//! A viewer prints once a second how many frames it got, how many of them in place, and how long they took from the
//! camera's call to here (median, 99 % and longest, in microseconds).

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use busway::{Client, Loan};

const LENGTH: usize = 1920 * 1080 * 3;
const RATE: u32 = 60;
const TOPIC: &str = "camera/front";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("view") {
        let client = Client::connect_default(&format!("viewer.{}", std::process::id())).await?;
        view(&client).await
    } else {
        let client = Client::connect_default("camera.front").await?;
        publish(&client).await
    }
}

async fn publish(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    for number in 0_u64.. {
        ticks.tick().await;
        let mut frame = client.loan(LENGTH);
        expose(&mut frame, number);
        client.publish(TOPIC, frame).await?;
    }
    Ok(())
}

/// What a camera's driver would do: writes every pixel, and the time into the first of them.
fn expose(frame: &mut Loan, number: u64) {
    frame.fill(number.to_le_bytes()[0]);
    frame[..8].copy_from_slice(&now().to_le_bytes());
}

async fn view(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    client.subscribe(TOPIC).await?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let (mut delays, mut in_place) = (Vec::new(), 0);
    loop {
        tokio::select! {
            frame = client.recv() => {
                let frame = frame.ok_or("the broker has gone")?;
                let payload = frame.payload();
                in_place += usize::from(payload.is_in_place());
                let sent = payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                delays.push(now().saturating_sub(sent) / 1_000);
            }
            _ = ticks.tick() => {
                delays.sort_unstable();
                let at = |hundredths: usize| delays.get(delays.len() * hundredths / 100).copied().unwrap_or(0);
                println!(
                    "{} frames/s, {in_place} in place, delay {} / {} / {} us ({})",
                    delays.len(), at(50), at(99), delays.last().unwrap_or(&0), client.transport(),
                );
                (delays, in_place) = (Vec::new(), 0);
            }
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

//! A load to measure with: publishes, receives or just stays connected. `tools/lane-costs` runs it.
//!
//! ```sh
//! cargo run --release --example load -- subscribe /run/busway/busway.sock receiver 1000
//! cargo run --release --example load -- publish   /run/busway/busway.sock 65536 200 1000
//! cargo run --release --example load -- idle      /run/busway/busway.sock 100
//! ```
//!
//! `publish SOCKET BYTES RATE COUNT` sends COUNT payloads of BYTES each, written once into a loan, RATE a second (0: as
//! fast as it can, while no more than 2048 are on their way), after a pause at which it says `ready` and waits for a
//! line on its standard input; with a fifth number it also writes that many bytes of its own memory before each, which
//! empties the caches as a payload of that size would. `subscribe SOCKET NAME COUNT` receives as many. Both wait
//! so again after they have said `done`, and print one line at the end. Start the subscriber first. Several are named with
//! their numbers (`load.0`, `load.1`): only the first lets the publisher go on.

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::io::BufRead;
use std::time::Duration;

use busway::client::Transport;
use busway::{Client, QoS};
use tokio::time::MissedTickBehavior;

type Failure = Box<dyn std::error::Error>;

/// Payloads that go before those that are counted: arenas are made and introduced meanwhile.
const WARM_UP: usize = 400;
/// The first of these go slowly: until arenas are there, payloads are copied.
const GENTLE: usize = 20;
/// An unpaced publisher lets this many be on their way.
const WINDOW: usize = 2048;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["publish", socket, bytes, rate, count] => {
            publish(socket, (bytes.parse()?, 0), rate.parse()?, count.parse()?).await
        }
        ["publish", socket, bytes, rate, count, beside] => {
            publish(socket, (bytes.parse()?, beside.parse()?), rate.parse()?, count.parse()?).await
        }
        ["subscribe", socket, name, count] => subscribe(socket, name, count.parse()?).await,
        ["idle", socket, count] => idle(socket, count.parse()?).await,
        _ => {
            Err("usage: load publish SOCKET BYTES RATE COUNT | subscribe SOCKET NAME COUNT | idle SOCKET COUNT".into())
        }
    }
}

async fn connect(socket: &str, name: &str) -> Result<Client, Failure> {
    let client = Client::connect(socket, name).await?;
    // A broker without the lane is measured as it is.
    for _ in 0..500 {
        if client.transport() == Transport::Lane {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(client)
}

async fn publish(socket: &str, (bytes, beside): (usize, usize), rate: u32, count: usize) -> Result<(), Failure> {
    let client = connect(socket, "load.publisher").await?;
    client.subscribe("load/credit").await?;
    let mut ticks = (rate > 0).then(|| tokio::time::interval(Duration::from_secs(1) / rate));
    if let Some(ticks) = &mut ticks {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut beside = vec![0; beside];
    let mut credit = WINDOW;
    for number in 0..WARM_UP + count {
        if number < GENTLE {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        if number == WARM_UP {
            // Everything that went before has arrived.
            client.send("load.publisher", "").qos(QoS::Processed).await?;
            tokio::time::sleep(Duration::from_millis(300)).await;
            pause("ready")?;
        }
        match &mut ticks {
            Some(ticks) => drop(ticks.tick().await),
            None if credit == 0 => {
                while client.recv().await.is_some_and(|frame| frame.topic().is_none()) {}
                credit += WINDOW / 2;
            }
            None => {}
        }
        credit = credit.saturating_sub(1);
        beside.fill(number.to_le_bytes()[0]);
        let mut loan = client.loan(bytes);
        loan.fill(number.to_le_bytes()[0]);
        client.publish("load/data", loan).await?;
    }
    client.flush().await?;
    pause("done")?;
    println!("published {count} by {}", client.transport());
    Ok(())
}

async fn subscribe(socket: &str, name: &str, count: usize) -> Result<(), Failure> {
    let client = connect(socket, name).await?;
    client.subscribe("load/data").await?;
    pause("ready")?;
    let number_of_name = name.rsplit_once('.').and_then(|(_, last)| last.parse::<u32>().ok());
    let paces = number_of_name.unwrap_or(0) == 0;
    let mut in_place = 0;
    for number in 1..=WARM_UP + count {
        let frame = client.recv().await.ok_or("the broker has gone")?;
        if frame.lost_before() > 0 {
            return Err(format!("{} frames were lost", frame.lost_before()).into());
        }
        in_place += usize::from(number > WARM_UP && frame.payload().is_in_place());
        drop(frame);
        if number % (WINDOW / 2) == 0 && paces {
            client.publish("load/credit", "").await?;
        }
    }
    pause("done")?;
    println!("received {count}, {in_place} in place, by {}", client.transport());
    Ok(())
}

async fn idle(socket: &str, count: usize) -> Result<(), Failure> {
    let mut clients = Vec::new();
    for number in 0..count {
        clients.push(connect(socket, &format!("load.idle.{number}")).await?);
    }
    let on_lane = clients.iter().filter(|client| client.transport() == Transport::Lane).count();
    println!("{on_lane} on the lane");
    tokio::task::spawn_blocking(|| pause("ready").map_err(|error| error.to_string())).await??;
    Ok(())
}

/// Says a word and waits for a line.
fn pause(word: &str) -> Result<(), Failure> {
    println!("{word}");
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

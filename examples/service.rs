//! A service for others to call: raw and typed methods, errors, a cursor, notifications. Start `buswayd` first, then
//! `cargo run --example service -- [ENDPOINT [NAME]]`, and in another terminal
//! `cargo run --features cli --bin busway -- rpc call example.service add one=40 other=2`.

#![allow(clippy::print_stdout, reason = "an example talks")]

use std::time::Duration;

use busway::Client;
use busway::rpc::{Cursors, ErrorCode, Methods, Request, Rpc, RpcError};
use serde::Deserialize;

#[derive(Deserialize)]
struct Sum {
    one: i64,
    other: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next();
    let name = arguments.next().unwrap_or_else(|| "example.service".to_owned());

    let cursors = Cursors::new(Duration::from_secs(30));
    let opened = cursors.clone();
    let methods = Methods::new()
        .method("echo", async |request: Request| Ok(request.params()))
        .method("fail", async |_| Err::<&str, _>(RpcError::new(ErrorCode(-777), "out of fruit")))
        .typed_method("add", async |sum: Sum, _| Ok(sum.one + sum.other))
        .typed_method("count", move |number: u32, _| {
            let handle = opened.open_packed(0..number);
            async move { handle }
        })
        .cursors(&cursors)
        .on_notification(async |notification| {
            println!("{} says {}", notification.sender(), String::from_utf8_lossy(&notification.payload()));
        });
    let client = match endpoint {
        Some(endpoint) => Client::connect(endpoint, &name).await?,
        None => Client::connect_default(&name).await?,
    };
    let rpc = Rpc::new(client, methods);
    println!("serving as {name}");
    rpc.closed().await;
    Ok(())
}

//! `busway rpc`: calls, notifications, and what others call.

use std::time::Duration;

use busway::Client;
use busway::rpc::{CallError, Rpc};

use crate::connection::connect;
use crate::failure::Failure;
use crate::names::shown;
use crate::options::{self, Options, RpcCall, RpcNotify};
use crate::output::Output;
use crate::{params, payload, rpc_listen, send};

pub(crate) async fn run(options: &Options, command: &options::Rpc, output: &mut Output) -> Result<(), Failure> {
    match command {
        options::Rpc::Listen(command) => rpc_listen::run(options, command, output).await,
        options::Rpc::Notify(command) => notify(options, command, output).await,
        options::Rpc::Call0(command) => call0(options, command, output).await,
        options::Rpc::Call(command) => call(options, command, output).await,
    }
}

/// An RPC layer that only calls.
pub(crate) fn caller(client: Client, timeout: Duration) -> Rpc {
    Rpc::builder(client).deadline(timeout).start(())
}

/// A call failed; `what` names it.
pub(crate) fn failure(what: &str, error: CallError) -> Failure {
    match error {
        CallError::Send(error) => Failure::of(what, &error),
        CallError::Answered(error) => {
            // The text comes from another process: no escape sequence of its reaches the terminal.
            let text = payload::on_one_line(&error.text());
            Failure::Failed(format!("{what}: error {}: {text}", error.code().0))
        }
        error => Failure::Failed(format!("{what}: {error}")),
    }
}

async fn notify(options: &Options, command: &RpcNotify, output: &mut Output) -> Result<(), Failure> {
    let payload = send::read(command.payload.as_deref())?;
    let rpc = caller(connect(options).await?, options.timeout);
    let sent = rpc.notify(&command.target, payload).qos(command.qos.into()).await;
    sent.map_err(|error| Failure::of(&command.target, &error))?;
    send::finish(rpc.client(), command.qos.into(), options, &command.target).await?;
    output.done()
}

async fn call0(options: &Options, command: &RpcCall, output: &mut Output) -> Result<(), Failure> {
    let params = params::pack(command)?;
    let rpc = caller(connect(options).await?, options.timeout);
    let called = rpc.call0(&command.target, &command.method, params).await;
    called.map_err(|error| failure(&command.target, error))?;
    rpc.close().await;
    output.done()
}

async fn call(options: &Options, command: &RpcCall, output: &mut Output) -> Result<(), Failure> {
    let params = params::pack(command)?;
    let rpc = caller(connect(options).await?, options.timeout);
    let what = format!("{} {}", command.target, shown(&command.method));
    let result = rpc.call(&command.target, &command.method, params).await.map_err(|error| failure(&what, error))?;
    rpc.close().await;
    if !output.is_json() {
        return output.line(&payload::describe_result(&result));
    }
    let mut object = serde_json::Map::new();
    object.insert("size".into(), result.len().into());
    payload::insert(&result, &mut object);
    if let Some(value) = payload::value_of_result(&result) {
        object.insert("value".into(), value);
    }
    output.object(&object.into())
}

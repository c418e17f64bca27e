//! `busway benchmark`: what a broker does in a second, and how long each thing takes.

mod caller;
mod clock;
mod group;
mod measured;
mod numbered;
mod options;
mod pair;
mod place;
mod plan;
mod progress;
mod row;
mod sender;
mod window;
mod work;
mod worker;

use std::io::{self, Write};
use std::sync::Arc;

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};

pub(crate) use options::Benchmark;

use crate::failure::Failure;
use crate::options::Options;
use crate::output::Output;
use clock::{Amount, Clock};
use measured::{Measured, TITLES};
use place::Place;
use plan::Plan;
use row::Row;
use worker::Worker;

pub(crate) async fn run(options: &Options, command: &Benchmark, output: &mut Output) -> Result<(), Failure> {
    let plan = Arc::new(Plan::new(options, command).await?);
    let mut done = Vec::new();
    let ended = measure(&plan, &mut done, output).await;
    // However it ended, what was measured is shown; whether it can be is the lesser news.
    let shown = show(command, &done, output);
    ended?;
    let lossy = done.iter().find(|measured| measured.lost() > 0);
    lossy.map_or(shown, |measured| {
        Err(Failure::Failed(format!("{}: {} frames were lost", measured.name(), measured.lost())))
    })
}

/// All rows, or those until somebody has had enough.
async fn measure(plan: &Arc<Plan>, done: &mut Vec<Measured>, output: &mut Output) -> Result<(), Failure> {
    let command = &plan.command;
    let rows = if command.rows.is_empty() { Row::value_variants() } else { &command.rows };
    let amount = command.iterations.map_or(Amount::Time(command.seconds), Amount::Iterations);
    let mut clock = Clock::new(plan.timeout)?;
    for (number, row) in rows.iter().enumerate() {
        let place = Place { plan: Arc::clone(plan), row: *row, number, worker: 0 };
        let Some(measured) = measure_row(&place, amount, &mut clock).await? else {
            let _ = writeln!(io::stderr(), "interrupted before {} was measured", row.name());
            return Ok(());
        };
        if output.is_json() {
            output.object(&measured.object())?;
            output.finish()?;
        }
        let is_interrupted = measured.is_interrupted();
        done.push(measured);
        if is_interrupted {
            let _ = writeln!(io::stderr(), "interrupted amid {}", row.name());
            return Ok(());
        }
    }
    Ok(())
}

/// `None` when it was interrupted before anything counted.
async fn measure_row(place: &Place, amount: Amount, clock: &mut Clock) -> Result<Option<Measured>, Failure> {
    let command = &place.plan.command;
    let mut workers = Vec::new();
    for worker in 0..command.workers {
        let place = Place { worker, ..place.clone() };
        workers.push((Arc::new(Worker::connect(&place).await?), place));
    }
    if clock.run(&workers, amount.warm_up()).await?.is_interrupted {
        return Ok(None);
    }
    let lap = clock.run(&workers, amount).await?;
    let clients: Vec<_> = workers.iter().flat_map(|(worker, _)| worker.clients()).collect();
    let measured = Measured::new(place.row, command, &clients, lap);
    for (worker, _) in &workers {
        worker.close().await;
    }
    Ok(Some(measured))
}

/// What was not yet.
fn show(command: &Benchmark, rows: &[Measured], output: &mut Output) -> Result<(), Failure> {
    if !output.is_json() && !rows.is_empty() {
        print_table(command, rows, output)?;
    }
    output.finish()
}

fn print_table(command: &Benchmark, rows: &[Measured], output: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(TITLES);
    table.add_rows(rows.iter().map(Measured::cells));
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    output.line(&format!(
        "workers: {}, payload: {} bytes, receivers of each publication: {}",
        command.workers, command.payload_size, command.receivers
    ))?;
    output.line(&table.to_string())
}

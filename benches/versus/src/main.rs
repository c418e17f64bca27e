//! Busway beside busrt and other buses, end to end: the same work, in separate processes, in alternation.
//!
//! This program is the driver and, called again by itself, every process of a run. `tools/versus.sh` builds all that
//! it needs and calls it.

#![forbid(unsafe_code)]

mod clock;
mod control;
mod credit;
mod failure;
mod plan;
mod roles;
mod stamp;
mod systems;

fn main(){ let a=std::env::args().nth(2).unwrap(); let p: plan::Plan = serde_json::from_str(&a).unwrap(); if let Err(e)=roles::run(&p){eprintln!("{e}");std::process::exit(1)} }

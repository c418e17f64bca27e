//! What was measured, as rows: for the eye, for programs, and against the targets.

mod file;
mod machine;
mod plots;
mod programs;
mod rows;
mod samples;
mod table;
mod targets;
mod verdicts;

pub(crate) use file::{Record, RunInfo};
pub(crate) use samples::{Case, Metric, Samples};

//! What the kernel enforces between two processes: seals, lifetimes, forks and bells.

#![cfg(not(loom))]

mod attacks;
mod bells;
mod forks;
mod lane;
mod limits;
mod peer;
mod segments;

//! Shared memory for the Busway lane: segments, rings, doorbells, arenas.
//!
//! This crate is the only room of the project in which `unsafe` may stand, and it knows neither sockets nor tokio.
//! It is empty in this version: peers exchange everything over sockets, and the seam through which the lane will
//! enter (`src/lane.rs` of the `busway` crate) is in place and tested.

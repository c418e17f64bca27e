//! What the tests and the fuzz targets share.

#![allow(dead_code, reason = "each test crate and fuzz target uses a part of it")]

pub(crate) mod checks;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod fifo;
pub(crate) mod memory;
pub(crate) mod plan;
pub(crate) mod rpc;

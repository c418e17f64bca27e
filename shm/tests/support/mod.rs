//! What the tests and the fuzz target share.

#![allow(dead_code, reason = "each test crate and fuzz target uses a part of it")]

pub(crate) mod checks;
pub(crate) mod choices;
pub(crate) mod liar;
pub(crate) mod records;
pub(crate) mod watched;

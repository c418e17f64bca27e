//! One promise, many tests: each is held against both brokers over both transports.

/// Turns functions of `&Setup` into tests named `busway_unix::PROMISE`, `busway_tcp::PROMISE`, `reference_unix::PROMISE` and
/// `reference_tcp::PROMISE`.
///
/// A promise under `busway_only` is one that the reference does not keep, on purpose of ours; there it is listed as
/// ignored, with the reason. `busway_unix_only` and `busway_tcp_only` are for promises about a path or a port.
/// A promise under `reference_only` says what the reference does instead, so that the reason stays true.
macro_rules! promises {
    (
        $(everywhere { $($all:ident)* })?
        $(busway_only { $($why:literal: $ours:ident)* })?
        $(busway_unix_only { $($unix_why:literal: $unix:ident)* })?
        $(busway_tcp_only { $($tcp_why:literal: $tcp:ident)* })?
        $(reference_only { $($theirs:ident)* })?
    ) => {
        mod busway_unix {
            use crate::support::{Flavor, Setup, Transport};
            const SETUP: Setup = Setup { flavor: Flavor::Busway, transport: Transport::Unix };
            $($(#[test] fn $all() { super::$all(&SETUP); })*)?
            $($(#[test] fn $ours() { super::$ours(&SETUP); })*)?
            $($(#[test] fn $unix() { super::$unix(&SETUP); })*)?
        }
        mod busway_tcp {
            use crate::support::{Flavor, Setup, Transport};
            const SETUP: Setup = Setup { flavor: Flavor::Busway, transport: Transport::Tcp };
            $($(#[test] fn $all() { super::$all(&SETUP); })*)?
            $($(#[test] fn $ours() { super::$ours(&SETUP); })*)?
            $($(#[test] fn $tcp() { super::$tcp(&SETUP); })*)?
        }
        mod reference_unix {
            use crate::support::{Flavor, Setup, Transport};
            const SETUP: Setup = Setup { flavor: Flavor::Reference, transport: Transport::Unix };
            $($(#[test] fn $all() { super::$all(&SETUP); })*)?
            $($(#[test] #[ignore = $why] fn $ours() { super::$ours(&SETUP); })*)?
            $($(#[test] #[ignore = $unix_why] fn $unix() { super::$unix(&SETUP); })*)?
            $($(#[test] fn $theirs() { super::$theirs(&SETUP); })*)?
        }
        mod reference_tcp {
            use crate::support::{Flavor, Setup, Transport};
            const SETUP: Setup = Setup { flavor: Flavor::Reference, transport: Transport::Tcp };
            $($(#[test] fn $all() { super::$all(&SETUP); })*)?
            $($(#[test] #[ignore = $why] fn $ours() { super::$ours(&SETUP); })*)?
            $($(#[test] #[ignore = $tcp_why] fn $tcp() { super::$tcp(&SETUP); })*)?
            $($(#[test] fn $theirs() { super::$theirs(&SETUP); })*)?
        }
    };
}

pub(crate) use promises;

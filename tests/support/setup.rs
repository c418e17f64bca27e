//! Which broker a promise is held against, and over which transport.

use std::path::{Path, PathBuf};
use std::{env, fmt};

use super::BrokerProcess;

/// Whose broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// Ours, `buswayd`.
    Busway,
    /// The broker that deployed clients know, busrtd 0.5.6.
    Reference,
}

impl Flavor {
    /// The program to start; `BUSWAY_REFERENCE` may name the directory where the reference lies. A missing one fails the test: a promise that was never tried is not kept.
    pub(crate) fn program(self) -> PathBuf {
        match self {
            Self::Busway => {
                let program = option_env!("CARGO_BIN_EXE_buswayd").map(PathBuf::from);
                program.filter(|path| path.is_file()).expect("buswayd missing: run cargo test --features server,cli")
            }
            Self::Reference => {
                let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/reference/bin");
                let programs = env::var_os("BUSWAY_REFERENCE").map_or(installed, PathBuf::from);
                let program = programs.join("busrtd");
                assert!(program.is_file(), "reference broker missing: run tools/test --install");
                program
            }
        }
    }
}

/// How the peers of a promise reach the broker; the broker serves both at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Unix,
    Tcp,
}

/// One row and one column of the table of promises.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) flavor: Flavor,
    pub(crate) transport: Transport,
}

impl Setup {
    /// A broker with nothing special about it.
    pub(crate) fn start(&self) -> BrokerProcess {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, options: &[&str]) -> BrokerProcess {
        BrokerProcess::start(*self, options)
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} over {:?}", self.flavor, self.transport)
    }
}

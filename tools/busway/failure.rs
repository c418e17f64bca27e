//! What ends the program early, and with which exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use busway::ResultCode;
use busway::client::{ConnectError, SendError};

/// Where to look when a connection has ended.
pub(crate) const LOG_SAYS_WHY: &str = "its log says why, if it still runs";

#[derive(Debug)]
pub(crate) enum Failure {
    /// Refused or failed.
    Failed(String),
    /// Cannot connect, or the broker went.
    NoBroker(String),
    /// Whoever reads the output has had enough.
    ClosedPipe,
}

impl Failure {
    /// Tells the user.
    pub(crate) fn report(&self) {
        if let Self::Failed(message) | Self::NoBroker(message) = self {
            let _ = writeln!(io::stderr(), "busway: {message}");
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::NoBroker(_) => ExitCode::from(3),
            Self::ClosedPipe => ExitCode::SUCCESS,
        }
    }

    /// An operation failed; `what` names it.
    pub(crate) fn of(what: &str, error: &SendError) -> Self {
        match error {
            SendError::Disconnected => {
                Self::NoBroker(format!("{what}: the broker closed the connection; {LOG_SAYS_WHY}"))
            }
            error => Self::Failed(format!("{what}: {error}")),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            // The code says both.
            ConnectError::Refused { code: ResultCode::BUSY, .. } => {
                Self::Failed(format!("{error}; or the broker has as many clients as --max-clients allows"))
            }
            ConnectError::Name(_) | ConnectError::Refused { .. } => Self::Failed(error.to_string()),
            error => Self::NoBroker(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::Failed(format!("cannot write the output: {error}"))
        }
    }
}

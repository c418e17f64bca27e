//! Running in the background (`-D`).
//!
//! The program starts itself once more, in a session of its own, and waits until that one listens: what goes wrong before
//! is said on the terminal and is in the exit code.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use super::Failure;

/// The option that tells the second one what it is.
const DETACHED: &str = "--detached";
/// What it says on its standard output when it listens.
const READY: u8 = b'.';

/// Starts the daemon and waits until it listens, or fails.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn launch() -> Result<ExitCode, Failure> {
    let cannot = |error| format!("cannot start in the background: {error}");
    let mut arguments = std::env::args_os();
    let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
    command.arg0(arguments.next().as_deref().unwrap_or(OsStr::new("buswayd")));
    command.arg(DETACHED).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut daemon = command.spawn().map_err(cannot)?;
    let mut word = [0];
    let said = daemon.stdout.as_mut().map(|stdout| stdout.read_exact(&mut word));
    if matches!(said, Some(Ok(()))) && word == [READY] {
        return Ok(ExitCode::SUCCESS);
    }
    // It has ended, and has said why.
    let status = daemon.wait().map_err(cannot)?;
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code @ 1..) => Ok(ExitCode::from(code)),
        _ => Err(format!("the daemon ended before it listened: {status}").into()),
    }
}

/// Leaves the terminal's session.
///
/// # Errors
/// When this process leads one.
pub(crate) fn leave_session() -> Result<(), Failure> {
    nix::unistd::setsid().map_err(|error| format!("cannot leave the session: {error}; start it with -D"))?;
    Ok(())
}

/// Tells whoever waits in [`launch`], and lets go of the terminal.
///
/// # Errors
/// When there is no `/dev/null`.
pub(crate) fn detach() -> Result<(), Failure> {
    // Whoever started it may have gone; the daemon stays.
    let _ = std::io::stdout().write_all(&[READY]);
    let _ = std::io::stdout().flush();
    let nothing = OpenOptions::new().read(true).write(true).open("/dev/null");
    let nothing = nothing.map_err(|error| format!("/dev/null: {error}"))?;
    nix::unistd::dup2_stdin(&nothing)?;
    nix::unistd::dup2_stdout(&nothing)?;
    nix::unistd::dup2_stderr(&nothing)?;
    Ok(())
}

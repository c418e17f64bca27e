//! What a command line tells of itself for other programs: man pages and the completions of shells.

use std::io::{self, Write};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// A man page and the name of its file.
pub(crate) struct Page {
    #[allow(dead_code, reason = "a daemon has one page, and prints it")]
    pub(crate) file_name: String,
    pub(crate) text: Vec<u8>,
}

/// The page of a command, then those of its subcommands.
pub(crate) fn pages(command: Command) -> io::Result<Vec<Page>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    collect(&command, &mut pages)?;
    Ok(pages)
}

fn collect(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
    let manual = format!("Busway {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(&manual).manual("Busway");
    let mut text = Vec::new();
    man.render(&mut text)?;
    pages.push(Page { file_name: man.get_filename(), text });
    command.get_subcommands().filter(|command| !command.is_hide_set()).try_for_each(|command| collect(command, pages))
}

/// A script that teaches a shell to complete the command. It is made in memory: the generators panic when whoever
/// reads a pipe has gone.
pub(crate) fn completions(mut command: Command, shell: Shell) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// Hands a text to whoever reads; one who has had enough is no error.
pub(crate) fn print(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

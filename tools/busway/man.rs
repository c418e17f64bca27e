//! `busway man` and `busway completions`.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::manual;
use crate::options::Options;

/// All pages one after the other, or each in its own file.
pub(crate) fn pages(directory: Option<&Path>) -> Result<(), Failure> {
    let pages = manual::pages(Options::command())?;
    let Some(directory) = directory else {
        return Ok(pages.iter().try_for_each(|page| manual::print(&page.text))?);
    };
    let failure = |path: &Path, error| Failure::Failed(format!("cannot write {}: {error}", path.display()));
    std::fs::create_dir_all(directory).map_err(|error| failure(directory, error))?;
    pages.iter().try_for_each(|page| {
        let path = directory.join(&page.file_name);
        std::fs::write(&path, &page.text).map_err(|error| failure(&path, error))
    })
}

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    Ok(manual::print(&manual::completions(Options::command(), shell))?)
}

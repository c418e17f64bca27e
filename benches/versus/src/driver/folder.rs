//! A folder that a run has for itself, gone when the run is over.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::{Context, Result};

static NEXT: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Short, because paths of sockets may not be long.
        let path = std::env::temp_dir().join(format!("versus-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The name of a file in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The last line of a log that says something, to tell what a program that failed has said.
pub(crate) fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let says_something = |line: &&str| !line.trim().is_empty() && !line.starts_with("note: ");
    text.lines().rev().find(says_something).unwrap_or("(it said nothing)").trim().to_owned()
}

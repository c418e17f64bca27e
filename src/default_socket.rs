//! Where broker and clients meet when nobody says where.

use std::env;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The system-wide socket.
const SYSTEM: &str = "/run/busway/busway.sock";
/// Its name elsewhere.
const FILE: &str = "busway.sock";

/// The socket on which a broker of this user listens by default. Its directory is made if it is missing: for root
/// `/run/busway`, otherwise `$XDG_RUNTIME_DIR`, otherwise `/tmp/busway-UID` with mode 0700.
///
/// # Errors
/// When the directory cannot be made, or belongs to somebody else.
pub fn default_socket() -> io::Result<PathBuf> {
    let uid = uid()?;
    if uid == 0 {
        make_directory(Path::new("/run/busway"), 0o755, uid)?;
        return Ok(SYSTEM.into());
    }
    if let Some(directory) = env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        return Ok(Path::new(&directory).join(FILE));
    }
    let directory = temporary(uid);
    make_directory(&directory, 0o700, uid)?;
    Ok(directory.join(FILE))
}

/// The sockets on which a client of this user looks for a broker, in order.
pub fn default_sockets() -> Vec<PathBuf> {
    let mut paths = vec![SYSTEM.into()];
    if let Some(directory) = env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        paths.push(Path::new(&directory).join(FILE));
    }
    if let Ok(uid) = uid() {
        paths.push(temporary(uid).join(FILE));
    }
    paths
}

fn temporary(uid: u32) -> PathBuf {
    format!("/tmp/busway-{uid}").into()
}

fn uid() -> io::Result<u32> {
    Ok(std::fs::metadata("/proc/self")?.uid())
}

fn make_directory(path: &Path, mode: u32, uid: u32) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Anybody may have put something there before us.
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_dir() || metadata.uid() != uid {
        let message = format!("{} is not a directory of this user; choose a path with -B", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(())
}

//! Where broker and clients meet when nobody says where.

use std::env;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The system-wide socket.
const SYSTEM: &str = "/run/busway/busway.sock";
/// Its name elsewhere.
const FILE: &str = "busway.sock";

/// The socket on which a broker of this user listens by default: `busway.sock`, for root in `/run/busway`, otherwise in
/// `$XDG_RUNTIME_DIR`, otherwise in `/tmp/busway-UID`. `/run/busway` (mode 0755) and `/tmp/busway-UID` (mode 0700) are made
/// if they are missing; `$XDG_RUNTIME_DIR` is not made, it has to be there.
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
    // Somebody else may have made that directory, to be taken for this user's broker.
    if let Ok(uid) = uid()
        && is_own_directory(&temporary(uid), uid)
    {
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
    if !is_own_directory(path, uid) {
        let message = format!("{} is not a directory of this user; choose another path for the socket", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(())
}

fn is_own_directory(path: &Path, uid: u32) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_of_this_user_is_its_own() {
        let uid = uid().unwrap();
        let place = env::temp_dir().join(format!("busway-own-{}", std::process::id()));
        let link = place.join("link");
        assert!(!is_own_directory(&place, uid), "there is nothing");
        make_directory(&place, 0o700, uid).unwrap();
        assert!(is_own_directory(&place, uid));
        assert!(!is_own_directory(&place, uid + 1), "it is somebody else's");
        assert!(make_directory(&place, 0o700, uid + 1).is_err());
        std::os::unix::fs::symlink(&place, &link).unwrap();
        assert!(!is_own_directory(&link, uid), "it may lead anywhere");
        std::fs::remove_dir_all(&place).unwrap();
    }
}

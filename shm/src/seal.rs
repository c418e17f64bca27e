//! Making segments, and sealing them so that one process writes and nobody else ever can.
//!
//! A segment that a client is to write is made by the broker: no descriptor of unknown kind ever comes to the broker.
//! The order is what makes it safe (fcntl(2), "File sealing"):
//!
//! 1. broker: create, set the size, seal SHRINK and GROW, send the descriptor;
//! 2. client: allocate every page (charged to it), map for writing, answer;
//! 3. broker: seal FUTURE_WRITE and SEAL, check that every page is there, map for reading.
//!
//! From then on the client's mapping is the only one that can write, and nobody can shrink the segment or punch holes
//! into it, so that a reader can never fault.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::libc::off_t;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

/// Not executable, and it stays so (Linux 6.3); missing in `nix`.
const NOEXEC_SEAL: MFdFlags = MFdFlags::from_bits_retain(0x0008);

/// A new segment of `length` bytes that another process will write: its size is sealed, its pages are not there yet.
///
/// # Errors
/// When files of this process may not be as long, or what the system says, for instance when a filter forbids the call.
pub fn create_for_peer(name: &CStr, length: usize) -> io::Result<OwnedFd> {
    let segment = create(name, length)?;
    seal(&segment, SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)?;
    Ok(segment)
}

/// A new segment without seals.
pub(crate) fn create(name: &CStr, length: usize) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let segment = match memfd_create(name, flags | NOEXEC_SEAL) {
        // An older kernel does not know the flag.
        Err(Errno::EINVAL) => memfd_create(name, flags)?,
        created => created?,
    };
    check_file_limit(length)?;
    ftruncate(&segment, as_offset(length)?)?;
    Ok(segment)
}

/// A memfd beyond the limit for files is answered with a signal that ends the process, and peers say how long it is.
fn check_file_limit(length: usize) -> io::Result<()> {
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if length as u64 > limit { Err(Errno::EFBIG.into()) } else { Ok(()) }
}

/// Adds seals.
pub(crate) fn seal(segment: impl AsFd, seals: SealFlag) -> io::Result<()> {
    fcntl(segment.as_fd(), FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// Nobody can change the size, map for writing, write or add seals from now on.
pub(crate) fn seal_for_ever(segment: impl AsFd) -> io::Result<()> {
    let all = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_FUTURE_WRITE | SealFlag::F_SEAL_SEAL;
    seal(segment, all)
}

/// Whether the size can no longer shrink: a mapping of it cannot fault for that.
pub(crate) fn cannot_shrink(segment: impl AsFd) -> io::Result<bool> {
    let seals = fcntl(segment.as_fd(), FcntlArg::F_GET_SEALS)?;
    Ok(SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK))
}

/// Allocates every page of a range at the start.
pub(crate) fn allocate(segment: impl AsFd, length: usize) -> io::Result<()> {
    fallocate(segment.as_fd(), FallocateFlags::empty(), 0, as_offset(length)?)?;
    Ok(())
}

/// A length as the system counts: half as far on 32-bit processors.
fn as_offset(length: usize) -> io::Result<off_t> {
    off_t::try_from(length).map_err(io::Error::other)
}

/// Size of a segment, and bytes of it that have pages.
pub(crate) fn sizes(segment: impl AsFd) -> io::Result<(usize, usize)> {
    let status = fstat(segment.as_fd())?;
    let size = usize::try_from(status.st_size).map_err(io::Error::other)?;
    let blocks = usize::try_from(status.st_blocks).map_err(io::Error::other)?;
    Ok((size, blocks.saturating_mul(512)))
}

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
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::libc::off_t;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

use crate::layout::PAGE;

/// Not executable, and it stays so (Linux 6.3); missing in `nix`.
const NOEXEC_SEAL: MFdFlags = MFdFlags::from_bits_retain(0x0008);

/// Bytes that are allocated by one call: a fraction of a millisecond.
const STEP: usize = 1 << 20;

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

/// Allocates every page of a range.
pub(crate) fn allocate(segment: impl AsFd, range: Range<usize>) -> io::Result<()> {
    in_steps(range, |step| {
        let (start, length) = (as_offset(step.start)?, as_offset(step.len())?);
        Ok(fallocate(segment.as_fd(), FallocateFlags::empty(), start, length)?)
    })
}

/// Older kernels undo what they have allocated at any signal: a step is what is lost of it, and each that was undone is
/// followed by a shorter one, so that it goes on however often signals come.
fn in_steps(range: Range<usize>, mut allocate: impl FnMut(Range<usize>) -> io::Result<()>) -> io::Result<()> {
    let (mut start, mut step) = (range.start, STEP);
    while start < range.end {
        let end = range.end.min(start + step);
        match allocate(start..end) {
            Ok(()) => (start, step) = (end, STEP.min(2 * step)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => step = (step / 2).max(PAGE),
            Err(error) => return Err(error),
        }
    }
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_goes_on_after_signals_and_ends_with_other_errors() {
        let (mut signals, mut end) = (0, 4096);
        in_steps(4096..3 * STEP + 8192, |step| {
            assert!(step.start == end && step.len() <= STEP);
            signals += 1;
            if signals % 3 != 0 {
                return Err(Errno::EINTR.into());
            }
            end = step.end;
            Ok(())
        })
        .unwrap();
        assert_eq!(end, 3 * STEP + 8192);

        // Signals that leave time for no more.
        let mut end = 0;
        in_steps(0..3 * STEP, |step| {
            if step.len() > STEP / 16 {
                return Err(Errno::EINTR.into());
            }
            end = step.end;
            Ok(())
        })
        .unwrap();
        assert_eq!(end, 3 * STEP);

        let refused = in_steps(0..3 * STEP, |step| if step.start < STEP { Ok(()) } else { Err(Errno::ENOSPC.into()) });
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(Errno::ENOSPC as i32));
    }

    #[test]
    #[cfg_attr(miri, ignore = "there are no segments in an interpreter")]
    fn every_page_of_a_range_is_there_and_no_other() {
        let segment = create(c"allocated", 4 * STEP).unwrap();
        allocate(&segment, 4096..2 * STEP + 8192).unwrap();
        assert_eq!(sizes(&segment).unwrap(), (4 * STEP, 2 * STEP + 4096));
    }
}

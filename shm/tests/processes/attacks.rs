//! What a process can try with a segment's descriptor, and with its own mapping of it.

use std::ffi::c_void;
use std::fs::{self, OpenOptions};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mprotect};
use nix::unistd::{ftruncate, write};

pub(crate) const PAGE: usize = 4096;

/// Every attack on the size, that is, on what is there when a reader looks.
#[track_caller]
pub(crate) fn fail_to_resize(segment: impl AsFd, length: usize) {
    let length = i64::try_from(length).expect("a length");
    for other in [0, length - 1, length + 1] {
        assert_eq!(ftruncate(segment.as_fd(), other), Err(Errno::EPERM), "truncated to {other}");
    }
    // Pages behind the end would count as if they were pages of the segment.
    for flags in [FallocateFlags::empty(), FallocateFlags::FALLOC_FL_KEEP_SIZE] {
        assert_eq!(fallocate(segment.as_fd(), flags, length, 1 << 20), Err(Errno::EPERM), "grown by {flags:?}");
    }
}

/// Every attack on the bytes and the pages that does not use a mapping which is there already.
#[track_caller]
pub(crate) fn fail_to_write(segment: impl AsFd, length: usize) {
    fail_to_resize(segment.as_fd(), length);
    assert_eq!(map_writable(segment.as_fd()).err(), Some(Errno::EPERM), "mapped for writing");
    assert_eq!(write(segment.as_fd(), b"x"), Err(Errno::EPERM), "written");
    assert_eq!(punch(segment.as_fd()), Err(Errno::EPERM), "a hole was punched");
    let seals = FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE);
    assert_eq!(fcntl(segment.as_fd(), seals), Err(Errno::EPERM), "seals were added");

    let path = format!("/proc/self/fd/{}", segment.as_fd().as_raw_fd());
    let again = OpenOptions::new().read(true).write(true).open(&path).expect("a descriptor can be opened again");
    assert_eq!(write(&again, b"x"), Err(Errno::EPERM), "written through another descriptor");
    assert_eq!(map_writable(again.as_fd()).err(), Some(Errno::EPERM), "mapped through another descriptor");
    let truncated = OpenOptions::new().write(true).truncate(true).open(&path);
    assert_eq!(truncated.err().and_then(|error| error.raw_os_error()), Some(Errno::EPERM as i32), "truncated");
}

/// A hole in the first page.
pub(crate) fn punch(segment: impl AsFd) -> nix::Result<()> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(segment.as_fd(), flags, 0, 4096)
}

pub(crate) fn map_writable(segment: BorrowedFd<'_>) -> nix::Result<NonNull<c_void>> {
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let length = NonZeroUsize::new(PAGE).expect("a page");
    // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
    unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, segment, 0) }
}

/// Where this process has mapped memfds of a name.
pub(crate) fn mappings(name: &str) -> Vec<NonNull<c_void>> {
    let maps = fs::read_to_string("/proc/self/maps").expect("a process knows its mappings");
    let wanted = format!("/memfd:{name} (deleted)");
    let lines = maps.lines().filter(|line| line.ends_with(&wanted));
    let starts = lines.map(|line| line.split('-').next().expect("a range begins with its start"));
    let starts = starts.map(|start| usize::from_str_radix(start, 16).expect("an address"));
    starts.map(|start| NonNull::new(std::ptr::without_provenance_mut(start)).expect("not at zero")).collect()
}

/// The page of a mapping is thrown away: readers would find zeros, or, with less memory, fault.
pub(crate) fn remove(mapping: NonNull<c_void>) -> nix::Result<()> {
    // SAFETY: the segment is only looked at by atomics, to which bytes may change at any moment.
    unsafe { madvise(mapping, PAGE, MmapAdvise::MADV_REMOVE) }
}

pub(crate) fn make_writable(mapping: NonNull<c_void>) -> nix::Result<()> {
    // SAFETY: nobody relies on a mapping's not being writable.
    unsafe { mprotect(mapping, PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE) }
}

/// A memfd without seals.
pub(crate) fn unsealed(length: usize) -> OwnedFd {
    let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC | nix::sys::memfd::MFdFlags::MFD_ALLOW_SEALING;
    let segment = nix::sys::memfd::memfd_create(c"unsealed", flags).expect("a memfd");
    ftruncate(&segment, i64::try_from(length).expect("a length")).expect("a size");
    segment
}

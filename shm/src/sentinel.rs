//! Whether this process is a forked child of the one that mapped a lane.
//!
//! A forked child has copies of the objects of its parent, but not their mappings. A word that the kernel wipes in a
//! child tells: it holds the number of the process among its ancestors that map lanes, and each mapping remembers the
//! number under which it was made. So a child knows what is its parent's, and can have lanes of its own.

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::layout::PAGE;

/// The number of a process that has not mapped anything yet.
const NOBODY: u64 = 0;

static SENTINEL: OnceLock<Result<Sentinel, Errno>> = OnceLock::new();
/// The last number that was given. A child inherits it, so that its own number is another one.
static LAST: AtomicU64 = AtomicU64::new(NOBODY);

/// The process that made a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u64);

impl Owner {
    /// This process. Whoever maps a segment asks before.
    ///
    /// # Errors
    /// When the kernel cannot tell forked children (before Linux 4.14): then there are no lanes.
    pub(crate) fn current() -> io::Result<Self> {
        let sentinel = SENTINEL.get_or_init(Sentinel::new).as_ref().map_err(|errno| *errno)?;
        let word = sentinel.word();
        if word.load(Ordering::Relaxed) == NOBODY {
            let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            // Of several threads one names the process.
            let _ = word.compare_exchange(NOBODY, number, Ordering::Relaxed, Ordering::Relaxed);
        }
        Ok(Self(word.load(Ordering::Relaxed)))
    }

    /// Whether this process is the one: its mappings are there. One load.
    pub(crate) fn is_here(self) -> bool {
        match SENTINEL.get() {
            Some(Ok(sentinel)) => sentinel.word().load(Ordering::Relaxed) == self.0,
            _ => false,
        }
    }
}

/// Whether this is a forked child that has mapped nothing itself: the lanes that it knows are its parent's. One load.
pub fn is_forked_child() -> bool {
    match SENTINEL.get() {
        Some(Ok(sentinel)) => sentinel.word().load(Ordering::Relaxed) == NOBODY,
        _ => false,
    }
}

/// A word in a page that the kernel wipes in a forked child.
struct Sentinel(NonNull<AtomicU64>);

// SAFETY: the word is an atomic in a mapping that is never unmapped.
unsafe impl Send for Sentinel {}
// SAFETY: as for Send.
unsafe impl Sync for Sentinel {}

impl Sentinel {
    fn new() -> Result<Self, Errno> {
        let length = NonZeroUsize::new(PAGE).ok_or(Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new private mapping at a place of the kernel's choice overlaps nothing.
        let page = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_PRIVATE) }?;
        // SAFETY: the range is the mapping just made; wiping concerns forked children alone.
        if let Err(errno) = unsafe { madvise(page, PAGE, MmapAdvise::MADV_WIPEONFORK) } {
            // SAFETY: nobody knows the mapping yet.
            let _ = unsafe { munmap(page, PAGE) };
            return Err(errno);
        }
        Ok(Self(page.cast()))
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: the page begins with an aligned word that was zeroed by the kernel, is only used as an atomic, and is
        // never unmapped once there is a sentinel.
        unsafe { self.0.as_ref() }
    }
}

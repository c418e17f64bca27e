//! Whether this process is a forked child of the one that mapped the lanes.

use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

use crate::layout::PAGE;

/// A word in a page that the kernel wipes in a forked child.
struct Sentinel(NonNull<AtomicU64>);

// SAFETY: the word is an atomic in a mapping that is never unmapped.
unsafe impl Send for Sentinel {}
// SAFETY: as for Send.
unsafe impl Sync for Sentinel {}

static SENTINEL: OnceLock<Option<Sentinel>> = OnceLock::new();
const ALIVE: u64 = 1;

/// Makes the sentinel; whoever maps a lane calls this before. Without it (an old kernel) forked children are not
/// recognised, and fault instead when they touch a lane.
pub(crate) fn set_up() {
    SENTINEL.get_or_init(Sentinel::new);
}

/// Whether this is a forked child: lanes belong to the parent and are not mapped here. One load.
pub fn is_forked_child() -> bool {
    match SENTINEL.get() {
        // SAFETY: the mapping is never unmapped, and holds a word that is only used as an atomic.
        Some(Some(sentinel)) => unsafe { sentinel.0.as_ref() }.load(Ordering::Relaxed) != ALIVE,
        _ => false,
    }
}

impl Sentinel {
    fn new() -> Option<Self> {
        let length = NonZeroUsize::new(PAGE)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new private mapping at a place of the kernel's choice overlaps nothing.
        let page = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_PRIVATE) }.ok()?;
        // SAFETY: the range is the mapping just made; wiping concerns forked children alone.
        unsafe { madvise(page, PAGE, MmapAdvise::MADV_WIPEONFORK) }.ok()?;
        let sentinel = Self(page.cast());
        // SAFETY: as in `is_forked_child`.
        unsafe { sentinel.0.as_ref() }.store(ALIVE, Ordering::Relaxed);
        Some(sentinel)
    }
}

//! Mapped bytes, and the only code that touches them.

use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::fence;

use memmap2::{Advice, MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::sys::mman::{MmapAdvise, madvise};
use nix::unistd::{SysconfVar, sysconf};

use crate::layout::{PAGE, WORD};
use crate::sentinel::Owner;
use crate::sync::{AtomicU64, Ordering};
use crate::words::words_of;

/// Memory that stays where it is until it is dropped: a mapping, or (for tests under sanitizers) the heap.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    length: usize,
    /// How many words that is.
    words: usize,
    backing: Backing,
}

#[derive(Debug)]
enum Backing {
    Mapping { map: ManuallyDrop<MmapRaw>, owner: Owner },
    Heap { _words: std::sync::Arc<[AtomicU64]> },
}

// SAFETY: the pointer refers to memory that the backing owns and that does not move; all access to it goes through
// atomics, or through `slice` and `slice_mut`, whose callers prove that nobody else is at the range.
unsafe impl Send for Region {}
// SAFETY: as for Send.
unsafe impl Sync for Region {}

impl Region {
    /// Maps a segment for writing.
    pub(crate) fn map_writable(segment: impl AsFd, length: usize) -> io::Result<Self> {
        check_length(length)?;
        check_processor()?;
        let owner = Owner::current()?;
        let map = MmapOptions::new().len(length).map_raw(&segment.as_fd())?;
        Self::of_mapping(map, length, owner)
    }

    /// Maps a segment for reading.
    pub(crate) fn map_readable(segment: impl AsFd, length: usize) -> io::Result<Self> {
        check_length(length)?;
        check_processor()?;
        let owner = Owner::current()?;
        let map = MmapOptions::new().len(length).map_raw_read_only(&segment.as_fd())?;
        Self::of_mapping(map, length, owner)
    }

    fn of_mapping(map: MmapRaw, length: usize, owner: Owner) -> io::Result<Self> {
        refuse_models();
        // A forked child would be a second writer.
        map.advise(Advice::DontFork)?;
        let start = NonNull::new(map.as_mut_ptr()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            start,
            length,
            words: length / WORD,
            backing: Backing::Mapping { map: ManuallyDrop::new(map), owner },
        })
    }

    /// Two views of the same heap memory, as two processes would have of one segment.
    pub(crate) fn pair_on_heap(length: usize) -> (Self, Self) {
        refuse_models();
        assert!(length.is_multiple_of(WORD), "a segment has whole words");
        let words: std::sync::Arc<[AtomicU64]> = (0..length / WORD).map(|_| AtomicU64::new(0)).collect();
        let view = || Self {
            start: NonNull::from(&*words).cast(),
            length,
            words: length / WORD,
            backing: Backing::Heap { _words: std::sync::Arc::clone(&words) },
        };
        (view(), view())
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Reads every page once, so that later reads do not stop at page faults. Only a hint.
    pub(crate) fn populate(&self) {
        if let Backing::Mapping { .. } = &self.backing {
            // SAFETY: the range is exactly the mapping that `self` owns, and populating changes no byte of it.
            let _ = unsafe { madvise(self.start.cast(), self.length, MmapAdvise::MADV_POPULATE_READ) };
        }
    }

    /// Gets the pages of a range that may be written, as if each were written: without memory for them that fails, where
    /// a write would end the process.
    pub(crate) fn populate_writable(&self, range: &Range<usize>) -> io::Result<()> {
        let Backing::Mapping { .. } = &self.backing else { return Ok(()) };
        // Pages of the system are whole multiples of ours.
        let page = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|page| usize::try_from(page).ok()).unwrap_or(PAGE);
        let start = range.start / page * page;
        let place = self.pointer(&(start..range.end));
        loop {
            // SAFETY: the range lies within the mapping that `self` owns, but for the rest of its last page, and
            // populating changes no byte of it.
            match unsafe { madvise(place.cast(), range.end - start, MmapAdvise::MADV_POPULATE_WRITE) } {
                Err(Errno::EINTR) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Whether this process has made the region: a forked child of it has not got the memory.
    pub(crate) fn is_here(&self) -> bool {
        match &self.backing {
            Backing::Mapping { owner, .. } => owner.is_here(),
            Backing::Heap { .. } => true,
        }
    }

    /// Loads the word at an index, also from memory that is mapped for reading only.
    #[inline]
    pub(crate) fn load(&self, index: usize, ordering: Ordering) -> u64 {
        // Of memory that cannot be written, only relaxed loads are promised to work (`std::sync::atomic`, "Atomic
        // accesses to read-only memory"); a fence makes the same of one.
        let value = self.word(index).load(Ordering::Relaxed);
        if ordering != Ordering::Relaxed {
            fence(ordering);
        }
        value
    }

    /// The word at an index. In memory that is mapped for reading it may only be loaded, and relaxed.
    #[inline]
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        &self.words(index * WORD, WORD)[0]
    }

    /// The words that hold `length` bytes from `at` on, as [`word`](Self::word).
    #[inline]
    pub(crate) fn words(&self, at: usize, length: usize) -> &[AtomicU64] {
        let words = words_of(at, length);
        assert!(words.end <= self.words, "words lie within their segment");
        // SAFETY: the assertion has shown that the words are inside of the region, which lives as long as `self`; its
        // start is aligned to a page (or to a word, on the heap). Others change them only by means that are atomic
        // operations for this process.
        unsafe {
            let first = self.start.cast::<AtomicU64>().add(words.start);
            std::slice::from_raw_parts(first.as_ptr(), words.len())
        }
    }

    /// Asks the processor for the cache lines of a range, as their only owner. The other side has read them before: a
    /// store to a line that another processor has, too, waits for as long as a hundred instructions take, and the next
    /// locked instruction waits for it.
    #[inline]
    pub(crate) fn expect_write(&self, at: usize, length: usize) {
        #[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
        for word in self.words(at, length).iter().step_by(crate::layout::GRANULE / WORD) {
            let line: *const AtomicU64 = word;
            // SAFETY: `prefetchw` changes nothing that a program can see and faults on no address; 64-bit processors
            // that do not know it take it for a `nop`.
            unsafe { std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly)) };
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom))))]
        let _ = (at, length);
    }

    /// Where a range begins.
    pub(crate) fn pointer(&self, range: &Range<usize>) -> NonNull<u8> {
        assert!(range.start <= range.end && range.end <= self.length, "a range lies within its segment");
        // SAFETY: the assertion has shown that the start is inside of (or one past) the region.
        unsafe { self.start.add(range.start) }
    }

    /// The bytes of a range.
    ///
    /// # Safety
    /// Nobody writes the range while the slice lives.
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &[u8] {
        let pointer = self.pointer(&range);
        // SAFETY: `pointer` has checked the range; the caller promises that nobody writes it.
        unsafe { std::slice::from_raw_parts(pointer.as_ptr(), range.len()) }
    }

    /// The bytes of a range, to write.
    ///
    /// # Safety
    /// The region is mapped for writing, and nobody else in this process reads or writes the range while the slice
    /// lives.
    #[expect(clippy::mut_from_ref, reason = "the range is the caller's alone, which it promises")]
    pub(crate) unsafe fn slice_mut(&self, range: Range<usize>) -> &mut [u8] {
        let pointer = self.pointer(&range);
        // SAFETY: `pointer` has checked the range; the caller promises that it is writable and the caller's alone.
        unsafe { std::slice::from_raw_parts_mut(pointer.as_ptr(), range.len()) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // In a forked child something else may be mapped at the place by now.
        if let Backing::Mapping { map, owner } = &mut self.backing
            && owner.is_here()
        {
            // SAFETY: the map is dropped here once, and never used again: `self` is going.
            unsafe { ManuallyDrop::drop(map) };
        }
    }
}

/// Segments are whole pages, so that a word never reaches beyond the end of one.
fn check_length(length: usize) -> io::Result<()> {
    if length > 0 && length.is_multiple_of(PAGE) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "a segment has whole pages"))
}

/// Loads of eight bytes from memory that cannot be written are promised on 64-bit processors alone (`std::sync::atomic`,
/// "Atomic accesses to read-only memory"). Without a mapping there is no lane, and everything goes by the socket.
fn check_processor() -> io::Result<()> {
    if cfg!(target_pointer_width = "64") {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, "shared memory needs a program for a 64-bit processor"))
}

fn refuse_models() {
    if cfg!(loom) {
        panic!("a modelled atomic is larger than a word: models run on memory of their own");
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::seal;

    #[test]
    #[cfg_attr(miri, ignore = "there are no segments in an interpreter")]
    fn pages_that_cannot_be_had_are_an_error_and_no_signal() {
        let segment = seal::create(c"sparse", 4 * PAGE).unwrap();
        let region = Region::map_writable(&segment, 4 * PAGE).unwrap();
        assert_eq!(seal::sizes(&segment).unwrap().1, 0);
        region.populate_writable(&(PAGE..2 * PAGE)).unwrap();
        let allocated = seal::sizes(&segment).unwrap().1;
        assert!((PAGE..4 * PAGE).contains(&allocated), "{allocated} bytes have pages");
        // What is not there is to the kernel what cannot be had.
        nix::unistd::ftruncate(&segment, 0).unwrap();
        assert!(region.populate_writable(&(2 * PAGE..4 * PAGE)).is_err());
    }
}

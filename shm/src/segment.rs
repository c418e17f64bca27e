//! Segments: the end that writes and the ends that read.

use std::ffi::CStr;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use crate::layout::{ControlLayout, GRANULE, PAGE, RING};
use crate::memory::{Line, OwnMemory, PeerMemory};
use crate::region::Region;
use crate::seal;
use crate::sync::Ordering;
use crate::words::{line_of, read_words, words_hold, write_record_words, write_run_words, write_words};

/// A segment that this process alone writes.
#[derive(Debug)]
pub struct OwnSegment {
    region: Region,
    /// Whoever writes where nothing was written before asks for pages first.
    is_sparse: bool,
}

impl OwnSegment {
    /// Makes a segment of `length` bytes, of which the first `used` get their pages at once, and seals it. The
    /// descriptor is for those who read it.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(name: &CStr, length: usize, used: usize) -> io::Result<(Self, OwnedFd)> {
        let segment = seal::create(name, length)?;
        seal::allocate(&segment, 0..used.max(PAGE).min(length))?;
        let region = Region::map_writable(&segment, length)?;
        seal::seal_for_ever(&segment)?;
        Ok((Self { region, is_sparse: false }, segment))
    }

    /// Makes a segment of which the first `used` bytes get their pages at once, and seals it. The others get them when
    /// they are [prepared](OwnMemory::prepare), but for those from `rest` on, which get them at once, too.
    ///
    /// # Errors
    /// What the system says.
    pub fn create_sparse(name: &CStr, length: usize, used: usize, rest: usize) -> io::Result<(Self, OwnedFd)> {
        let (mut own, segment) = Self::create(name, length, used)?;
        // Before Linux 5.14 nobody could ask for pages and be told that there are none: then all are there at once.
        own.is_sparse = own.region.populate_writable(&(0..used)).is_ok();
        let rest = if own.is_sparse { rest } else { used };
        if rest < length {
            seal::allocate(&segment, rest..length)?;
        }
        Ok((own, segment))
    }

    /// Makes a control segment and seals it. Its ring gets pages as it is first written, the rest at once: most lanes
    /// carry little.
    ///
    /// # Errors
    /// What the system says.
    pub fn create_control(name: &CStr, layout: ControlLayout) -> io::Result<(Self, OwnedFd)> {
        Self::create_sparse(name, layout.total(), RING, layout.slots_offset())
    }

    /// Takes over a segment that the broker has made for this process: allocates its pages and maps it.
    ///
    /// # Errors
    /// When it is not as long as expected, or what the system says.
    pub fn take_over(segment: impl AsFd, length: usize) -> io::Result<Self> {
        if seal::sizes(segment.as_fd())?.0 != length || !seal::cannot_shrink(segment.as_fd())? {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the segment is not what was announced"));
        }
        seal::allocate(segment.as_fd(), 0..length)?;
        Ok(Self { region: Region::map_writable(segment.as_fd(), length)?, is_sparse: false })
    }

    /// Both ends of a segment on the heap, for tests and measurements.
    ///
    /// # Panics
    /// When the length is not a multiple of 8.
    #[doc(hidden)]
    pub fn on_heap(length: usize) -> (Self, PeerSegment) {
        let (own, peer) = Region::pair_on_heap(length);
        (Self { region: own, is_sparse: false }, PeerSegment { region: peer })
    }

    /// Bytes of it.
    pub fn length(&self) -> usize {
        self.region.length()
    }

    /// Whether this process has mapped it. Only then may anything be stored: a forked child has the object, but not
    /// the memory, also when it has mapped segments of its own.
    pub fn is_here(&self) -> bool {
        self.region.is_here()
    }

    #[inline]
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }
}

impl OwnMemory for OwnSegment {
    #[inline]
    fn store(&self, at: usize, value: u64, ordering: Ordering) {
        self.region.word(at / size_of::<u64>()).store(value, ordering);
    }

    #[inline]
    fn write(&self, at: usize, bytes: &[u8]) {
        write_words(self.region.words(at, bytes.len()), bytes);
    }

    #[inline]
    fn write_record<const WORDS: usize, const PARTS: usize>(
        &self,
        at: usize,
        length: usize,
        words: &[u64; WORDS],
        parts: [&[u8]; PARTS],
    ) {
        write_record_words(self.region.words(at, length), words, parts);
    }

    #[inline]
    fn write_run<'a, const WORDS: usize, const NAMES: usize>(
        &self,
        at: usize,
        length: usize,
        words: &[u64; WORDS],
        names: [&[u8]; NAMES],
        payloads: impl Iterator<Item = &'a [u8]>,
    ) {
        write_run_words(self.region.words(at, length), words, names, payloads);
    }

    fn prepare(&self, range: Range<usize>) -> bool {
        !self.is_sparse || self.region.populate_writable(&range).is_ok()
    }

    #[inline]
    fn expect_write(&self, at: usize, length: usize) {
        self.region.expect_write(at, length);
    }
}

/// A segment that another process writes. Nothing here returns a reference into it.
#[derive(Debug)]
pub struct PeerSegment {
    region: Region,
}

impl PeerSegment {
    /// Maps a segment that was made by [`create_for_peer`](seal::create_for_peer) and that the peer says it has
    /// taken over: seals it for ever, checks that every page is there, and maps it.
    ///
    /// # Errors
    /// When the peer has not allocated it, or what the system says.
    pub fn adopt(segment: impl AsFd, length: usize) -> io::Result<Self> {
        seal::seal_for_ever(segment.as_fd())?;
        let (size, allocated) = seal::sizes(segment.as_fd())?;
        if size != length || allocated < length {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the segment was not allocated by the client"));
        }
        Ok(Self { region: Region::map_readable(segment.as_fd(), length)? })
    }

    /// Maps a segment that the broker has announced.
    ///
    /// # Errors
    /// When it is shorter than announced or may still shrink, or what the system says.
    pub fn map(segment: impl AsFd, length: usize) -> io::Result<Self> {
        Ok(Self::map_announced(segment.as_fd(), length)?.0)
    }

    /// As [`map`](Self::map), with all pages in this process's tables at once, instead of one by one. A segment that has
    /// not got all of its pages is left as it is: to look at the others would make them.
    ///
    /// # Errors
    /// As of [`map`](Self::map).
    pub fn map_whole(segment: impl AsFd, length: usize) -> io::Result<Self> {
        let (mapped, allocated) = Self::map_announced(segment.as_fd(), length)?;
        if allocated >= length {
            mapped.region.populate();
        }
        Ok(mapped)
    }

    fn map_announced(segment: BorrowedFd<'_>, length: usize) -> io::Result<(Self, usize)> {
        let (size, allocated) = seal::sizes(segment)?;
        if size < length || !seal::cannot_shrink(segment)? {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the segment is not what was announced"));
        }
        Ok((Self { region: Region::map_readable(segment, length)? }, allocated))
    }

    /// Bytes of it.
    pub fn length(&self) -> usize {
        self.region.length()
    }

    #[inline]
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Writes `heads` and then a range of the segment to a socket with one non-blocking call, without looking at the
    /// range: the kernel copies it from where it lies. Returns how many bytes were taken, those of the heads
    /// included.
    ///
    /// # Errors
    /// As of a non-blocking `sendmsg`.
    ///
    /// # Panics
    /// When the range is outside of the segment.
    pub fn send(&self, socket: BorrowedFd<'_>, heads: &[IoSlice<'_>], range: &Range<usize>) -> io::Result<usize> {
        let mut slices: Vec<libc::iovec> = Vec::with_capacity(heads.len() + 1);
        for head in heads {
            slices.push(libc::iovec { iov_base: head.as_ptr().cast_mut().cast(), iov_len: head.len() });
        }
        slices.push(libc::iovec { iov_base: self.region.pointer(range).as_ptr().cast(), iov_len: range.len() });
        // SAFETY: a zeroed msghdr is a valid one without name, slices and control data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = slices.as_mut_ptr();
        message.msg_iovlen = slices.len() as _;
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        loop {
            // SAFETY: the slices point to memory that `heads` and `self` keep alive for the call, and sendmsg only
            // reads it; no reference to the segment's bytes is made.
            let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
            match Errno::result(sent) {
                Ok(count) => return usize::try_from(count).map_err(io::Error::other),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl PeerMemory for PeerSegment {
    #[inline]
    fn load(&self, at: usize, ordering: Ordering) -> u64 {
        self.region.load(at / size_of::<u64>(), ordering)
    }

    #[inline]
    fn read(&self, at: usize, bytes: &mut [u8]) {
        read_words(self.region.words(at, bytes.len()), bytes);
    }

    #[inline]
    fn holds(&self, at: usize, bytes: &[u8]) -> bool {
        words_hold(self.region.words(at, bytes.len()), bytes)
    }

    #[inline]
    fn read_line(&self, at: usize) -> Line {
        line_of(self.region.words(at, GRANULE))
    }
}

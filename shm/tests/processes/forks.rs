//! Forked children: they know what is their parent's, leave it alone, and may have their own.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use busway_shm::layout::ControlLayout;
use busway_shm::{
    ArenaKind, Arenas, Ordering, OwnMemory, OwnSegment, PeerMemory, PeerSegment, ReturnReader, Returns, Sample,
    is_forked_child,
};
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use crate::attacks::{PAGE, mappings};
use crate::peer::Peer;

const ARENA: usize = 4 << 20;
const NAME: &str = "forked";

#[test]
fn a_forked_child_leaves_its_parents_memory_alone() {
    Peer::start("forker").ends();
}

/// In a process of its own, so that no other test runs while it is forked.
pub(crate) fn play_forker() {
    let layout = ControlLayout::new(ControlLayout::MIN_RING, 8).expect("sizes");
    let create = |length| OwnSegment::create(c"forked", length, length).expect("a segment");
    let (control, control_descriptor) = create(layout.total());
    let mut reader = ReturnReader::new(PeerSegment::map(&control_descriptor, layout.total()).expect("a map"), layout);
    let control = Arc::new(control);
    let returns = Arc::new(Returns::new(Arc::clone(&control), layout));
    let (arena, arena_descriptor) = create(ARENA);
    let payloads = Arc::new(PeerSegment::map(&arena_descriptor, ARENA).expect("a map"));
    let arenas = Arenas::new();
    arenas.add(1, arena, ArenaKind::Shared);
    let mut loan = arenas.loan(100).expect("room");
    loan.fill(8);
    let other_loan = arenas.loan(100).expect("room");
    let sample = Sample::new(payloads, (0, 100), (3, 1), returns.clone()).expect("within the segment");
    let places = mappings(NAME);
    assert_eq!(places.len(), 4);
    assert!(!is_forked_child() && control.is_here());

    // SAFETY: the child runs in a copy of this process in which no other thread holds a lock: the only other one is
    // that of the harness, which waits. It ends without running anything of the harness.
    match unsafe { fork() }.expect("a fork") {
        ForkResult::Child => {
            // What a panic says is expected, and would look like a failure.
            std::panic::set_hook(Box::new(|_| {}));
            let outcome = catch_unwind(AssertUnwindSafe(move || {
                assert!(is_forked_child() && !control.is_here());
                assert!(mappings(NAME).is_empty(), "nothing was mapped in the child");
                assert!(says(|| drop(loan.to_vec())).contains("not to its forked child"));
                assert!(says(|| loan[0] = 1).contains("not to its forked child"));
                assert!(says(|| drop(sample.as_slice().to_vec())).contains("not to its forked child"));
                assert!(says(|| assert_eq!(sample.copy_to(0, &mut [0; 8]), 8)).contains("not to its forked child"));
                assert!(arenas.loan(100).is_none());
                // Something else has come to the places, and is still there when everything is dropped.
                let pages: Vec<_> = places.iter().map(|place| occupy(*place)).collect();
                drop((loan, sample, arenas, returns, reader));
                assert!(pages.iter().all(|page| is_intact(*page)), "the child's own memory was unmapped");
                has_its_own();
                assert!(
                    says(|| drop(other_loan.to_vec())).contains("not to its forked child"),
                    "it is not its own now"
                );
            }));
            // SAFETY: ends this process, and nothing else of it.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "the child has failed");
        }
    }
    assert!(!is_forked_child());
    assert_eq!(reader.next_returned(), Ok(None), "a child gives nothing back");
    assert_eq!((&loan[..], sample.as_slice()), (&[8; 100][..], &[8; 100][..]));
    drop(sample);
    assert_eq!(reader.next_returned(), Ok(Some((3, 1))));
    let place = loan.as_ptr();
    drop(loan);
    assert_eq!(arenas.loan(100).expect("room").as_ptr(), place);
}

/// A child is a process like any other: what it maps itself is its own.
fn has_its_own() {
    let (own, descriptor) = OwnSegment::create(c"child's", ARENA, ARENA).expect("a segment");
    assert!(!is_forked_child());
    let read = PeerSegment::map(&descriptor, ARENA).expect("a map");
    own.store(8, 9, Ordering::Release);
    assert_eq!(read.load(8, Ordering::Acquire), 9);
    let arenas = Arenas::new();
    arenas.add(1, own, ArenaKind::Shared);
    let mut loan = arenas.loan(1000).expect("room");
    loan.fill(3);
    assert_eq!(loan[..], [3; 1000]);
    drop((loan, arenas, read));
    assert!(mappings("child's").is_empty(), "what is its own it unmaps");
}

/// What the panic of `action` says.
fn says(action: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(action)).expect_err("memory that is not there was used");
    panic
        .downcast_ref::<&str>()
        .map_or_else(|| panic.downcast_ref::<String>().cloned().unwrap_or_default(), |text| (*text).to_owned())
}

/// Maps a page of this process at a place.
fn occupy(place: NonNull<std::ffi::c_void>) -> NonNull<u8> {
    let (length, address) = (NonZeroUsize::new(PAGE).expect("a page"), NonZeroUsize::new(place.as_ptr() as usize));
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED_NOREPLACE;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the flags refuse a place where something is.
    let page = unsafe { mmap_anonymous(address, length, access, flags) }.expect("the place is free");
    // SAFETY: the page was just mapped for writing.
    unsafe { page.cast::<u8>().write(77) };
    page.cast()
}

/// Whether a page is still mapped: asked of the kernel, which does not fault.
fn is_intact(page: NonNull<u8>) -> bool {
    let mut residence = [0];
    // SAFETY: mincore writes one byte for the one page, and looks at no memory.
    let outcome = unsafe { libc::mincore(page.as_ptr().cast(), PAGE, residence.as_mut_ptr()) };
    // SAFETY: the page is mapped, as the kernel has just said.
    outcome == 0 && unsafe { page.read() } == 77
}

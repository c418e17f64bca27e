//! Segments between two processes: who can write, what is refused, and what stays when a process is gone.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use busway_shm::layout::{ControlLayout, GRANULE};
use busway_shm::{
    Descriptor, Ordering, OwnMemory, OwnSegment, Parts, PeerMemory, PeerSegment, Producer, create_for_peer,
};
use nix::errno::Errno;
use nix::sys::stat::fstat;

use crate::attacks::{self, PAGE};
use crate::peer::{Line, Peer};

const LENGTH: usize = 64 << 10;
/// So large that it stands out in the memory of the whole machine.
const LARGE: usize = 128 << 20;
const LAST: usize = LARGE - 8;

/// A client that takes over a segment, and attacks it when it is sealed.
pub(crate) fn play_writer(line: &Line) {
    let segment = line.receive();
    let length = if line.hear() == b'L' { LARGE } else { LENGTH };
    attacks::fail_to_resize(&segment, length);
    let own = OwnSegment::take_over(&segment, length).expect("the segment is as announced");
    own.store(0, 1, Ordering::Release);
    own.store(length - 8, 11, Ordering::Release);
    line.say(b'r');

    assert_eq!(line.hear(), b's');
    attacks::fail_to_write(&segment, length);
    let [mapping] = attacks::mappings("taken over")[..] else { panic!("the segment is mapped once") };
    assert_eq!(attacks::remove(mapping), Err(Errno::EPERM), "pages were thrown away");
    assert!(OwnSegment::take_over(&segment, length).is_err(), "a second mapping");
    own.store(0, 2, Ordering::Release);
    line.say(b'w');
    line.hear();
}

#[test]
fn only_the_mapping_that_the_client_had_can_write() {
    let segment = create_for_peer(c"taken over", LENGTH).unwrap();
    let peer = Peer::start("writer");
    peer.line.send(&segment);
    peer.line.say(b's');
    assert_eq!(peer.line.hear(), b'r');
    let read = PeerSegment::adopt(&segment, LENGTH).unwrap();
    assert_eq!((read.load(0, Ordering::Acquire), read.load(LENGTH - 8, Ordering::Acquire)), (1, 11));
    peer.line.say(b's');
    assert_eq!(peer.line.hear(), b'w');
    assert_eq!(read.load(0, Ordering::Acquire), 2, "its own mapping still writes");
    // Neither can the broker.
    attacks::fail_to_write(&segment, LENGTH);
    peer.line.say(b'e');
    peer.ends();
}

/// A client that takes over a segment, and then punches a hole into it.
pub(crate) fn play_sparse_writer(line: &Line) {
    let segment = line.receive();
    let _own = OwnSegment::take_over(&segment, LENGTH).expect("the segment is as announced");
    attacks::punch(&segment).expect("it is not sealed yet");
    line.say(b'r');
    line.hear();
}

#[test]
fn a_segment_that_is_not_all_there_is_refused() {
    let segment = create_for_peer(c"sparse", LENGTH).unwrap();
    let peer = Peer::start("sparse writer");
    peer.line.send(&segment);
    assert_eq!(peer.line.hear(), b'r');
    assert_eq!(PeerSegment::adopt(&segment, LENGTH).unwrap_err().kind(), ErrorKind::InvalidData);
    peer.line.say(b'e');
    peer.ends();

    let untouched = create_for_peer(c"untouched", LENGTH).unwrap();
    assert_eq!(PeerSegment::adopt(&untouched, LENGTH).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn a_segment_that_is_not_as_announced_is_refused() {
    for other in [LENGTH - PAGE, LENGTH + PAGE] {
        let segment = create_for_peer(c"announced", LENGTH).unwrap();
        assert_eq!(OwnSegment::take_over(&segment, other).unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(OwnSegment::take_over(&segment, LENGTH).is_ok());
        assert_eq!(PeerSegment::adopt(&segment, other).unwrap_err().kind(), ErrorKind::InvalidData);
    }
    let segment = create_for_peer(c"announced", LENGTH).unwrap();
    assert_eq!(PeerSegment::map(&segment, LENGTH + PAGE).unwrap_err().kind(), ErrorKind::InvalidData);
    assert!(PeerSegment::map(&segment, LENGTH).is_ok());
    // What could still shrink would fault under its reader.
    let unsealed = attacks::unsealed(LENGTH);
    assert_eq!(OwnSegment::take_over(&unsealed, LENGTH).unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(PeerSegment::map(&unsealed, LENGTH).unwrap_err().kind(), ErrorKind::InvalidData);
    // A part of a page would let a word reach beyond the end.
    let odd = create_for_peer(c"odd", LENGTH + 4).unwrap();
    assert!(PeerSegment::map(&odd, LENGTH + 4).is_err());
    assert!(OwnSegment::create(c"odd", LENGTH + 4, LENGTH).is_err() && OwnSegment::create(c"none", 0, 0).is_err());
}

#[test]
fn pages_that_were_never_asked_for_are_not_made_by_who_maps_them() {
    const WHOLE: usize = 64 * PAGE;
    let (own, segment) = OwnSegment::create_sparse(c"sparse", WHOLE, PAGE, WHOLE).unwrap();
    let pages = || usize::try_from(nix::sys::stat::fstat(&segment).unwrap().st_blocks).unwrap() * 512 / PAGE;
    assert_eq!(pages(), 1);
    let read = PeerSegment::map_whole(&segment, WHOLE).unwrap();
    assert_eq!(pages(), 1);
    assert!(own.prepare(8 * PAGE..10 * PAGE));
    assert_eq!(pages(), 3);
    own.store(9 * PAGE, 7, Ordering::Release);
    assert_eq!((read.load(9 * PAGE, Ordering::Acquire), pages()), (7, 3));
}

/// A client that reads a segment of the broker, and attacks it.
pub(crate) fn play_reader(line: &Line) {
    let segment = line.receive();
    attacks::fail_to_write(&segment, LENGTH);
    assert!(OwnSegment::take_over(&segment, LENGTH).is_err(), "taken over");
    let read = PeerSegment::map_whole(&segment, LENGTH).expect("the segment is as announced");
    assert_eq!(read.load(8, Ordering::Acquire), 5);
    let [mapping] = attacks::mappings("broker's own")[..] else { panic!("the segment is mapped once") };
    assert_eq!(attacks::make_writable(mapping), Err(Errno::EACCES), "made writable");
    assert!(attacks::remove(mapping).is_err(), "pages were thrown away");
    let memory = OpenOptions::new().write(true).open("/proc/self/mem").expect("a process may open its memory");
    assert!(memory.write_at(b"x", mapping.as_ptr() as u64).is_err(), "written past the protection");
    assert_eq!(read.load(0, Ordering::Acquire), 0);
    line.say(b'd');
    assert_eq!(line.hear(), b'6');
    assert_eq!(read.load(8, Ordering::Acquire), 6, "what the broker writes is seen");
}

#[test]
fn a_segment_of_the_broker_can_be_read_and_nothing_else() {
    let (own, segment) = OwnSegment::create(c"broker's own", LENGTH, PAGE).unwrap();
    own.store(8, 5, Ordering::Release);
    let peer = Peer::start("reader");
    peer.line.send(&segment);
    assert_eq!(peer.line.hear(), b'd');
    own.store(8, 6, Ordering::Release);
    peer.line.say(b'6');
    peer.ends();
}

#[test]
fn a_ring_gets_its_pages_before_it_is_written_and_everything_else_has_them() {
    let layout = ControlLayout::new(ControlLayout::MIN_RING << 4, 1024).unwrap();
    let (own, segment) = OwnSegment::create_control(c"control", layout).unwrap();
    let pages = || usize::try_from(fstat(&segment).unwrap().st_blocks).unwrap() * 512;
    let at_first = layout.total() - layout.ring;
    assert!((at_first..layout.total()).contains(&pages()), "{} bytes have pages", pages());
    let read = PeerSegment::map(&segment, layout.total()).unwrap();
    let mut producer = Producer::new(own, read, layout);
    let mut before = pages();
    // As long as nobody reads there is room for the whole ring.
    for _ in 0..layout.ring / GRANULE {
        assert_eq!(producer.push(&Descriptor::default(), Parts::default(), &[]), Ok(true));
        let written = at_first + usize::try_from(producer.unread()).unwrap();
        assert!(pages() >= written, "what is written has pages");
        // Unless the machine's pages are as large as the ring.
        assert!(pages() <= at_first + 2 * (written - at_first).max(LENGTH), "{} after {written}", pages());
        assert!(pages() >= before);
        before = pages();
    }
    assert_eq!(pages(), layout.total());
}

#[test]
fn what_a_killed_client_wrote_stays_readable_and_then_goes() {
    let before = shared_memory();
    let segment = create_for_peer(c"taken over", LARGE).unwrap();
    let peer = Peer::start("writer");
    peer.line.send(&segment);
    peer.line.say(b'L');
    assert_eq!(peer.line.hear(), b'r');
    let read = PeerSegment::adopt(&segment, LARGE).unwrap();
    peer.line.say(b's');
    assert_eq!(peer.line.hear(), b'w');
    peer.kill();
    drop(segment);
    assert_eq!((read.load(0, Ordering::Acquire), read.load(LAST, Ordering::Acquire)), (2, 11));
    assert!(shared_memory() > before + LARGE / 2, "a client's pages are there as long as somebody reads them");
    assert!(!named_memory().contains("taken over"), "nothing has a name that could stay");

    drop(read);
    // Half of it, because other programs on the machine come and go.
    let begin = std::time::Instant::now();
    while shared_memory() > before + LARGE / 2 {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "it stays; unless another program has taken as much meanwhile"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn no_descriptor_is_handed_down_to_other_programs() {
    let (_own, segment) = OwnSegment::create(c"not for others", LENGTH, LENGTH).unwrap();
    for descriptor in [segment.as_fd(), create_for_peer(c"nor this", PAGE).unwrap().as_fd()] {
        let flags = nix::fcntl::fcntl(descriptor, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_ne!(flags & nix::libc::FD_CLOEXEC, 0, "{}", descriptor.as_raw_fd());
    }
}

/// Bytes of shared memory on the whole machine.
fn shared_memory() -> usize {
    let status = fs::read_to_string("/proc/meminfo").expect("the machine knows its memory");
    let line = status.lines().find_map(|line| line.strip_prefix("Shmem:")).expect("shared memory is counted");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// Names of shared memory that has one.
fn named_memory() -> String {
    let Ok(entries) = fs::read_dir("/dev/shm") else { return String::new() };
    entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned() + "\n")).collect()
}

//! Limits of a process: what they forbid is an error, never the end of the process.

use busway_shm::{OwnSegment, create_for_peer};
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::attacks::PAGE;
use crate::peer::Peer;

const LIMIT: usize = 64 << 10;

/// A broker whose files may not be long.
pub(crate) fn play_limited() {
    // SAFETY: the default action is no function that could do anything wrong.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigDfl) }.expect("a signal has its default action");
    setrlimit(Resource::RLIMIT_FSIZE, LIMIT as u64, LIMIT as u64).expect("a limit can be lowered");
    let refusals =
        [create_for_peer(c"long", LIMIT + PAGE).err(), OwnSegment::create(c"long", LIMIT + PAGE, LIMIT + PAGE).err()];
    for refusal in refusals {
        assert_eq!(refusal.and_then(|error| error.raw_os_error()), Some(Errno::EFBIG as i32));
    }
    let segment = create_for_peer(c"short", LIMIT).expect("within the limit");
    OwnSegment::take_over(&segment, LIMIT).expect("within the limit");
}

#[test]
fn a_segment_beyond_the_limit_for_files_is_refused_without_a_signal() {
    Peer::start("limited").ends();
}

use busway_shm::{DownBell, OwnMemory, create_for_peer};
use tokio::runtime::Handle;
use zerocopy::{FromZeros, IntoBytes};

use super::*;
use crate::lane::SegmentFrame;

const LAYOUT: ControlLayout = ControlLayout { ring: 4 * ControlLayout::MIN_RING, slots: 8 };
const LIMITS: OutboxLimits = OutboxLimits { frames: 8, bytes: 1 << 10 };

/// A lane whose broker says and reads nothing.
fn lane() -> Arc<UpLane> {
    lane_of(LAYOUT).unwrap()
}

fn lane_of(layout: ControlLayout) -> io::Result<Arc<UpLane>> {
    let up = create_for_peer(c"up", layout.total()).unwrap();
    let (own, down) = OwnSegment::create_control(c"down", layout).unwrap();
    let (ring, slots) = (u32::try_from(layout.ring).unwrap(), u32::try_from(layout.slots).unwrap());
    let header = Header {
        magic: MAGIC.into(),
        version: VERSION.into(),
        up_ring: ring.into(),
        down_ring: ring.into(),
        leases: slots.into(),
        submissions: slots.into(),
        ..Header::new_zeroed()
    };
    own.write(HEADER, header.as_bytes());
    let bells = [UpBell::new().unwrap().into_descriptor(), DownBell::of_trusted().unwrap().1];
    let descriptors = [up, down].into_iter().chain(bells).collect();
    let outbox = Arc::new(Outbox::new(LIMITS, Handle::current()));
    UpLane::take_over(descriptors, &outbox, (LIMITS, &Limits::default(), ShmTrust::All)).map(|taken| taken.lane)
}

#[tokio::test]
async fn a_ring_that_is_too_small_for_records_is_refused_instead_of_written() {
    assert!(lane_of(ControlLayout { ring: ControlLayout::MIN_RING, ..LAYOUT }).is_err());
    assert!(lane_of(LAYOUT).is_ok());
}

#[tokio::test]
async fn what_is_mapped_after_the_end_of_a_lane_does_not_stay() {
    let lane = lane();
    let map = || {
        lane.map(SegmentFrame::arena(1, PAGE, 0, 1), Some(create_for_peer(c"arena", PAGE).unwrap()));
        let introduced = OwnSegment::create(c"introduced", PAGE, PAGE).unwrap().1;
        lane.map(SegmentFrame::introduction(2, PAGE, 0, 2), Some(introduced));
        (lane.taken_over.lock().len(), lane.segments.lock().len())
    };
    assert_eq!(map(), (1, 1));
    lane.close();
    assert_eq!(map(), (0, 0));
}

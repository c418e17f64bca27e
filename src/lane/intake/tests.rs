use std::task::{Context, Waker};
use std::time::Duration;

use busway_net::link::{Chunk, OutboxLimits, Socket};
use busway_shm::layout::VERSION;
use tokio::runtime::Handle;

use super::super::{BrokerOptions, UpLane};
use super::*;
use crate::ShmTrust;
use crate::payload::Content;

const LIMITS: OutboxLimits = OutboxLimits { frames: 8, bytes: 8 << 20 };
const LONG: usize = 1 << 20;

/// The two ends of a lane.
async fn lane() -> (Arc<UpLane>, Intake) {
    let (broker, client) = Socket::pair().unwrap();
    let outbox = Arc::new(Outbox::new(LIMITS, Handle::current()));
    let broker = Arc::new(broker);
    outbox.attach(Arc::clone(&broker), b"", false);
    let host = LaneHost::new(BrokerOptions::default());
    let limits = Limits::default();
    let identity = broker.identity().unwrap();
    let offer = host.offer(&broker, Some(identity), (VERSION.to_le_bytes()[0], &outbox, &limits)).unwrap();
    let (mut bytes, mut descriptors) = (Vec::with_capacity(64), Vec::new());
    let mut readiness = client.readable().await.unwrap();
    while !matches!(readiness.read_with(&mut bytes, &mut [0; 64], &mut descriptors).unwrap(), Chunk::Empty) {}
    let own = Arc::new(Outbox::new(LIMITS, Handle::current()));
    let taken = UpLane::take_over(descriptors, &own, (LIMITS, &limits, ShmTrust::All)).unwrap();
    let taking = offer.take(&host, Some(identity.pid)).unwrap();
    let accepted = taking.finish(&host, Duration::MAX, (&outbox, limits, LIMITS, 1)).await.unwrap();
    (taken.lane, accepted.intake)
}

#[tokio::test]
async fn pieces_of_a_payload_are_read_in_turns_however_fast_more_of_them_come() {
    let (lane, mut intake) = lane().await;
    let pool = Pool::default();
    let payload: Vec<u8> = (0..LONG).map(|position| (position / 31).to_le_bytes()[0]).collect();
    let mut content = Content::Owned(payload.clone().into());
    // Who cannot wait for an arena sends copies.
    let mut context = Context::from_waker(Waker::noop());
    let what = ((Operation::Publish, QoS::No), ("a", None), (&mut content, &pool), || 0);
    assert!(lane.poll_send(&mut context, what.0, what.1, what.2, what.3).is_ready());

    let mut turns = 0;
    loop {
        turns += 1;
        intake.begin_turn(1024);
        let frame = intake.next_frame(&pool).unwrap();
        if let Some(frame) = frame {
            let Routed::Owned(content) = frame.content else { panic!("a copy") };
            assert_eq!(content.as_slice(), payload);
            break;
        }
        assert!(intake.is_turn_over(), "turn {turns}: what has come next waits for its turn");
        assert!(intake.is_amid() && intake.end_turn(1024) == 1024);
        intake.release();
        lane.pump().unwrap();
    }
    // A turn of 1,024 records are 64 KiB and a piece at most.
    assert!(turns >= LONG / (96 << 10), "{turns} turns");
}

//! A whole lane between two processes, as far as this crate goes: rings, bells, room and returned slots.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use busway_shm::layout::{ControlLayout, GRANULE};
use busway_shm::{
    Consumer, Descriptor, DownBell, DownWaiter, OwnMemory, OwnSegment, Parts, PeerMemory, PeerSegment, Producer,
    ReturnReader, Returns, Slots, UpBell, create_for_peer,
};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::peer::{Line, Peer};

const RECORDS: u32 = 30_000;
const SLOTS: usize = 16;

fn layout() -> ControlLayout {
    ControlLayout::new(ControlLayout::MIN_RING, SLOTS).expect("sizes")
}

fn record(number: u32) -> (Descriptor, Vec<u8>) {
    let payload = vec![number.to_le_bytes()[0]; (number % 700) as usize];
    let length = u32::try_from(payload.len()).expect("a length");
    (Descriptor { operation: 1, op_id: number.into(), payload: length.into(), ..Descriptor::default() }, payload)
}

/// Reads what there is, holds it against what is expected, and gives the room back.
fn read_all<O: OwnMemory, P: PeerMemory>(consumer: &mut Consumer<O, P>, next: &mut u32) -> bool {
    while let Some(taken) = consumer.next_record().expect("an honest peer") {
        let mut payload = Vec::new();
        consumer.copy_payload(&taken, &mut payload);
        let (descriptor, expected) = record(*next);
        assert_eq!((taken.descriptor.op_id, payload), (descriptor.op_id, expected));
        *next += 1;
        if consumer.unreleased() > layout().ring as u64 / 2 {
            break;
        }
    }
    consumer.release()
}

/// A client that sends records, waits for room, and hears when there is some.
pub(crate) fn play_client(line: &Line) {
    let layout = layout();
    let up = line.receive();
    let own = Arc::new(OwnSegment::take_over(up, layout.total()).expect("the segment is as announced"));
    let down = Arc::new(PeerSegment::map(line.receive(), layout.total()).expect("the segment is as announced"));
    let bell = UpBell::received(line.receive());
    let waiter = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let end = line.receive();
    let rings = DownWaiter::of(&end).expect("a bell");
    waiter.add(&end, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0)).unwrap();
    line.say(b'r');
    assert_eq!(line.hear(), b's');

    let returns = Returns::new(Arc::clone(&own), layout);
    let mut producer = Producer::new(Arc::clone(&own), Arc::clone(&down), layout);
    let mut consumer = Consumer::new(own, down, layout);
    let (mut sent, mut held) = (0, 0);
    while sent < RECORDS || held < RECORDS {
        // What the broker hands out comes back at once, and the room with it.
        while let Some(handed_out) = consumer.next_record().expect("an honest broker") {
            assert_eq!(handed_out.descriptor.op_id.get(), held);
            returns.push(handed_out.descriptor.slot.get(), handed_out.descriptor.generation.get());
            held += 1;
        }
        let mut must_ring = consumer.release();
        let mut is_full = false;
        while sent < RECORDS && !is_full {
            let (descriptor, payload) = record(sent);
            is_full = !producer.push(&descriptor, Parts::default(), &payload).expect("an honest broker");
            sent += u32::from(!is_full);
        }
        must_ring |= producer.must_ring();
        if must_ring {
            bell.ring();
        }
        let may_wait = !is_full || !producer.arm_space(layout.max_record()).expect("an honest broker");
        let is_done = sent == RECORDS && held == RECORDS;
        if may_wait && consumer.arm().expect("an honest broker") && !is_done {
            let waited = waiter.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE);
            assert!(matches!(waited, Ok(1) | Err(Errno::EINTR)), "a bell: {waited:?}");
            rings.hush(&end);
        }
    }
    line.say(b'd');
}

/// Every record arrives, whole and in order, both sides sleep whenever there is nothing to do, and nobody sleeps on.
/// Each record of the broker takes a slot, and waits when none is free.
#[test]
fn two_processes_exchange_records_and_slots() {
    exchange(DownBell::new().unwrap());
    exchange(DownBell::of_trusted().unwrap());
}

fn exchange((bell, waiter): (DownBell, OwnedFd)) {
    let layout = layout();
    let up = create_for_peer(c"up", layout.total()).unwrap();
    let (own, down) = OwnSegment::create(c"down", layout.total(), layout.total()).unwrap();
    let own = Arc::new(own);
    let up_bell = UpBell::new().unwrap();
    let client = Peer::start("client");
    client.line.send(&up);
    client.line.send(&down);
    client.line.send(&up_bell);
    client.line.send(&waiter);
    assert_eq!(client.line.hear(), b'r');
    let peer = Arc::new(PeerSegment::adopt(&up, layout.total()).unwrap());
    let watcher = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    watcher.add(up_bell.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0)).unwrap();
    client.line.say(b's');

    let mut producer = Producer::new(Arc::clone(&own), Arc::clone(&peer), layout);
    let mut returned = ReturnReader::new(Arc::clone(&peer), layout);
    let mut consumer = Consumer::new(own, peer, layout);
    let mut slots = Slots::new(u32::try_from(SLOTS).unwrap());
    let (mut received, mut handed_out, mut back) = (0, 0, 0);
    while received < RECORDS || back < RECORDS {
        let mut must_ring = read_all(&mut consumer, &mut received);
        while let Some((slot, generation)) = returned.next_returned().unwrap() {
            let expected: u32 = slots.take(slot, generation).unwrap();
            assert_eq!(expected, back);
            back += 1;
        }
        while handed_out < RECORDS && slots.has_free() {
            let (slot, generation) = slots.put(handed_out).unwrap();
            let operation = 2;
            let (op_id, slot, generation) = (handed_out.into(), slot.into(), generation.into());
            let descriptor = Descriptor { operation, op_id, slot, generation, ..Descriptor::default() };
            assert!(producer.push(&descriptor, Parts::default(), &[]).unwrap(), "{SLOTS} records have room");
            handed_out += 1;
        }
        must_ring |= producer.must_ring();
        if must_ring {
            bell.ring();
        }
        // Returns ring no bell: who waits for one looks again, as the broker does with its other work.
        let timeout = if back < handed_out { EpollTimeout::from(1_u8) } else { EpollTimeout::NONE };
        let is_done = received == RECORDS && back == RECORDS;
        if !is_done && consumer.arm().unwrap() {
            let waited = watcher.wait(&mut [EpollEvent::empty()], timeout);
            assert!(matches!(waited, Ok(0 | 1) | Err(Errno::EINTR)), "a bell: {waited:?}");
        }
    }
    assert_eq!(client.line.hear(), b'd');
    client.ends();
    assert!(producer.is_drained().unwrap() && slots.out() == 0);
    assert!(RECORDS as usize > 10 * layout.ring / GRANULE, "the ring went around many times");
}

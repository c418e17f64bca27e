//! What holds for all records, slots, ranges and lies.

#[path = "support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::sync::Arc;

use busway_shm::layout::{ControlLayout, GRANULE, Head, Header, MAGIC, VERSION, flag};
use busway_shm::{
    Allocator, Consumer, Descriptor, HeapMemory, OwnMemory, OwnSegment, Parts, PeerMemory, PeerSegment, Producer,
    ReturnReader, Returns, Run, Sample, Violation, record_length,
};
use proptest::collection::vec;
use proptest::prelude::*;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use support::checks;
use support::records::{LAYOUT, Whole};

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// One step at a ring: a record of these sizes, or reading, or giving back what was read.
#[derive(Clone, Debug)]
enum Step {
    Push(usize, usize, usize),
    Read(usize),
    Release,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || prop_oneof![9 => 0_usize..70, 1 => 1000_usize..=1024];
    let payload = prop_oneof![8 => 0_usize..300, 2 => 0_usize..4096];
    let push = (name(), name(), payload).prop_map(|(name, second, payload)| Step::Push(name, second, payload));
    let read = (1_usize..10).prop_map(Step::Read);
    vec(prop_oneof![6 => push, 2 => read, 1 => Just(Step::Release)], 1..200)
}

const TOPICS: [&[u8]; 3] = [b"topic", b"", &[7; 1024]];

/// One step at a ring of frames: each has one of the topics and some bytes.
#[derive(Clone, Debug)]
enum FrameStep {
    Alone(usize, usize),
    Open(usize, usize),
    Together(usize, Vec<usize>),
    Ring,
    Read,
}

fn frame_steps() -> impl Strategy<Value = Vec<FrameStep>> {
    let topic = || prop_oneof![6 => Just(0_usize), 2 => Just(1_usize), 1 => Just(2_usize)];
    let length = || prop_oneof![8 => 0_usize..100, 1 => 0_usize..1100];
    let step = prop_oneof![
        2 => (topic(), length()).prop_map(|(topic, length)| FrameStep::Alone(topic, length)),
        20 => (topic(), length()).prop_map(|(topic, length)| FrameStep::Open(topic, length)),
        2 => (topic(), vec(length(), 0..60)).prop_map(|(topic, lengths)| FrameStep::Together(topic, lengths)),
        2 => Just(FrameStep::Ring),
        2 => Just(FrameStep::Read),
    ];
    vec(step, 1..400)
}

fn parts(name: &[u8]) -> Parts<'_> {
    Parts { name, second: b"" }
}

/// Reads what is there, and holds it against what was sent.
fn read_frames<O: OwnMemory, P: PeerMemory>(
    consumer: &mut Consumer<O, P>,
    sent: &mut VecDeque<(Vec<u8>, Vec<u8>)>,
) -> Result<(), TestCaseError> {
    while let Some(record) = consumer.next_record().unwrap() {
        let mut body = Vec::new();
        consumer.copy_body(&record, &mut body);
        let place = record.payload_place();
        let places = if record.is_run() {
            let mut run = Run::of(&record, place.start).unwrap();
            std::iter::from_fn(|| run.next_place(&body).unwrap()).collect()
        } else {
            std::vec![place]
        };
        for place in places {
            let frame = (body[record.name_place()].to_vec(), body[place].to_vec());
            prop_assert_eq!(Some(frame), sent.pop_front());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_ring_is_a_queue(steps in steps()) {
        let (own, peer) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
        let mut producer = Producer::new(own.clone(), peer.clone(), LAYOUT);
        let mut consumer = Consumer::new(peer, own, LAYOUT);
        let mut queue = VecDeque::new();
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Push(name, second, payload) => {
                    let record = Whole::new(number, (name, second, payload));
                    let most = queue.iter().map(Whole::length).sum::<usize>();
                    let is_sent = record.push(&mut producer).unwrap();
                    // Half of a ring that was given back and emptied is always free, PAD or not.
                    prop_assert!(is_sent || most > 0 || consumer.unreleased() > 0);
                    prop_assert!(!is_sent || most + record.length() <= LAYOUT.ring);
                    if is_sent {
                        queue.push_back(record);
                    }
                }
                Step::Read(count) => {
                    for _ in 0..count {
                        let (record, expected) = (consumer.next_record().unwrap(), queue.pop_front());
                        if let (Some(record), Some(expected)) = (&record, &expected) {
                            prop_assert_eq!(&Whole::copied_in_place(&consumer, record), expected);
                            prop_assert!(expected.are_names_found(&consumer, record));
                        }
                        let whole = record.map(|record| Whole::copied(&consumer, &record));
                        prop_assert_eq!(whole, expected);
                    }
                }
                Step::Release => {
                    let _ = consumer.release();
                    prop_assert_eq!(consumer.unreleased(), 0);
                }
            }
            prop_assert_eq!(producer.is_drained().unwrap(), queue.is_empty() && consumer.unreleased() == 0);
        }
        while let Some(record) = consumer.next_record().unwrap() {
            prop_assert_eq!(Some(Whole::copied(&consumer, &record)), queue.pop_front());
        }
        prop_assert!(queue.is_empty());
    }

    /// However frames are put together, they come out one by one, in order, and none is seen too early or too late.
    #[test]
    fn frames_that_share_records_come_out_one_by_one(steps in frame_steps()) {
        let (own, peer) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
        let mut producer = Producer::new(own.clone(), peer.clone(), LAYOUT);
        let mut consumer = Consumer::new(peer, own, LAYOUT);
        let (mut sent, mut is_hidden, mut number) = (VecDeque::new(), false, 0_u8);
        for step in steps {
            let mut frame = |topic: usize, length: usize| {
                number = number.wrapping_add(1);
                (TOPICS[topic].to_vec(), vec![number; length])
            };
            let head = Head::new(1, 0, 0, 0);
            match step {
                FrameStep::Alone(topic, length) => {
                    let (name, payload) = frame(topic, length);
                    if producer.push_frame(head, parts(&name), &payload).unwrap() {
                        sent.push_back((name, payload));
                    }
                    is_hidden = false;
                }
                FrameStep::Open(topic, length) => {
                    let (name, payload) = frame(topic, length);
                    if producer.extend_run(head, parts(&name), &payload) {
                        prop_assert!(is_hidden, "it goes where one is already");
                        sent.push_back((name, payload));
                    } else if producer.open_run(head, parts(&name), &payload).unwrap() {
                        sent.push_back((name, payload));
                        is_hidden = true;
                    }
                }
                FrameStep::Together(topic, lengths) => {
                    let frames: Vec<_> = lengths.iter().map(|length| frame(topic, *length)).collect();
                    let payloads = frames.iter().map(|(_, payload)| payload.as_slice());
                    let count = producer.push_run(head, parts(TOPICS[topic]), payloads).unwrap();
                    prop_assert!(count != 1 && count <= frames.len());
                    sent.extend(frames.into_iter().take(count));
                    is_hidden = is_hidden && count == 0 && lengths.len() < 2;
                }
                FrameStep::Ring => {
                    let _ = producer.must_ring();
                    is_hidden = false;
                }
                FrameStep::Read => {
                    read_frames(&mut consumer, &mut sent)?;
                    prop_assert!(is_hidden || sent.is_empty(), "what is closed is seen");
                    let _ = consumer.release();
                }
            }
        }
        producer.close_run();
        read_frames(&mut consumer, &mut sent)?;
        prop_assert!(sent.is_empty());
        let _ = consumer.release();
        prop_assert!(producer.is_drained().unwrap());
    }

    #[test]
    fn lies_end_in_violations(input in vec(any::<u8>(), 0..600)) {
        checks::lane_ring(&input);
    }

    /// Most bytes are honest choices, so that the lie comes late.
    #[test]
    fn late_lies_end_in_violations(start in vec(0_u8..10, 0..400), end in vec(any::<u8>(), 0..200)) {
        checks::lane_ring(&[start, end].concat());
    }

    #[test]
    fn descriptors_are_little_endian_words(
        [length, op_id, sequence, stream, payload, segment, slot, generation] in any::<[u32; 8]>(),
        ([operation, flags, code], [name, second], offset) in any::<([u8; 3], [u16; 2], u64)>(),
    ) {
        let descriptor = Descriptor {
            length: length.into(), operation, flags, code, reserved: 0, op_id: op_id.into(),
            sequence: sequence.into(), name: name.into(), second: second.into(), stream: stream.into(),
            payload: payload.into(), segment: segment.into(), offset: offset.into(), slot: slot.into(),
            generation: generation.into(), reserved_end: [0; 16],
        };
        let expected = [
            &length.to_le_bytes()[..], &[operation, flags, code, 0], &op_id.to_le_bytes(), &sequence.to_le_bytes(),
            &name.to_le_bytes(), &second.to_le_bytes(), &stream.to_le_bytes(), &payload.to_le_bytes(),
            &segment.to_le_bytes(), &offset.to_le_bytes(), &slot.to_le_bytes(), &generation.to_le_bytes(), &[0; 16],
        ].concat();
        prop_assert_eq!(descriptor.as_bytes(), &expected);
        prop_assert_eq!(Descriptor::read_from_bytes(&expected).unwrap(), descriptor);
    }

    #[test]
    fn only_flags_with_a_meaning_are_accepted(flags: u8) {
        let (own, peer) = (HeapMemory::new(LAYOUT.total()), HeapMemory::new(LAYOUT.total()));
        let mut producer = Producer::new(own.clone(), peer.clone(), LAYOUT);
        let mut consumer = Consumer::new(peer, own, LAYOUT);
        let descriptor = Descriptor { operation: 1, flags, ..Descriptor::default() };
        prop_assert!(producer.push(&descriptor, Default::default(), &[]).unwrap());
        let has = |flag: u8| flags & flag != 0;
        let is_legal = flags & !flag::ALL == 0
            && !(has(flag::IN_PLACE) && has(flag::FRAGMENT))
            && (has(flag::FRAGMENT) || !has(flag::MORE))
            && !(has(flag::SHORT) && (has(flag::IN_PLACE) || has(flag::FRAGMENT)))
            && (has(flag::SHORT) || has(flag::IN_PLACE) || !has(flag::RUN));
        match consumer.next_record() {
            Ok(Some(record)) => prop_assert!(is_legal && record.descriptor.flags == flags & !flag::SHORT),
            other => prop_assert_eq!((other, is_legal), (Err(Violation::Descriptor), false)),
        }
    }

    #[test]
    fn samples_lie_within_their_segment(
        offset in prop_oneof![0_u64..5000, (0_u64..80).prop_map(|granule| granule * 64), any::<u64>()],
        length in prop_oneof![0_u32..5000, any::<u32>()],
        position in prop_oneof![0_usize..5000, any::<usize>()],
    ) {
        const LENGTH: usize = 4096;
        let (own, peer) = OwnSegment::on_heap(LENGTH);
        let bytes: Vec<u8> = (0_u8..=255).cycle().map(|byte| byte.wrapping_mul(7)).take(LENGTH).collect();
        own.write(0, &bytes);
        let returns = returns();
        let is_within = u128::from(offset) + u128::from(length) <= LENGTH as u128 && offset % GRANULE as u64 == 0;
        let Ok(sample) = Sample::new(Arc::new(peer), (offset, length), (1, 1), returns) else {
            prop_assert!(!is_within);
            return Ok(());
        };
        prop_assert!(is_within);
        let expected = &bytes[usize::try_from(offset).unwrap()..][..length as usize];
        prop_assert_eq!(sample.as_slice(), expected);
        let mut copy = vec![0; 300];
        let count = sample.copy_to(position, &mut copy);
        let expected = expected.get(position..).unwrap_or_default();
        prop_assert_eq!(&copy[..count], &expected[..expected.len().min(300)]);
    }

    /// Of an arena whose blocks are all of one size, nothing is wasted by the order in which they go and come.
    #[test]
    fn blocks_of_one_size_do_not_fragment(
        length in 1_usize..5000,
        order in vec(any::<prop::sample::Index>(), 1..300),
    ) {
        const LENGTH: usize = 256 << 10;
        let fit = LENGTH / length.next_multiple_of(GRANULE);
        let mut allocator = Allocator::new(LENGTH);
        let mut blocks: Vec<_> = (0..fit).map(|_| allocator.allocate(length).unwrap()).collect();
        prop_assert!(allocator.allocate(length).is_none());
        for index in &order {
            allocator.free(blocks.swap_remove(index.index(blocks.len())));
            if index.index(2) == 0 || blocks.is_empty() {
                blocks.push(allocator.allocate(length).unwrap());
            }
        }
        while blocks.len() < fit {
            blocks.push(allocator.allocate(length).unwrap());
        }
        prop_assert_eq!(allocator.used(), fit * length.next_multiple_of(GRANULE));
    }

    /// J. M. Robson, "Worst Case Fragmentation of First Fit and Best Fit Storage Allocation Strategies" (1977): with
    /// at most M bytes in use in blocks of up to n granules, M * log2(n) is enough memory for a good strategy. Random
    /// orders stay far below the worst case: a sixth of the arena in use never makes a request of that size fail.
    #[test]
    fn an_arena_that_is_mostly_free_has_room(steps in vec((1_usize..8 << 10, any::<prop::sample::Index>()), 1..400)) {
        const LENGTH: usize = 256 << 10;
        let mut allocator = Allocator::new(LENGTH);
        let mut blocks = Vec::new();
        for (length, index) in steps {
            while allocator.used() + length.next_multiple_of(GRANULE) > LENGTH / 6 {
                allocator.free(blocks.swap_remove(index.index(blocks.len())));
            }
            let block = allocator.allocate(length);
            prop_assert!(block.is_some(), "{} in use, no room for {length}", allocator.used());
            blocks.extend(block);
        }
    }
}

fn returns() -> Arc<Returns<Arc<OwnSegment>>> {
    Arc::new(Returns::new(Arc::new(OwnSegment::on_heap(LAYOUT.total()).0), LAYOUT))
}

#[test]
fn a_dropped_sample_gives_its_slot_back() {
    let (own, peer): (_, PeerSegment) = OwnSegment::on_heap(LAYOUT.total());
    let returns = Arc::new(Returns::new(Arc::new(own), LAYOUT));
    let mut reader = ReturnReader::new(peer, LAYOUT);
    let (_, payloads) = OwnSegment::on_heap(4096);
    let payloads = Arc::new(payloads);
    let sample = Sample::new(Arc::clone(&payloads), (64, 100), (3, 7), returns.clone()).unwrap();
    assert_eq!(Sample::new(payloads, (4096, 1), (4, 7), returns).unwrap_err(), Violation::Range);
    assert_eq!(reader.next_returned(), Ok(None));
    std::thread::spawn(move || drop(sample)).join().unwrap();
    assert_eq!(reader.next_returned(), Ok(Some((3, 7))));
    assert_eq!(reader.next_returned(), Ok(None), "what was refused is not given back");
}

#[test]
fn layouts_are_powers_of_two_within_their_limits() {
    let smallest = ControlLayout::MIN_RING;
    for (ring, slots) in [(smallest, 1), (64 << 10, 256), (ControlLayout::MAX_RING, ControlLayout::MAX_SLOTS)] {
        let layout = ControlLayout::new(ring, slots).expect("it fits");
        assert!(layout.total() >= layout.slots_offset() + slots * 8 && layout.total().is_multiple_of(4096));
        assert!(layout.max_record() >= record_length(1024, 1024, 0), "the longest names fit");
    }
    for (ring, slots) in [(smallest / 2, 1), (smallest + 64, 1), (smallest, 0), (smallest, 3), (1 << 25, 1)] {
        assert_eq!(ControlLayout::new(ring, slots), None);
    }
    assert_eq!(ControlLayout::new(smallest, 2 * ControlLayout::MAX_SLOTS), None);
}

#[test]
fn the_header_says_who_it_is() {
    let header = Header { magic: MAGIC.into(), version: VERSION.into(), ..Header::new_zeroed() };
    assert_eq!(&header.as_bytes()[..10], b"BUSWAYL1\x05\0");
    assert_eq!(header.as_bytes().len(), 64);
}

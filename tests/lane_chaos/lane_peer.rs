//! A peer on the lane that keeps no rule of it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use busway_shm::layout::{ControlLayout, HEADER, Header, RING, SLOT_TAIL, TAIL, flag, operation};
use busway_shm::{
    Consumer, Descriptor, Ordering, OwnMemory, OwnSegment, PeerMemory, PeerSegment, Record, ReturnReader, Run, UpBell,
    Violation, record_length, short_record_length,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use zerocopy::{FromBytes, IntoBytes};

use crate::applicant::{Applicant, Introduction, READY, REQUEST};
use crate::support::{BrokerProcess, Request, code, eventually};

pub(crate) struct LanePeer {
    pub(crate) applicant: Applicant,
    pub(crate) up: Arc<OwnSegment>,
    pub(crate) down: Arc<PeerSegment>,
    pub(crate) layout: ControlLayout,
    pub(crate) bell: UpBell,
    pub(crate) down_bell: Option<OwnedFd>,
    consumer: Consumer<Arc<OwnSegment>, Arc<PeerSegment>>,
    /// Frames that came in one record.
    run: VecDeque<(Descriptor, Vec<u8>)>,
    tail: u64,
    returned: u64,
    /// Slots that came back, in order, as far as they were looked at.
    taken_back: ReturnReader<Arc<PeerSegment>>,
    used_slots: u32,
}

/// An arena as this peer has mapped it.
pub(crate) struct Arena {
    pub(crate) number: u32,
    _memory: OwnSegment,
}

/// Getting there.
impl LanePeer {
    pub(crate) fn connect(broker: &BrokerProcess, name: &str) -> Self {
        let applicant = Applicant::register(&broker.socket(), name);
        applicant.write(REQUEST);
        Self::map(applicant).switch()
    }

    /// As `connect`, with topics that it wants.
    pub(crate) fn subscribed(broker: &BrokerProcess, name: &str, topics: &[&str]) -> Self {
        let applicant = Applicant::register(&broker.socket(), name);
        applicant.send(&Request::subscribe(topics));
        applicant.write(REQUEST);
        Self::map(applicant).switch()
    }

    /// Takes the offer over without saying so.
    pub(crate) fn map(mut applicant: Applicant) -> Self {
        let [up, down, up_bell, down_bell] = applicant.offer();
        let page = PeerSegment::map(&down, 4096).expect("the header can be mapped");
        let mut bytes = [0; size_of::<Header>()];
        page.read(HEADER, &mut bytes);
        let header = Header::read_from_bytes(&bytes).expect("a header");
        let layout = ControlLayout::new(header.up_ring.get() as usize, header.leases.get() as usize).expect("sizes");
        let of_broker = ControlLayout::new(header.down_ring.get() as usize, header.submissions.get() as usize);
        let of_broker = of_broker.expect("sizes");
        let down = Arc::new(PeerSegment::map(&down, of_broker.total()).expect("the broker's segment can be mapped"));
        let up = Arc::new(OwnSegment::take_over(&up, layout.total()).expect("the client's segment can be mapped"));
        let consumer = Consumer::new(Arc::clone(&up), Arc::clone(&down), of_broker);
        let taken_back = ReturnReader::new(Arc::clone(&down), of_broker);
        let (bell, down_bell) = (UpBell::received(up_bell), Some(down_bell));
        let (tail, returned, used_slots) = (0, 0, 0);
        let run = VecDeque::new();
        Self { applicant, up, down, layout, bell, down_bell, consumer, run, tail, returned, taken_back, used_slots }
    }

    /// What the broker writes for several lanes together is not for this peer, which says so: it gets copies.
    pub(crate) fn switch(self) -> Self {
        self.switch_and_answer(operation::SEGMENT_FAILED).0
    }

    /// As `subscribed`, with the segment in which the broker writes what is for several lanes together.
    pub(crate) fn subscribed_with_others(broker: &BrokerProcess, name: &str, topics: &[&str]) -> (Self, PeerSegment) {
        let applicant = Applicant::register(&broker.socket(), name);
        applicant.send(&Request::subscribe(topics));
        applicant.write(REQUEST);
        let (peer, common) = Self::map(applicant).switch_and_answer(operation::SEGMENT_OK);
        let segment = PeerSegment::map(&common.descriptor, common.length).expect("the segment can be mapped");
        (peer, segment)
    }

    /// As `switch`, where nothing is written for several lanes together.
    pub(crate) fn switch_alone(mut self) -> Self {
        self.applicant.write(READY);
        self.applicant.await_switch();
        self
    }

    fn switch_and_answer(self, answer: u8) -> (Self, Introduction) {
        let mut this = self.switch_alone();
        let common = this.applicant.segment();
        this.answer(answer, &common);
        this.await_read();
        (this, common)
    }
}

/// Writing.
impl LanePeer {
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// A record as it should be but for what `spoil` does to its descriptor, and rings.
    pub(crate) fn push(&mut self, descriptor: Descriptor, parts: [&[u8]; 3], spoil: impl FnOnce(&mut Descriptor)) {
        self.write(descriptor, parts, spoil);
        self.publish();
    }

    /// A record that nobody sees before `publish`.
    pub(crate) fn write(&mut self, descriptor: Descriptor, parts: [&[u8]; 3], spoil: impl FnOnce(&mut Descriptor)) {
        let [name, second, payload] = parts;
        let is_short = descriptor.flags & flag::SHORT != 0;
        let length_of = if is_short { short_record_length } else { record_length };
        let length = length_of(name.len(), second.len(), payload.len());
        let capacity = self.layout.ring as u64;
        let to_end = capacity - self.tail % capacity;
        if (length as u64) > to_end {
            let pad = Descriptor {
                length: u32::try_from(to_end).expect("within the ring").into(),
                operation: operation::PAD,
                sequence: sequence(self.tail),
                ..Descriptor::default()
            };
            self.up.write(self.offset(self.tail), pad.as_bytes());
            self.tail += to_end;
        }
        let in_place = descriptor.payload.get() > 0 && payload.is_empty();
        let mut descriptor = Descriptor {
            length: u32::try_from(length).expect("a record").into(),
            sequence: sequence(self.tail),
            name: u16::try_from(name.len()).expect("a name").into(),
            second: u16::try_from(second.len()).expect("a name").into(),
            payload: if in_place { descriptor.payload } else { u32::try_from(payload.len()).expect("inline").into() },
            ..descriptor
        };
        spoil(&mut descriptor);
        let at = self.offset(self.tail);
        let size = if is_short { Descriptor::SHORT_SIZE } else { Descriptor::SIZE };
        self.up.write(at, &descriptor.as_bytes()[..size]);
        let mut at = at + size;
        for part in parts {
            self.up.write(at, part);
            at += part.len().next_multiple_of(8);
        }
        self.tail += length as u64;
    }

    /// Shows what was written, and rings.
    pub(crate) fn publish(&self) {
        self.show();
        self.bell.ring();
    }

    /// Shows what was written, and does not ring.
    pub(crate) fn show(&self) {
        self.up.store(TAIL, self.tail, Ordering::Release);
    }

    /// Waits until the broker has read everything.
    pub(crate) fn await_read(&self) {
        eventually("the broker reads the ring", || self.is_read());
    }

    pub(crate) fn is_read(&self) -> bool {
        self.down.load(busway_shm::layout::HEAD, Ordering::Acquire) == self.tail
    }

    /// Bytes in the ring that the broker has not given back.
    pub(crate) fn unread(&self) -> u64 {
        self.tail.saturating_sub(self.down.load(busway_shm::layout::HEAD, Ordering::Acquire))
    }

    /// Gives a lease back, whether it has it or not.
    pub(crate) fn give_back(&mut self, slot: u32, generation: u32) {
        let entry = u64::from(slot) | u64::from(generation) << 32;
        let index = usize::try_from(self.returned).expect("few") % self.layout.slots;
        self.up.store(self.layout.slots_offset() + index * 8, entry, Ordering::Relaxed);
        self.returned += 1;
        self.up.store(SLOT_TAIL, self.returned, Ordering::Release);
    }

    fn offset(&self, position: u64) -> usize {
        RING + usize::try_from(position % self.layout.ring as u64).expect("within the ring")
    }
}

/// Reading.
impl LanePeer {
    /// The next record from the broker, and its payload if that is in the ring.
    pub(crate) fn receive(&mut self) -> (Descriptor, Vec<u8>) {
        if let Some(payload) = self.run.pop_front() {
            return payload;
        }
        let (record, payload) = self.record();
        if !record.is_run() {
            return (record.descriptor, payload);
        }
        // As if each had come in a record of its own.
        for payload in payloads(Run::of(&record, 0), &payload) {
            let flags = record.descriptor.flags & !flag::RUN;
            let length = u32::try_from(payload.len()).expect("a short payload");
            let descriptor = Descriptor { flags, payload: length.into(), ..record.descriptor };
            self.run.push_back((descriptor, payload));
        }
        self.run.pop_front().expect("a run has a frame")
    }

    /// The next record from the broker as it is, and the payload that is in it.
    pub(crate) fn record(&mut self) -> (Record, Vec<u8>) {
        let mut record = None;
        let mut look = || {
            record = self.consumer.next_record().expect("the broker keeps the rules");
            record.is_some()
        };
        // It comes at once, mostly.
        if !(0..1000).any(|_| {
            look() || {
                std::thread::yield_now();
                false
            }
        }) {
            eventually("a record from the broker", look);
        }
        let record = record.expect("a record");
        let mut payload = Vec::new();
        self.consumer.copy_payload(&record, &mut payload);
        if self.consumer.release() {
            self.bell.ring();
        }
        (record, payload)
    }

    /// The next message or publication, and its payload if it did not come in place; introductions are answered.
    pub(crate) fn delivery(&mut self) -> (Descriptor, Vec<u8>) {
        let (descriptor, mut payload) = self.receive();
        if descriptor.flags & flag::FRAGMENT != 0 {
            let mut more = descriptor.flags & flag::MORE != 0;
            while more {
                let (next, piece) = self.receive();
                payload.extend(piece);
                more = next.flags & flag::MORE != 0;
            }
        }
        if let Some(introduction) = self.applicant.segment_if_any() {
            self.answer(operation::SEGMENT_OK, &introduction);
        }
        (descriptor, payload)
    }

    /// Reads everything that is there, and forgets it.
    pub(crate) fn discard(&mut self) {
        self.run.clear();
        while matches!(self.consumer.next_record(), Ok(Some(_))) {}
        if self.consumer.release() {
            self.bell.ring();
        }
    }

    /// A slot that may be used, and its next generation.
    pub(crate) fn free_slot(&mut self, generations: &mut [u32]) -> (u32, u32) {
        let slot = if (self.used_slots as usize) < generations.len() {
            self.used_slots += 1;
            self.used_slots - 1
        } else {
            let mut slot = None;
            eventually("a slot comes back", || {
                slot = self.taken_back.next_returned().expect("the broker keeps the rules");
                slot.is_some()
            });
            slot.expect("a slot").0
        };
        let generation = &mut generations[slot as usize];
        *generation += 1;
        (slot, *generation)
    }

    /// The broker has ended the connection.
    pub(crate) fn is_over(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.applicant.socket, PollFlags::RDHUP)];
        matches!(rustix::event::poll(&mut descriptors, Some(&Timespec::default())), Ok(1..))
    }

    /// As `receive`, until one of this operation comes.
    pub(crate) fn await_record(&mut self, operation: u8) -> Descriptor {
        loop {
            let (descriptor, _) = self.receive();
            if descriptor.operation == operation {
                return descriptor;
            }
        }
    }

    /// The broker still serves this peer: a message to itself comes back by the lane.
    pub(crate) fn expect_served(&mut self) {
        let name = self.applicant.name.clone();
        self.push(message(), [name.as_bytes(), b"", b"still there?"], |_| {});
        self.await_record(0x12);
        let ask = Descriptor { code: 1, op_id: 77.into(), ..message() };
        self.push(ask, [name.as_bytes(), b"", b""], |_| {});
        assert_eq!(self.await_record(0xFE).code, code::OK);
    }
}

/// Arenas and introductions.
impl LanePeer {
    pub(crate) fn want_arena(&mut self, length: u64) {
        let wanted = Descriptor { operation: operation::ARENA_WANTED, offset: length.into(), ..Descriptor::default() };
        self.push(wanted, [b"", b"", b""], |_| {});
    }

    /// An arena that can be used.
    pub(crate) fn arena(&mut self, length: u64) -> Arena {
        self.want_arena(length);
        let introduction = self.applicant.segment();
        let memory = OwnSegment::take_over(&introduction.descriptor, introduction.length).expect("an arena");
        self.answer(operation::SEGMENT_OK, &introduction);
        assert_eq!(self.await_record(operation::ARENA_READY).segment.get(), introduction.number);
        Arena { number: introduction.number, _memory: memory }
    }

    /// Answers the announcement of a segment.
    pub(crate) fn answer(&mut self, answer: u8, introduction: &Introduction) {
        let (segment, offset) = (introduction.number.into(), introduction.token.into());
        self.push(Descriptor { operation: answer, segment, offset, ..Descriptor::default() }, [b"", b"", b""], |_| {});
    }
}

/// The payloads of a record that holds, or names, several.
pub(crate) fn payloads(run: Result<Run, Violation>, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut run = run.expect("the broker keeps the rules");
    let next = || run.next_place(bytes).expect("the broker keeps the rules").map(|place| bytes[place].to_vec());
    std::iter::from_fn(next).collect()
}

/// A message, to be addressed.
pub(crate) fn message() -> Descriptor {
    Descriptor { operation: 0x12, ..Descriptor::default() }
}

/// A publication.
pub(crate) fn publication() -> Descriptor {
    Descriptor { operation: 0x01, ..Descriptor::default() }
}

fn sequence(position: u64) -> zerocopy::byteorder::little_endian::U32 {
    u32::try_from(position / 64 % (1 << 32)).expect("the low half").into()
}

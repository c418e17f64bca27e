//! Records as values, to hold what comes out of a ring against what went in.

use busway_shm::layout::{ControlLayout, Head};
use busway_shm::{
    Consumer, Descriptor, OwnMemory, Parts, PeerMemory, Producer, Record, Violation, record_length, short_record_length,
};

use super::choices::Choices;

/// The smallest lane that there can be.
pub(crate) const LAYOUT: ControlLayout = ControlLayout { ring: ControlLayout::MIN_RING, slots: 8 };

/// A record with all its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) number: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) second: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Whole {
    /// Of these sizes, with bytes that tell it from others; the payload is cut to what a record can hold.
    pub(crate) fn new(number: u32, (name, second, payload): (usize, usize, usize)) -> Self {
        let fill = |length: usize, salt: u8| {
            let low = |number: usize| number.to_le_bytes()[0];
            (0..length).map(|at| low(at).wrapping_mul(salt) ^ number.to_le_bytes()[0]).collect()
        };
        let room = LAYOUT.max_record() - record_length(name, second, 0);
        Self { number, name: fill(name, 3), second: fill(second, 5), payload: fill(payload.min(room), 7) }
    }

    /// Mostly small, at times as large as it can be.
    pub(crate) fn chosen(number: u32, choices: &Choices<'_>) -> Self {
        let size = || match choices.byte() {
            byte @ 0..=199 => usize::from(byte % 100),
            byte => usize::from(byte - 199) * 18,
        };
        let (name, second) = (size(), size());
        let payload = usize::from(choices.byte()) * usize::from(choices.byte() % 16 + 1);
        Self::new(number, (name, second, payload))
    }

    pub(crate) fn length(&self) -> usize {
        let length = if self.is_short() { short_record_length } else { record_length };
        length(self.name.len(), self.second.len(), self.payload.len())
    }

    /// Every other record has only half of its descriptor.
    fn is_short(&self) -> bool {
        self.number % 2 == 1
    }

    /// Appends it, if there is room.
    pub(crate) fn push<O: OwnMemory, P: PeerMemory>(&self, producer: &mut Producer<O, P>) -> Result<bool, Violation> {
        let length = |part: &[u8]| u16::try_from(part.len()).expect("a name");
        let descriptor = Descriptor {
            operation: 1,
            op_id: self.number.into(),
            name: length(&self.name).into(),
            second: length(&self.second).into(),
            payload: u32::try_from(self.payload.len()).expect("a payload").into(),
            ..Descriptor::default()
        };
        let parts = Parts { name: &self.name, second: &self.second };
        if self.is_short() {
            return producer.push_frame(Head::from(&descriptor), parts, &self.payload);
        }
        producer.push(&descriptor, parts, &self.payload)
    }

    /// Copies all parts of a record that was just read.
    pub(crate) fn copied<O: OwnMemory, P: PeerMemory>(consumer: &Consumer<O, P>, record: &Record) -> Self {
        let (mut names, mut payload) = (Vec::new(), Vec::new());
        let second = consumer.copy_names(record, &mut names);
        consumer.copy_payload(record, &mut payload);
        let second = names.split_off(second);
        Self { number: record.descriptor.op_id.get(), name: names, second, payload }
    }
}

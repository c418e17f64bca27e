//! Records as values, to hold what comes out of a ring against what went in.

use std::ops::Range;

use busway_shm::layout::{ControlLayout, GRANULE, Head, WORD};
use busway_shm::{
    Consumer, Descriptor, OwnMemory, Parts, PeerMemory, Producer, Record, RecordPlace, Violation, record_length,
    short_record_length,
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

    /// Bytes that it takes at least, whatever a lie has made of its number.
    pub(crate) fn least_length(&self) -> usize {
        short_record_length(self.name.len(), self.second.len(), self.payload.len())
    }

    /// One record in three has only half of its descriptor.
    fn is_short(&self) -> bool {
        self.number % 3 == 1
    }

    /// Another one is written part by part, as fragments and payloads in place are.
    fn is_in_parts(&self) -> bool {
        self.number % 3 == 2
    }

    fn descriptor(&self) -> Descriptor {
        let length = |part: &[u8]| u16::try_from(part.len()).expect("a name");
        Descriptor {
            operation: 1,
            op_id: self.number.into(),
            name: length(&self.name).into(),
            second: length(&self.second).into(),
            payload: u32::try_from(self.payload.len()).expect("a payload").into(),
            ..Descriptor::default()
        }
    }

    /// As `push`, as a record that stands for many frames.
    pub(crate) fn push_dense<O: OwnMemory, P: PeerMemory>(
        &self,
        producer: &mut Producer<O, P>,
    ) -> Result<bool, Violation> {
        let parts = Parts { name: &self.name, second: &self.second };
        let whole = record_length(self.name.len(), self.second.len(), self.payload.len());
        let Some(mut reservation) = producer.reserve(whole)? else { return Ok(false) };
        reservation.write_parts(parts);
        reservation.write_payload(parts, 0, &self.payload);
        reservation.commit_dense(&self.descriptor());
        Ok(true)
    }

    /// Appends it, if there is room.
    pub(crate) fn push<O: OwnMemory, P: PeerMemory>(&self, producer: &mut Producer<O, P>) -> Result<bool, Violation> {
        let descriptor = self.descriptor();
        let parts = Parts { name: &self.name, second: &self.second };
        if self.is_short() {
            return producer.push_frame(Head::from(&descriptor), parts, &self.payload);
        }
        if !self.is_in_parts() {
            return producer.push(&descriptor, parts, &self.payload);
        }
        let Some(mut reservation) = producer.reserve(self.length())? else { return Ok(false) };
        reservation.write_parts(parts);
        let (first, rest) = self.payload.split_at(self.payload.len() / 2 / WORD * WORD);
        reservation.write_payload(parts, first.len(), rest);
        reservation.write_payload(parts, 0, first);
        reservation.commit(&descriptor);
        Ok(true)
    }

    /// Copies all parts of a record that was just read, as of a fragment.
    pub(crate) fn copied<O: OwnMemory, P: PeerMemory>(consumer: &Consumer<O, P>, record: &Record) -> Self {
        let (mut names, mut payload) = (Vec::new(), Vec::new());
        let second = consumer.copy_names(record, &mut names);
        consumer.copy_payload(record, &mut payload);
        let second = names.split_off(second);
        Self { number: record.descriptor.op_id.get(), name: names, second, payload }
    }

    /// What `copied` does from the places of the parts, a short payload as words, as of what is looked at where it lies.
    pub(crate) fn copied_in_place<O: OwnMemory, P: PeerMemory>(consumer: &Consumer<O, P>, record: &Record) -> Self {
        let place = RecordPlace::from(record);
        let (mut names, mut payload) = (vec![0xEE; 3], Vec::new());
        let second = consumer.copy_names(place, &mut names);
        let length = place.payload_length();
        if length <= GRANULE {
            payload.extend(consumer.short_payload(place).map(u64::to_ne_bytes).as_flattened());
            assert!(payload[length..].iter().all(|byte| *byte == 0), "zeros fill the last word, and those behind it");
            payload.truncate(length);
        } else {
            consumer.copy_payload(place, &mut payload);
        }
        let second = names.split_off(second);
        Self { number: record.descriptor.op_id.get(), name: names, second, payload }
    }

    /// Whether a consumer finds these names where they are, and no others.
    pub(crate) fn are_names_found<O: OwnMemory, P: PeerMemory>(
        &self,
        consumer: &Consumer<O, P>,
        record: &Record,
    ) -> bool {
        let place = RecordPlace::from(record);
        let holds = |name: &[u8], second: Option<&[u8]>| consumer.holds_names(place, name, second);
        let (name, second) = (&*self.name, &*self.second);
        let others = |part: &[u8]| {
            let mut changed = part.to_vec();
            if let Some(last) = changed.last_mut() {
                *last ^= 1;
            }
            [changed, [part, &[0]].concat(), part[..part.len().saturating_sub(1)].to_vec()]
        };
        holds(name, Some(second))
            && holds(name, None)
            && others(name).iter().all(|other| other == name || !holds(other, Some(second)))
            && others(second).iter().all(|other| other == second || !holds(name, Some(other)))
    }

    /// What `copied` does at once, as of a whole frame.
    pub(crate) fn copied_as_body<O: OwnMemory, P: PeerMemory>(consumer: &Consumer<O, P>, record: &Record) -> Self {
        // What another record has left there.
        let mut body = vec![0xEE; 3 * WORD];
        consumer.copy_body(record, &mut body);
        let part = |place: Range<usize>| body[place].to_vec();
        Self {
            number: record.descriptor.op_id.get(),
            name: part(record.name_place()),
            second: part(record.second_place()),
            payload: part(record.payload_place()),
        }
    }

    /// What `copied` does behind the payloads of other records, as of one of a run.
    pub(crate) fn copied_as_run<O: OwnMemory, P: PeerMemory>(consumer: &Consumer<O, P>, record: &Record) -> Self {
        let (start, mut names, mut payloads) = (2 * WORD, Vec::new(), vec![0xEE; 3 * WORD]);
        let second = consumer.copy_names(record, &mut names);
        let end = consumer.copy_payload_to(record, &mut payloads, start);
        assert_eq!(payloads[..start], [0xEE; 2 * WORD], "what lies before it stays");
        let second = names.split_off(second);
        Self { number: record.descriptor.op_id.get(), name: names, second, payload: payloads[start..end].to_vec() }
    }
}

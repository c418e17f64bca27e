//! What waits for room in a ring.

use std::collections::VecDeque;

use busway_shm::{Descriptor, Parts};
use bytes::Bytes;
use zerocopy::{FromBytes, IntoBytes};

/// Frames in the order of sending: small ones encoded one behind the other, so that none costs an allocation, large
/// payloads by reference beside them.
#[derive(Debug)]
pub(super) struct Backlog<H> {
    /// `descriptor, name, second name, payload`, without gaps; `reserved` is 1 where a body waits beside.
    bytes: Vec<u8>,
    start: usize,
    bodies: VecDeque<Body<H>>,
    frames: usize,
    weight: usize,
}

/// A payload that is not copied into the backlog.
#[derive(Debug)]
pub(super) struct Body<H> {
    pub(super) load: Large<H>,
    /// Bytes that have gone as fragments.
    pub(super) sent: usize,
    /// The number of its fragments, once there are some.
    pub(super) stream: u32,
}

/// Where a large payload is.
#[derive(Clone, Debug)]
pub(super) enum Large<H> {
    /// On the heap.
    Shared(Bytes),
    /// In shared memory.
    Held(H),
}

/// The frame whose turn it is.
pub(super) struct Front<'a, H> {
    pub(super) descriptor: Descriptor,
    pub(super) parts: Parts<'a>,
    pub(super) payload: &'a [u8],
    pub(super) body: Option<&'a mut Body<H>>,
}

/// What was consumed is moved out of the way when it is more than this and more than what is left.
const COMPACT_AT: usize = 64 << 10;
/// A buffer that grew beyond this in a burst is freed when it is empty.
const KEEP: usize = 256 << 10;

impl<H> Default for Backlog<H> {
    fn default() -> Self {
        Self { bytes: Vec::new(), start: 0, bodies: VecDeque::new(), frames: 0, weight: 0 }
    }
}

impl<H> Backlog<H> {
    pub(super) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Bytes that wait: of payloads on the heap what has not gone yet, of those in shared memory only the descriptors.
    pub(super) fn weight(&self) -> usize {
        let gone = match self.bodies.front() {
            Some(Body { load: Large::Shared(_), sent, .. }) => *sent,
            _ => 0,
        };
        self.weight - gone
    }

    /// As [`weight`](Self::weight), without the payload beside whose turn comes next: one that is allowed is no sign that
    /// its receiver is slow.
    pub(super) fn weight_behind(&self) -> usize {
        match self.bodies.front() {
            Some(Body { load: Large::Shared(bytes), .. }) => self.weight - bytes.len(),
            _ => self.weight,
        }
    }

    /// Appends a frame whose payload is copied.
    pub(super) fn push(&mut self, descriptor: &Descriptor, parts: Parts<'_>, payload: &[u8]) {
        self.append(descriptor, parts, payload, 0);
    }

    /// Appends a frame whose payload stays where it is.
    pub(super) fn push_large(&mut self, descriptor: &Descriptor, parts: Parts<'_>, load: Large<H>) {
        if let Large::Shared(bytes) = &load {
            self.weight += bytes.len();
        }
        self.bodies.push_back(Body { load, sent: 0, stream: 0 });
        self.append(descriptor, parts, &[], 1);
    }

    fn append(&mut self, descriptor: &Descriptor, parts: Parts<'_>, payload: &[u8], reserved: u8) {
        let length = Descriptor::SIZE + parts.name.len() + parts.second.len() + payload.len();
        let descriptor = Descriptor {
            // The parts of a record in a ring, each far below 2^32.
            length: u32::try_from(length).unwrap_or(u32::MAX).into(),
            name: u16::try_from(parts.name.len()).unwrap_or(u16::MAX).into(),
            second: u16::try_from(parts.second.len()).unwrap_or(u16::MAX).into(),
            reserved,
            ..*descriptor
        };
        self.bytes.extend_from_slice(descriptor.as_bytes());
        self.bytes.extend_from_slice(parts.name);
        self.bytes.extend_from_slice(parts.second);
        self.bytes.extend_from_slice(payload);
        self.frames += 1;
        self.weight += length;
    }

    /// The frame whose turn it is.
    pub(super) fn front(&mut self) -> Option<Front<'_, H>> {
        let waiting = self.bytes.get(self.start..)?;
        let (descriptor, rest) = Descriptor::read_from_prefix(waiting).ok()?;
        let length = descriptor.length.get() as usize - Descriptor::SIZE;
        let (names, second) = (usize::from(descriptor.name.get()), usize::from(descriptor.second.get()));
        let (name, rest) = rest[..length].split_at(names);
        let (second, payload) = rest.split_at(second);
        let body = if descriptor.reserved == 1 { self.bodies.front_mut() } else { None };
        let descriptor = Descriptor { reserved: 0, ..descriptor };
        Some(Front { descriptor, parts: Parts { name, second }, payload, body })
    }

    /// The first frame is done.
    pub(super) fn pop(&mut self) {
        let Ok((descriptor, _)) = Descriptor::read_from_prefix(&self.bytes[self.start..]) else { return };
        let length = descriptor.length.get() as usize;
        self.start += length;
        self.frames -= 1;
        self.weight -= length;
        if descriptor.reserved == 1
            && let Some(body) = self.bodies.pop_front()
            && let Large::Shared(bytes) = &body.load
        {
            self.weight -= bytes.len();
        }
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
        } else if self.start > COMPACT_AT && self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_in_the_order_in_which_they_went_in() {
        let mut backlog: Backlog<u8> = Backlog::default();
        for number in 0u32..5_000 {
            let name = "n".repeat(number as usize % 7);
            let parts = Parts { name: name.as_bytes(), second: b"second" };
            let descriptor = Descriptor { op_id: number.into(), second: 6.into(), ..Descriptor::default() };
            if number % 3 == 0 {
                backlog.push_large(&descriptor, parts, Large::Shared(Bytes::from(vec![7; number as usize])));
            } else {
                backlog.push(&descriptor, parts, &number.to_le_bytes());
            }
        }
        for number in 0u32..5_000 {
            let front = backlog.front().unwrap();
            assert_eq!(front.descriptor.op_id.get(), number);
            assert_eq!((front.parts.name.len(), front.parts.second), (number as usize % 7, b"second".as_slice()));
            match front.body {
                Some(Body { load: Large::Shared(bytes), .. }) => assert_eq!(bytes.len(), number as usize),
                Some(_) => panic!("nothing was in shared memory"),
                None => assert_eq!(front.payload, number.to_le_bytes()),
            }
            backlog.pop();
        }
        assert!(backlog.is_empty() && backlog.front().is_none());
        backlog.push_large(&Descriptor::default(), Parts::default(), Large::Shared(Bytes::from(vec![7; 1000])));
        let whole = backlog.weight();
        backlog.front().unwrap().body.unwrap().sent = 600;
        assert_eq!(backlog.weight(), whole - 600, "what has gone waits no longer");
        backlog.pop();
        assert_eq!(backlog.weight(), 0);
    }
}

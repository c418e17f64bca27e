//! A descriptor as the words that are written.

use std::mem::offset_of;

use crate::layout::{Descriptor, Head, WORD};
use crate::memory::Line;
use crate::ring::{Parts, sequence};

/// The half of a descriptor that a short record holds; a payload in a record is shorter than the ring.
#[inline(always)]
pub(super) fn short_half(
    position: u64,
    length: usize,
    (head, flags): (Head, u8),
    parts: Parts<'_>,
    payload: usize,
) -> Half {
    let mut half = Half::default();
    half[LENGTH_WORD] = head.first_word() | Head::new(0, flags, 0, 0).first_word() | low_half(length);
    half[SEQUENCE_WORD] = head.second_word() | u64::from(sequence(position)) << 32;
    half[NAMES_WORD] = lengths_of(parts);
    half[PAYLOAD_WORD] = payload as u64;
    half
}

pub(super) type Half = [u64; Descriptor::SHORT_SIZE / WORD];

/// A descriptor as the words that are written, with the length and the sequence of its place.
#[inline]
pub(super) fn line(position: u64, length: usize, descriptor: &Descriptor) -> Line {
    let words: [[u8; WORD]; size_of::<Line>() / WORD] = zerocopy::transmute!(*descriptor);
    let mut line = words.map(u64::from_le_bytes);
    line[LENGTH_WORD] = line[LENGTH_WORD] & !LOW_HALF | low_half(length);
    line[SEQUENCE_WORD] = line[SEQUENCE_WORD] & LOW_HALF | u64::from(sequence(position)) << 32;
    line
}

/// The lower half of the word with the lengths of the names: a record has no longer ones than these fields can say.
#[inline]
pub(super) fn lengths_of(parts: Parts<'_>) -> u64 {
    let field = |name: &[u8]| u64::from(u16::try_from(name.len()).unwrap_or(u16::MAX));
    field(parts.name) | field(parts.second) << u16::BITS
}

/// The length of a record: a ring has at most 16 MiB.
#[inline]
pub(super) fn low_half(length: usize) -> u64 {
    length as u64 & LOW_HALF
}

pub(super) const LOW_HALF: u64 = u32::MAX as u64;
pub(super) const LENGTH_WORD: usize = offset_of!(Descriptor, length) / WORD;
pub(super) const SEQUENCE_WORD: usize = offset_of!(Descriptor, sequence) / WORD;
pub(super) const NAMES_WORD: usize = offset_of!(Descriptor, name) / WORD;
pub(super) const PAYLOAD_WORD: usize = offset_of!(Descriptor, payload) / WORD;
const _: () = assert!(PAYLOAD_WORD < Descriptor::SHORT_SIZE / WORD && Descriptor::SHORT_SIZE.is_multiple_of(WORD));
const _: () = assert!(offset_of!(Descriptor, name).is_multiple_of(WORD));
const _: () = assert!(offset_of!(Descriptor, second) % WORD == size_of::<u16>());
const _: () = assert!(offset_of!(Descriptor, payload).is_multiple_of(WORD));
const _: () = assert!(offset_of!(Descriptor, length).is_multiple_of(WORD));
const _: () = assert!(offset_of!(Descriptor, operation) == offset_of!(Descriptor, length) + WORD / 2);
const _: () = assert!(offset_of!(Descriptor, flags) == offset_of!(Descriptor, operation) + 1);
const _: () = assert!(offset_of!(Descriptor, code) == offset_of!(Descriptor, operation) + 2);
const _: () = assert!(offset_of!(Descriptor, op_id) + WORD / 2 == offset_of!(Descriptor, sequence));
const _: () = assert!(offset_of!(Descriptor, sequence) % WORD == WORD / 2);

//! Bytes in words that another process may look at, or change, at any moment.

use std::ops::Range;

use crate::layout::{GRANULE, WORD};
use crate::memory::{LINE_WORDS, Line};
use crate::sync::{AtomicU64, Ordering};

const ENOUGH: &str = "the words of a place are as many as it has bytes for";

/// Writes bytes into words.
#[inline]
pub(crate) fn write_words(words: &[AtomicU64], bytes: &[u8]) {
    write_words_at(words, 0, bytes);
}

/// Writes bytes into the words from an index on; returns the index behind them. Word by word and relaxed: a reader
/// elsewhere may look at any moment, and a plain copy would be a data race by the rules of the language.
#[inline]
fn write_words_at(words: &[AtomicU64], mut index: usize, bytes: &[u8]) -> usize {
    // Eight at a time first: a loop over single words costs more than the words.
    let (lines, bytes) = bytes.as_chunks::<GRANULE>();
    for line in lines {
        let words: &[AtomicU64; LINE_WORDS] = words[index..].first_chunk().expect(ENOUGH);
        let (line, _) = line.as_chunks::<WORD>();
        for index in 0..LINE_WORDS {
            words[index].store(u64::from_le_bytes(line[index]), Ordering::Relaxed);
        }
        index += LINE_WORDS;
    }
    let (whole, rest) = bytes.as_chunks::<WORD>();
    for bytes in whole {
        words[index].store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        index += 1;
    }
    if !rest.is_empty() {
        words[index].store(word_of(rest), Ordering::Relaxed);
        index += 1;
    }
    index
}

/// Copies words out, each loaded once.
#[inline]
pub(crate) fn read_words(words: &[AtomicU64], bytes: &mut [u8]) {
    let (lines, bytes) = bytes.as_chunks_mut::<GRANULE>();
    let (line_words, words) = words.split_at(lines.len() * LINE_WORDS);
    for (words, line) in line_words.as_chunks::<LINE_WORDS>().0.iter().zip(lines) {
        let (line, _) = line.as_chunks_mut::<WORD>();
        for index in 0..LINE_WORDS {
            line[index] = words[index].load(Ordering::Relaxed).to_le_bytes();
        }
    }
    let (whole, rest) = bytes.as_chunks_mut::<WORD>();
    let (whole_words, words) = words.split_at(whole.len());
    for (word, bytes) in whole_words.iter().zip(whole) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
    if !rest.is_empty() {
        let last = words[0].load(Ordering::Relaxed).to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// See [`PeerMemory::holds`](crate::PeerMemory::holds); there are as many words as the bytes take.
#[inline]
pub(crate) fn words_hold(words: &[AtomicU64], bytes: &[u8]) -> bool {
    let (whole, rest) = bytes.as_chunks::<WORD>();
    let (whole_words, last) = words.split_at(whole.len());
    let differ = whole_words
        .iter()
        .zip(whole)
        .fold(0, |differ, (word, bytes)| differ | (word.load(Ordering::Relaxed) ^ u64::from_le_bytes(*bytes)));
    // What fills the last word up is not compared.
    let differs_at_end = last.first().is_some_and(|word| {
        let unused = u64::BITS as usize - 8 * rest.len();
        (word.load(Ordering::Relaxed) ^ word_of(rest)) << unused != 0
    });
    differ == 0 && !differs_at_end
}

/// See [`OwnMemory::write_record`](crate::OwnMemory::write_record); returns the index behind it.
#[inline]
pub(crate) fn write_record_words<const WORDS: usize, const PARTS: usize>(
    place: &[AtomicU64],
    words: &[u64; WORDS],
    parts: [&[u8]; PARTS],
) -> usize {
    let first: &[AtomicU64; WORDS] = place.first_chunk().expect(ENOUGH);
    for index in 0..WORDS {
        first[index].store(words[index], Ordering::Relaxed);
    }
    let mut index = WORDS;
    for part in parts {
        index = write_words_at(place, index, part);
    }
    index
}

/// See [`OwnMemory::write_run`](crate::OwnMemory::write_run).
#[inline]
pub(crate) fn write_run_words<'a, const WORDS: usize, const NAMES: usize>(
    place: &[AtomicU64],
    words: &[u64; WORDS],
    names: [&[u8]; NAMES],
    payloads: impl Iterator<Item = &'a [u8]>,
) {
    let mut index = write_record_words(place, words, names);
    for payload in payloads {
        place[index].store(payload.len() as u64, Ordering::Relaxed);
        index = write_words_at(place, index + 1, payload);
    }
}

/// See [`PeerMemory::read_line`](crate::PeerMemory::read_line).
#[inline]
pub(crate) fn line_of(words: &[AtomicU64]) -> Line {
    let words: &[AtomicU64; LINE_WORDS] = words.first_chunk().expect(ENOUGH);
    std::array::from_fn(|index| words[index].load(Ordering::Relaxed))
}

/// Fewer bytes than a word has, filled up with zeros. Put together from overlapping halves, because a copy of unknown
/// length is a call.
#[inline]
fn word_of(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (length - 4));
    }
    let byte = |index: usize| u64::from(bytes[index]) << (8 * index);
    if length == 0 { 0 } else { byte(0) | byte(length / 2) | byte(length - 1) }
}

/// The indexes of the words that hold `length` bytes from `at` on.
#[inline]
pub(crate) fn words_of(at: usize, length: usize) -> Range<usize> {
    assert!(at.is_multiple_of(WORD), "parts are aligned");
    let first = at / WORD;
    first..first + length.div_ceil(WORD)
}

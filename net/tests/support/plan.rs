//! A fuzzer's input taken apart: how to split, which options, and the stream itself.
//!
//! ```text
//! 0        1             1+n       2+n
//! | n % 16 | n lengths   | options | [position u16, size] stream ...
//! ```
//!
//! A length byte is a four-bit mantissa and a four-bit exponent, so that one of them reaches from single bytes to
//! half a megabyte. The filler (option [`FILLER`]) makes large frames out of small inputs.

use busway_net::wire::Limits;

/// Limits so low that short inputs pass them.
const TIGHT: u8 = 1 << 0;
/// Operations and kinds beyond BUS/RT are enabled.
const EXTRAS: u8 = 1 << 1;
/// Memory comes with more room than was asked for.
const OVERSHOOT: u8 = 1 << 2;
/// The connection goes idle after each piece.
const RELEASE: u8 = 1 << 3;
/// `size + 1` blocks of 4096 filler bytes stand at `position` in the stream.
const FILLER: u8 = 1 << 4;

/// A stream longer than this is not fed byte by byte alone.
const LONG: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Plan {
    lengths: Vec<usize>,
    options: u8,
    pub(crate) stream: Vec<u8>,
}

impl Plan {
    pub(crate) fn new(input: &[u8]) -> Self {
        let (count, input) = input.split_first().map_or((0, input), |(first, rest)| (usize::from(first % 16), rest));
        let (lengths, input) = input.split_at(count.min(input.len()));
        let mut lengths: Vec<usize> =
            lengths.iter().map(|byte| 1 + (usize::from(byte & 15) << u32::from(byte >> 4))).collect();
        let (options, input) = input.split_first().map_or((0, input), |(first, rest)| (*first, rest));
        let mut stream = input.to_vec();
        if options & FILLER != 0
            && let [low, high, size, rest @ ..] = input
        {
            let at = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
            let filler = vec![b'a'; (usize::from(*size) + 1) * 4096];
            stream = [&rest[..at], &filler, &rest[at..]].concat();
        }
        if lengths.is_empty() {
            lengths.push(1);
        }
        if let Some(last) = lengths.last_mut()
            && stream.len() > LONG
        {
            *last = (*last).max(4096);
        }
        Self { lengths, options, stream }
    }

    /// The stream in pieces; the lengths repeat.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.stream.as_slice();
        let mut lengths = self.lengths.iter().cycle();
        std::iter::from_fn(move || {
            let length = lengths.next().copied().unwrap_or(1).min(rest.len());
            let (chunk, behind) = rest.split_at(length);
            rest = behind;
            (!chunk.is_empty()).then_some(chunk)
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        if self.options & TIGHT == 0 {
            Limits::default()
        } else {
            Limits { max_payload: 48 << 10, max_name: 8, max_path: 16, max_levels: 4 }
        }
    }

    /// Operations or kinds beyond BUS/RT.
    pub(crate) fn extras(&self) -> u64 {
        if self.options & EXTRAS == 0 { 0 } else { u64::MAX }
    }

    pub(crate) fn overshoot(&self) -> usize {
        if self.options & OVERSHOOT == 0 { 0 } else { 100_000 }
    }

    pub(crate) fn goes_idle(&self) -> bool {
        self.options & RELEASE != 0
    }
}

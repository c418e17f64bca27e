//! What every payload carries, and how it is written and checked: nothing may be lost, torn or changed.
//!
//! ```text
//! 0         8        16              length / 2                         length - 8
//! +---------+---------+-----  ...  ----+-------------+-----  ...  --------+-----------+
//! | number, | extra   |                | middle word |                    | last word |
//! | flags   |         |                | (touched)   |                    | (32 B up) |
//! +---------+---------+-----  ...  ----+-------------+-----  ...  --------+-----------+
//! ```
//!
//! Both words follow from the stamp, so that the receiver knows what they must be.

use crate::failure::{Failure, Result};

/// The number of a message, and what its receiver is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) sequence: u64,
    /// The receiver reports at once how far it is.
    pub(crate) report: bool,
    /// No more follow.
    pub(crate) last: bool,
    /// When it was sent, or by whom; what a role needs.
    pub(crate) extra: u64,
}

const LAST: u64 = 1 << 63;
const REPORT: u64 = 1 << 62;
/// Bytes of a word.
const WORD: usize = 8;
/// Payloads from this length on end with a word of the stamp's, ...
const ENDS_FROM: usize = 32;
/// ... up to this one: of longer ones that are not touched not all systems let the end be read, and to read it costs the
/// others a page for each receiver. Touched ones are checked by their sum.
const ENDS_TO: usize = 64 << 10;
/// Odd and without a pattern: what is multiplied by it differs in all its bytes.
const MIXER: u64 = 0x9E37_79B9_7F4A_7C15;

impl Stamp {
    /// Bytes that it takes.
    const SIZE: usize = 2 * WORD;

    pub(crate) fn numbered(sequence: u64) -> Self {
        Self { sequence, ..Self::default() }
    }

    pub(crate) fn words(self) -> [u64; 2] {
        let mark = |is_set: bool, bit| if is_set { bit } else { 0 };
        [self.sequence | mark(self.last, LAST) | mark(self.report, REPORT), self.extra]
    }

    pub(crate) fn from_words([first, extra]: [u64; 2]) -> Self {
        Self { sequence: first & !(LAST | REPORT), report: first & REPORT != 0, last: first & LAST != 0, extra }
    }

    /// What the payload ends with.
    pub(crate) fn last_word(self) -> u64 {
        !self.sequence ^ self.extra
    }

    /// What stands in the middle of a payload that is touched.
    fn middle_word(self) -> u64 {
        self.sequence.wrapping_add(1).wrapping_mul(MIXER)
    }

    /// Writes it to the beginning of a payload, and the last word to its end.
    fn write(self, payload: &mut [u8]) {
        for (place, word) in payload.chunks_exact_mut(WORD).zip(self.words()) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        if has_end(payload.len())
            && let Some(end) = payload.last_chunk_mut()
        {
            *end = self.last_word().to_le_bytes();
        }
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (first, rest) = payload.split_first_chunk()?;
        let (extra, _) = rest.split_first_chunk()?;
        Some(Self::from_words([u64::from_le_bytes(*first), u64::from_le_bytes(*extra)]))
    }
}

/// Gives a payload that answers another one what that one carries, as far as payloads do that are not touched.
pub(crate) fn answer(received: &[u8], payload: &mut [u8]) {
    let head = received.len().min(Stamp::SIZE);
    payload[..head].copy_from_slice(&received[..head]);
    if has_end(received.len())
        && let (Some(end), Some(from)) = (payload.last_chunk_mut::<WORD>(), received.last_chunk())
    {
        *end = *from;
    }
}

/// A payload as a publisher makes it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    buffer: Vec<u8>,
    /// What the whole payload is written from, if it is.
    source: Option<Vec<u8>>,
}

impl Outgoing {
    /// Payloads of a length. `touched`: every byte is written anew for each message, not the stamp alone.
    pub(crate) fn new(length: usize, touched: bool) -> Self {
        Self { buffer: vec![0xEE; length], source: touched.then(|| filling(length)) }
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The next payload, for systems that are given bytes.
    pub(crate) fn stamped(&mut self, stamp: Stamp) -> &[u8] {
        if let Some(source) = &self.source {
            self.buffer.copy_from_slice(source);
        }
        Self::mark(&mut self.buffer, stamp, self.source.is_some());
        &self.buffer
    }

    /// The next payload, for systems that lend memory to write it to.
    pub(crate) fn write(&self, memory: &mut [u8], stamp: Stamp) {
        if let Some(source) = &self.source {
            memory.copy_from_slice(source);
        }
        Self::mark(memory, stamp, self.source.is_some());
    }

    /// Where touched payloads are copied from, for systems that insist on copying themselves; `finish` has to follow.
    #[cfg(feature = "iceoryx2")]
    pub(crate) fn source(&self) -> Option<&[u8]> {
        self.source.as_deref()
    }

    /// Writes what differs from message to message over a copy of the source.
    #[cfg(feature = "iceoryx2")]
    pub(crate) fn finish(memory: &mut [u8], stamp: Stamp) {
        Self::mark(memory, stamp, true);
    }

    fn mark(memory: &mut [u8], stamp: Stamp, touched: bool) {
        stamp.write(memory);
        if touched && let Some(place) = middle(memory.len()) {
            memory[place..place + WORD].copy_from_slice(&stamp.middle_word().to_le_bytes());
        }
    }
}

/// Whether payloads of a length end with the stamp's last word.
fn has_end(length: usize) -> bool {
    (ENDS_FROM..=ENDS_TO).contains(&length)
}

/// Where the middle word begins, in payloads that are long enough.
fn middle(length: usize) -> Option<usize> {
    (length >= 2 * ENDS_FROM).then_some(length / 2 / WORD * WORD)
}

/// What touched payloads are made of: no two words are the same.
fn filling(length: usize) -> Vec<u8> {
    let words = (1..).map(|number: u64| number.wrapping_mul(MIXER).to_le_bytes());
    words.flatten().take(length).collect()
}

/// A payload as it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    pub(crate) stamp: Stamp,
    pub(crate) length: usize,
    /// Nothing if the payload is too short to have one.
    pub(crate) last_word: Option<u64>,
    /// The bytes, where they can be read at all without having been written.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Received<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        let stamp = Stamp::read(bytes).ok_or_else(|| Failure::from("a payload came that is shorter than its stamp"))?;
        let last_word = if has_end(bytes.len()) { bytes.last_chunk() } else { None };
        Ok(Self { stamp, length: bytes.len(), last_word: last_word.map(|word| u64::from_le_bytes(*word)), bytes })
    }
}

/// Checks what one receiver gets from one sender.
#[derive(Debug)]
pub(crate) struct Tally {
    length: usize,
    /// The sum of a touched payload without what differs from message to message.
    constant: Option<u64>,
    next: u64,
}

impl Tally {
    /// Expects payloads of a length. `touched`: it reads every byte of them.
    pub(crate) fn new(length: usize, touched: bool) -> Self {
        let constant = touched.then(|| {
            let mut payload = filling(length);
            let nothing = Stamp::default();
            Outgoing::mark(&mut payload, nothing, true);
            sum(&payload).wrapping_sub(differing(nothing, length))
        });
        Self { length, constant, next: 0 }
    }

    /// How many have come.
    pub(crate) fn count(&self) -> u64 {
        self.next
    }

    /// Takes the next.
    ///
    /// # Errors
    /// When it is not the one that should follow, or is not whole.
    pub(crate) fn take(&mut self, received: Received<'_>) -> Result<()> {
        let Received { stamp, length, last_word, bytes } = received;
        if length != self.length {
            return Err(format!("a payload of {length} bytes came instead of {}", self.length).into());
        }
        if stamp.sequence != self.next {
            return Err(format!("message {} came where {} was due", stamp.sequence, self.next).into());
        }
        if let Some(word) = last_word
            && word != stamp.last_word()
        {
            let wanted = stamp.last_word();
            return Err(format!("message {} is torn: it ends with {word:x} instead of {wanted:x}", self.next).into());
        }
        if let Some(constant) = self.constant {
            let (sum, wanted) = (sum(bytes), constant.wrapping_add(differing(stamp, self.length)));
            if sum != wanted {
                return Err(
                    format!("message {} has changed: its sum is {sum:x} instead of {wanted:x}", self.next).into()
                );
            }
        }
        self.next += 1;
        Ok(())
    }
}

/// What the words add to the sum that differ from message to message. They begin at multiples of their length, as
/// lengths of touched payloads are.
fn differing(stamp: Stamp, length: usize) -> u64 {
    let [first, extra] = stamp.words();
    let last = if has_end(length) { stamp.last_word() } else { 0 };
    [first, extra, stamp.middle_word(), last].into_iter().fold(0, u64::wrapping_add)
}

/// Reads every byte, as fast as memory gives them.
#[inline(never)]
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<64>();
    let mut lanes = [0_u64; 8];
    for word in words {
        for (lane, part) in lanes.iter_mut().zip(word.as_chunks::<WORD>().0) {
            *lane = lane.wrapping_add(u64::from_le_bytes(*part));
        }
    }
    let (words, rest) = rest.as_chunks::<WORD>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let rest = rest.iter().map(|byte| u64::from(*byte));
    lanes.into_iter().chain(words).chain(rest).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_as_it_was_written() {
        let stamp = Stamp { sequence: 77, report: true, last: true, extra: 5 };
        let mut payload = [0; 64];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(Stamp::read(&payload[..15]), None);
    }

    #[test]
    fn a_gap_and_a_wrong_length_are_seen() {
        let mut tally = Tally::new(64, true);
        let mut outgoing = Outgoing::new(64, true);
        assert!(tally.take(Received::new(outgoing.stamped(Stamp::numbered(0))).unwrap()).is_ok());
        assert!(tally.take(Received::new(outgoing.stamped(Stamp::numbered(2))).unwrap()).is_err());
        assert!(tally.take(Received::new(&outgoing.stamped(Stamp::numbered(1))[..63]).unwrap()).is_err());
        assert_eq!(tally.count(), 1);
    }

    #[test]
    fn whole_payloads_of_any_length_are_taken() {
        for (length, touched) in [
            (16, false),
            (31, false),
            (32, false),
            (1001, false),
            (64, true),
            (4104, true),
            (100_000, false),
            (100_000, true),
        ] {
            let (mut tally, mut outgoing) = (Tally::new(length, touched), Outgoing::new(length, touched));
            for sequence in 0..3 {
                let stamp = Stamp { last: sequence == 2, extra: 7 * sequence, ..Stamp::numbered(sequence) };
                tally.take(Received::new(outgoing.stamped(stamp)).unwrap()).unwrap();
                let mut lent = vec![0; length];
                outgoing.write(&mut lent, Stamp::numbered(sequence + 1));
                assert!(Tally { next: sequence + 1, ..tally }.take(Received::new(&lent).unwrap()).is_ok());
            }
        }
    }

    #[test]
    fn a_payload_that_is_torn_is_seen() {
        let (mut tally, mut outgoing) = (Tally::new(100, false), Outgoing::new(100, false));
        let before = outgoing.stamped(Stamp::numbered(0)).to_vec();
        tally.take(Received::new(&before).unwrap()).unwrap();
        let mut torn = outgoing.stamped(Stamp::numbered(1)).to_vec();
        torn[50..].copy_from_slice(&before[50..]);
        let error = tally.take(Received::new(&torn).unwrap()).unwrap_err();
        assert!(error.to_string().contains("torn"), "{error}");
    }

    #[test]
    fn a_touched_payload_that_was_written_to_is_seen() {
        let (mut tally, mut outgoing) = (Tally::new(4096, true), Outgoing::new(4096, true));
        let whole = outgoing.stamped(Stamp::numbered(0)).to_vec();
        for place in [16, 2047, 2048, 3000] {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            let error = tally.take(Received::new(&changed).unwrap()).unwrap_err();
            assert!(error.to_string().contains("has changed"), "{error}");
        }
        tally.take(Received::new(&whole).unwrap()).unwrap();
    }

    #[test]
    fn an_answer_is_as_whole_as_what_it_answers() {
        let mut outgoing = Outgoing::new(64, false);
        let mut payload = [0; 64];
        answer(outgoing.stamped(Stamp::numbered(0)), &mut payload);
        assert!(Tally::new(64, false).take(Received::new(&payload).unwrap()).is_ok());
    }

    #[test]
    fn the_sum_reads_what_does_not_fill_a_word() {
        assert_eq!(sum(&[1; 3]), 3);
        assert_ne!(sum(&[1; 67]), sum(&[1; 66]));
    }
}

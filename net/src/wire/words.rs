//! Names, looked at eight bytes at a time.

const WORD: usize = size_of::<u64>();

/// Whether two names are the same: these are short, and a call costs more than comparing them.
#[inline]
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (Some(last), Some(others_last)) = (one.last_chunk::<WORD>(), other.last_chunk()) else {
        return one.iter().zip(other).all(|(byte, others)| byte == others);
    };
    // The last word may overlap the one before it.
    let (words, others) = (one.as_chunks::<WORD>().0, other.as_chunks::<WORD>().0);
    last == others_last && words.iter().zip(others).all(|(word, others)| word == others)
}

/// Whether a byte is 0, eight of them at a time: searching short names byte by byte costs more than copying them.
#[inline]
pub fn has_nul(bytes: &[u8]) -> bool {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = bytes.as_chunks();
    // A byte borrows from the one above it only if it is 0.
    let has = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        word.wrapping_sub(LOW) & !word & HIGH != 0
    };
    words.iter().any(has) || rest.contains(&0)
}

/// Where the first byte is that is 0, looked for eight bytes at a time.
#[inline]
pub(super) fn find_nul(bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Only bytes above one that is 0 are taken for one wrongly.
        let nuls = word.wrapping_sub(LOW) & !word & HIGH;
        if nuls != 0 {
            return Some(index * size_of::<u64>() + nuls.trailing_zeros() as usize / 8);
        }
    }
    let place = rest.iter().position(|byte| *byte == 0)?;
    Some(bytes.len() - rest.len() + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_if_every_byte_is() {
        for length in 0..40 {
            let bytes: Vec<u8> = (0..length).collect();
            assert!(is_same(&bytes, &bytes.clone()));
            for index in 0..bytes.len() {
                let mut other = bytes.clone();
                other[index] ^= 0x80;
                assert!(!is_same(&bytes, &other) && !is_same(&other, &bytes), "byte {index} of {length}");
                assert!(!is_same(&bytes, &bytes[..index]) && !is_same(&bytes[..index], &bytes));
            }
        }
    }

    #[test]
    fn the_first_nul_is_found() {
        for length in 0..40 {
            for other in [1, 0x7F, 0x80, 0x81, 0xFF] {
                let mut bytes = vec![other; length];
                assert_eq!(find_nul(&bytes), None);
                for index in (0..length).rev() {
                    bytes[index] = 0;
                    assert_eq!(find_nul(&bytes), Some(index), "more of them follow");
                }
            }
        }
    }

    #[test]
    fn a_nul_is_found_wherever_it_is_and_nothing_else_is_taken_for_one() {
        for length in 0..40 {
            for other in [1, 0x7F, 0x80, 0x81, 0xFF] {
                let mut bytes = vec![other; length];
                assert!(!has_nul(&bytes));
                for index in 0..length {
                    bytes[index] = 0;
                    assert!(has_nul(&bytes));
                    bytes[index] = other;
                }
            }
        }
    }
}

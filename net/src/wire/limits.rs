//! How much of everything one peer may ask for.

/// Limits that the wire checks before it takes memory. `Default` gives the documented ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one payload (256 MiB).
    pub max_payload: usize,
    /// Bytes of a client name (255).
    pub max_name: usize,
    /// Bytes of a topic or mask (1024).
    pub max_path: usize,
    /// Levels of a topic or mask (128).
    pub max_levels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_payload: 256 << 20, max_name: 255, max_path: 1024, max_levels: 128 }
    }
}

/// Why a client name is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// Nothing at all.
    #[error("a client name must not be empty")]
    Empty,
    /// Names with a leading dot belong to the broker.
    #[error("a client name must not start with '.'")]
    LeadingDot,
    /// A NUL would end the name early in every frame that carries it.
    #[error("a client name must not contain a NUL byte")]
    Nul,
    /// Over [`Limits::max_name`].
    #[error("a client name of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes of the name.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
}

/// Why a topic, mask or target is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// A NUL would end it early on the wire.
    #[error("it must not contain a NUL byte")]
    Nul,
    /// Over [`Limits::max_path`].
    #[error("{length} bytes are over the limit of {limit}")]
    TooLong {
        /// Bytes of it.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Over [`Limits::max_levels`].
    #[error("it has more than {limit} levels")]
    TooDeep {
        /// What is allowed.
        limit: usize,
    },
}

impl Limits {
    /// Checks a client name.
    ///
    /// # Errors
    /// The [`NameFault`] that applies first.
    pub fn check_name(&self, name: &str) -> Result<(), NameFault> {
        if name.is_empty() {
            Err(NameFault::Empty)
        } else if name.starts_with('.') {
            Err(NameFault::LeadingDot)
        } else if name.len() > self.max_name {
            Err(NameFault::TooLong { length: name.len(), limit: self.max_name })
        } else if has_nul(name.as_bytes()) {
            Err(NameFault::Nul)
        } else {
            Ok(())
        }
    }

    /// Checks a topic or topic filter (`separator` is `/`) or a mask or target (`.`).
    ///
    /// # Errors
    /// The [`PathFault`] that applies first.
    pub fn check_path(&self, path: &[u8], separator: u8) -> Result<(), PathFault> {
        if path.len() > self.max_path {
            return Err(PathFault::TooLong { length: path.len(), limit: self.max_path });
        }
        if has_nul(path) {
            return Err(PathFault::Nul);
        }
        // What is shorter cannot have more.
        let is_short = path.len() < self.max_levels;
        if !is_short && path.iter().filter(|byte| **byte == separator).count() >= self.max_levels {
            return Err(PathFault::TooDeep { limit: self.max_levels });
        }
        Ok(())
    }

    /// The longest body that can hold a legal payload behind its names.
    pub(super) fn max_body(&self) -> usize {
        self.max_payload.saturating_add(2 * (self.max_path.max(self.max_name) + 1))
    }
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
